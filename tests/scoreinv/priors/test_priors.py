import json

import numpy as np
import pytest
import torch
from torch import nn
from toys import UNET, unet

from scoreinv.priors import (
    EDM,
    VE,
    VP,
    GaussianPrior,
    IntensityMap,
    NetworkPrior,
    SliceWise,
    Tiled,
    load_prior,
    save_prior,
)
from scoreinv.priors.parametrisation import describe_parametrisation, parametrisation_of
from scoreinv.priors.vp import discrete_levels, linear_betas


@pytest.fixture(scope="module")
def network_prior():
    return NetworkPrior(
        unet(),
        data_std=0.5,
        sigma_range=(0.01, 10.0),
        intensity=IntensityMap.attenuation(),
        air=-1.0,
        voxel_size=(1.0, 2.0),
        errors=[(0.1, 0.05), (1.0, 0.2)],
        multiple=2,
        name="tiny",
        precision="fp32",
    )


def noisy(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestGaussianPrior:
    @pytest.mark.parametrize("kind", ["scalar", "diagonal", "full"])
    def test_denoise_is_the_posterior_mean(self, kind):
        mean = noisy(2, 3)
        root = noisy(6, 6, seed=1)
        covariance = {"scalar": torch.tensor(0.7), "diagonal": noisy(2, 3, seed=2).abs(), "full": root @ root.T}[kind]
        dense = covariance if kind == "full" else torch.diag(covariance.expand(2, 3).flatten())
        z = noisy(4, 2, 3, seed=3)
        gain = dense @ torch.linalg.inv(dense + 0.25 * torch.eye(6))
        expected = mean + ((z - mean).flatten(1) @ gain.T).reshape(4, 2, 3)
        torch.testing.assert_close(GaussianPrior(mean, covariance).denoise(z, 0.5), expected, rtol=1e-4, atol=1e-4)

    def test_tweedie(self):
        """denoise = z + sigma^2 grad log p_sigma(z)."""
        prior = GaussianPrior(noisy(5), 0.3)
        z = noisy(5, seed=4).requires_grad_()
        log_p = -0.5 * ((z - prior.mean) ** 2 / (0.3 + 0.2**2)).sum()
        (score,) = torch.autograd.grad(log_p, z)
        torch.testing.assert_close(prior.denoise(z.detach(), 0.2), z.detach() + 0.2**2 * score)

    def test_error_is_that_of_the_estimate(self):
        prior = GaussianPrior(torch.zeros(1000), 0.25)
        x = 0.5 * noisy(1000)
        rms = (prior.denoise(x + 0.4 * noisy(1000, seed=1), 0.4) - x).square().mean().sqrt()
        assert float(rms) == pytest.approx(prior.error(0.4), rel=0.05)

    def test_bad_covariance(self):
        with pytest.raises(ValueError, match="expected a scalar"):
            GaussianPrior(torch.zeros(4), torch.ones(3))
        with pytest.raises(ValueError, match="must be positive"):
            GaussianPrior(torch.zeros(4), -1.0)


class TestNetworkPrior:
    def test_batches_are_denoised_item_by_item(self, network_prior):
        z = noisy(2, 3, 16, 16)
        with torch.no_grad():
            whole = network_prior.denoise(z, 0.5)
            torch.testing.assert_close(whole[1, 2], network_prior.denoise(z[1, 2], 0.5), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("shape", [(15, 16), (13, 7), (16, 30)])
    def test_any_size_is_padded_with_air(self, network_prior, shape):
        z = noisy(*shape)
        padded = torch.full([n + n % 2 for n in shape], -1.0)
        padded[: shape[0], : shape[1]] = z
        with torch.no_grad():
            expected = network_prior.denoise(padded, 0.3)[: shape[0], : shape[1]]
            torch.testing.assert_close(network_prior.denoise(z, 0.3), expected)

    def test_half_precision_does_not_see_the_company_of_an_image(self, network_prior):
        half = NetworkPrior(network_prior.network, multiple=2, precision="bf16")
        z = noisy(7, 16, 16)
        with torch.no_grad():
            together = half.denoise(z, 0.5)
            for n in (1, 2, 5):
                apart = torch.cat([half.denoise(part, 0.5) for part in z.split(n)])
                torch.testing.assert_close(apart, together, rtol=0, atol=1e-6)
            torch.testing.assert_close(
                together, NetworkPrior(half.network, multiple=2, precision="fp32").denoise(z, 0.5), rtol=0, atol=0.03
            )

    def test_small_noise_leaves_the_image(self, network_prior):
        z = noisy(16, 16)
        with torch.no_grad():
            torch.testing.assert_close(network_prior.denoise(z, 1e-4), z, rtol=1e-2, atol=1e-2)

    def test_preconditioning_is_edms(self):
        class Zero(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.zeros(1))

            def forward(self, x, label):
                return 0 * x

        z = noisy(8, 8)
        prior = NetworkPrior(Zero(), data_std=0.5)
        torch.testing.assert_close(prior.denoise(z, 2.0), 0.25 / (0.25 + 4) * z)

    def test_vjp_against_finite_differences(self, network_prior):
        z, v, d = noisy(16, 16), noisy(16, 16, seed=1), noisy(16, 16, seed=2)
        x0, vjp = network_prior.linearise(z, 0.5)
        h = 1e-2
        with torch.no_grad():
            change = (network_prior.denoise(z + h * d, 0.5) - network_prior.denoise(z - h * d, 0.5)) / (2 * h)
            torch.testing.assert_close(x0, network_prior.denoise(z, 0.5))
        assert float((vjp(v) * d).sum()) == pytest.approx(float((v * change).sum()), rel=1e-2)


class TestSliceWise:
    @pytest.mark.parametrize("axis", [0, 1, 2])
    @pytest.mark.parametrize("max_slices", [1, 3, 100])
    def test_every_slice_is_seen_alone_whatever_the_chunks(self, network_prior, axis, max_slices):
        z = noisy(2, 6, 8, 10)
        lifted = SliceWise(network_prior, axis, max_slices)
        with torch.no_grad():
            out = lifted.denoise(z, 0.5)
            for k in (0, z.shape[1 + axis] - 1):
                expected = network_prior.denoise(z.select(1 + axis, k), 0.5)
                torch.testing.assert_close(out.select(1 + axis, k), expected, rtol=1e-4, atol=1e-5)

    def test_vjp_by_chunks_equals_the_whole(self, network_prior):
        z, v = noisy(5, 8, 8), noisy(5, 8, 8, seed=1)
        whole = SliceWise(network_prior, 0, 100).linearise(z, 0.5)
        chunks = SliceWise(network_prior, 0, 2).linearise(z, 0.5)
        torch.testing.assert_close(chunks[0], whole[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(chunks[1](v), whole[1](v), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(("axis", "max_slices"), [(3, 1), (0, 0)])
    def test_refusals(self, network_prior, axis, max_slices):
        with pytest.raises(ValueError, match="SliceWise"):
            SliceWise(network_prior, axis, max_slices)

    def test_a_3d_prior_needs_no_lifting(self):
        with pytest.raises(ValueError, match="expected a 2D prior"):
            SliceWise(GaussianPrior(torch.zeros(2, 2, 2), 1.0))


class TestStorage:
    def test_round_trip(self, network_prior, tmp_path):
        save_prior(tmp_path / "tiny", network_prior, UNET, "# card")
        again = load_prior(tmp_path / "tiny")
        for name in (
            "data_std",
            "sigma_min",
            "sigma_max",
            "intensity",
            "air",
            "voxel_size",
            "errors",
            "multiple",
            "name",
        ):
            assert getattr(again, name) == getattr(network_prior, name), name
        z = noisy(16, 16)
        with torch.no_grad():  # half precision on disk
            torch.testing.assert_close(again.denoise(z, 0.5), network_prior.denoise(z, 0.5), rtol=0, atol=5e-3)
        assert (tmp_path / "tiny" / "README.md").read_text() == "# card"
        assert not list((tmp_path / "tiny").glob(".*"))

    def test_damaged_weights(self, network_prior, tmp_path):
        save_prior(tmp_path, network_prior, UNET, "")
        weights = tmp_path / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            load_prior(tmp_path)
        weights.unlink()
        with pytest.raises(FileNotFoundError, match="missing"):
            load_prior(tmp_path)

    def test_unknown_name_lists_the_known(self):
        with pytest.raises(FileNotFoundError, match="ct-128"):
            load_prior("ct-129")

    @pytest.mark.parametrize("change", [{"format": 1}, {"surprise": 1}])
    def test_another_format(self, network_prior, tmp_path, change):
        save_prior(tmp_path, network_prior, UNET, "")
        path = tmp_path / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(ValueError, match="format 2"):
            load_prior(tmp_path)
        path.write_text("{")
        with pytest.raises(ValueError, match="not JSON"):
            load_prior(tmp_path)


def test_intensity_map_inverts_itself():
    hu = torch.tensor([-1000.0, 0.0, 1000.0])
    mu = IntensityMap.attenuation().to_image(hu / 1000)
    torch.testing.assert_close(mu, torch.tensor([0.0, 0.02, 0.04]))
    torch.testing.assert_close(IntensityMap.attenuation().to_network(mu), hu / 1000)


class TestParametrisation:
    def betas(self):
        return tuple(linear_betas().tolist())

    @pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
    def test_vp_answers_of_a_known_image_give_that_image(self, prediction):
        """A network that knows x0 answers in every convention what makes E[x0 | z] = x0."""
        image = noisy(2, 1, 8, 8)
        levels = discrete_levels(linear_betas())

        def network(x, time):
            s = levels.sigma(time.double()).float().reshape(-1, 1, 1, 1)
            a = 1 / (1 + s**2).sqrt()
            n = (x - a * image) / (1 - a**2).sqrt()
            return {"epsilon": n, "sample": image, "v_prediction": a * n - (1 - a**2).sqrt() * image}[prediction]

        sigma = torch.tensor([0.1, 7.0])
        z = image + sigma.reshape(-1, 1, 1, 1) * noisy(2, 1, 8, 8, seed=1)
        x0 = VP(self.betas(), prediction).denoise(network, z, sigma)
        torch.testing.assert_close(x0, image, rtol=1e-3, atol=1e-3)

    def test_a_continuous_network_is_told_999_t(self):
        """The linear SDE of score-based models written out: a = exp(-t^2 (20 - 0.1) / 4 - 0.1 t / 2)."""
        image, t = noisy(2, 1, 8, 8), torch.tensor([0.05, 0.7], dtype=torch.float64)
        a = torch.exp(-(t**2) * 19.9 / 4 - 0.05 * t).reshape(-1, 1, 1, 1)
        sigma = ((1 - a**2).sqrt() / a).float()

        def network(x, label):
            torch.testing.assert_close(label.double(), 999 * t, rtol=1e-4, atol=0)
            return (x - a * image) / (1 - a**2).sqrt()

        z = image + sigma * noisy(2, 1, 8, 8, seed=1)
        x0 = VP((0.1, 20.0), continuous=True).denoise(network, z, sigma.flatten())
        torch.testing.assert_close(x0, image, rtol=1e-3, atol=1e-3)

    def test_ve_is_tweedie(self):
        z, sigma = noisy(2, 1, 8, 8), torch.tensor([0.5, 2.0])
        x0 = VE().denoise(lambda z, s: -z / (1 + s.reshape(-1, 1, 1, 1) ** 2), z, sigma)
        torch.testing.assert_close(x0, z / (1 + sigma.reshape(-1, 1, 1, 1) ** 2))

    @pytest.mark.parametrize(
        "form", [EDM(0.3), VP((0.1, 0.2), "v_prediction"), VP((0.1, 20.0), continuous=True), VE(0.1, 30.0)]
    )
    def test_description_is_read_back(self, form):
        assert parametrisation_of(json.loads(json.dumps(describe_parametrisation(form)))) == form

    def test_range_of_the_network_is_that_of_its_chain(self, network_prior):
        prior = NetworkPrior(network_prior.network, parametrisation=VP(self.betas()))
        assert (prior.sigma_min, prior.sigma_max) == (pytest.approx(0.01, rel=0.01), pytest.approx(157.4, rel=0.01))

    def test_unknown_forms_are_refused(self):
        with pytest.raises(ValueError, match="prediction is 'noise', expected 'epsilon'"):
            VP((0.1, 0.2), "noise")
        with pytest.raises(ValueError, match="two betas, at t = 0 and 1, got 3"):
            VP((0.1, 0.2, 0.3), continuous=True)
        with pytest.raises(ValueError, match=r"betas go from 20.* expected 0 < first < last"):
            VP((20.0, 0.1), continuous=True)
        with pytest.raises(ValueError, match="kind is 'flow', expected one of"):
            parametrisation_of({"kind": "flow"})
        with pytest.raises(ValueError, match=r"EDM has no centred, shift; expected \['data_std'\]"):
            parametrisation_of({"kind": "edm", "data_std": 0.5, "shift": 1, "centred": True})


class TestChannels:
    """Complex images as two channels, or part by part through one."""

    class Halve(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.weight = nn.Parameter(torch.full((channels, 1, 1), 0.5))

        def forward(self, x, time):
            assert x.shape[1] == len(self.weight)
            return self.weight * x

    @pytest.mark.parametrize("channels", [1, 2])
    def test_complex_images_keep_their_parts(self, channels):
        prior = NetworkPrior(self.Halve(channels), parametrisation=VE(), channels=channels, precision="fp32")
        z = torch.complex(noisy(3, 8, 8), noisy(3, 8, 8, seed=1))
        torch.testing.assert_close(prior.denoise(z, 0.1), z * (1 + 0.01 * 0.5))
        vjp = prior.linearise(z, 0.1)[1]
        torch.testing.assert_close(vjp(z), z * (1 + 0.01 * 0.5))

    def test_real_images_of_several_channels_have_an_axis_for_them(self):
        prior = NetworkPrior(self.Halve(2), parametrisation=VE(), channels=2, precision="fp32")
        assert prior.denoise(noisy(5, 2, 8, 8), 0.1).shape == (5, 2, 8, 8)
        with pytest.raises(ValueError, match=r"expected \(\*batch, 2, y, x\)"):
            prior.denoise(noisy(8, 8, 8), 0.1)


class TestConditioned:
    class Told(nn.Module):
        """Answers with the reference."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.config = type("Config", (), {"in_channels": 2})

        def forward(self, x, time):
            return self.weight * x[:, 1:]

    def prior(self):
        return NetworkPrior(self.Told(), parametrisation=VP((0.1, 0.2), "sample"), precision="fp32")

    @pytest.mark.parametrize("weight", [0.0, 0.4, 1.0, 2.0])
    def test_guidance_goes_from_the_null_reference_towards_the_given_one(self, weight):
        reference = noisy(8, 8)
        x0 = self.prior().conditioned(reference, weight).denoise(noisy(3, 8, 8, seed=1), 0.4)
        torch.testing.assert_close(x0, (weight * reference).expand(3, 8, 8))

    def test_slices_and_tiles_see_their_part_of_the_reference(self):
        reference = noisy(5, 40, 40)
        lifted = SliceWise(Tiled(self.prior().conditioned(reference), 16, 8, 2), max_slices=2)
        torch.testing.assert_close(lifted.denoise(noisy(2, 5, 40, 40), 0.4), reference.expand(2, -1, -1, -1))

    def test_complex_images_share_a_reference_between_their_parts(self):
        reference = noisy(3, 8, 8)
        z = torch.zeros(3, 8, 8, dtype=torch.complex64)
        x0 = self.prior().conditioned(reference).denoise(z, 0.4)
        torch.testing.assert_close(x0, torch.complex(reference, reference))

    def test_without_a_reference_it_sees_the_null_one(self):
        assert float(self.prior().denoise(noisy(3, 8, 8), 0.4).abs().max()) == 0

    def test_references_of_any_unit_where_images_have_none(self):
        prior = self.prior().scaled(IntensityMap(percentile=100.0))
        reference = noisy(8, 8).abs()
        x0 = prior.conditioned(7.0 * reference).denoise(noisy(8, 8, seed=1), 0.4)
        torch.testing.assert_close(x0, reference / reference.max())

    def test_too_few_references_are_named(self):
        lifted = SliceWise(self.prior().conditioned(noisy(2, 8, 8)))
        with pytest.raises(ValueError, match="the reference has 2 slices"):
            lifted.denoise(noisy(5, 8, 8), 0.4)

    @pytest.mark.parametrize(
        ("reference", "weight", "says"),
        [
            (np.zeros((8, 8)), 1.0, "expected a real tensor"),
            (torch.zeros(8, 8, dtype=torch.complex64), 1.0, "expected a real tensor"),
            (torch.zeros(8), 1.0, "expected a real tensor"),
            (torch.zeros(8, 8), 1.0, "reference holds NaN or Inf, or nothing but 0"),
            (torch.full((8, 8), float("nan")), 1.0, "reference holds NaN or Inf, or nothing but 0"),
            (torch.ones(8, 8), -1.0, "weight is -1.0, expected at least 0"),
        ],
    )
    def test_references_that_are_none_are_named(self, reference, weight, says):
        with pytest.raises((TypeError, ValueError), match=says):
            self.prior().conditioned(reference, weight)

    def test_a_reference_of_another_size_is_named(self):
        with pytest.raises(ValueError, match=r"slices of \(16, 16\), the image of \(8, 8\); resample"):
            self.prior().conditioned(noisy(16, 16)).denoise(noisy(8, 8), 0.4)

    def test_a_network_that_never_saw_a_reference_refuses_one(self, network_prior):
        with pytest.raises(ValueError, match="takes 1 channels, all of them the image's"):
            network_prior.conditioned(noisy(8, 8))
