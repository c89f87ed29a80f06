import logging

import numpy as np
import pytest
import torch

from scoreinv import Reconstruction, load_prior, solve
from scoreinv.operators import (
    ConeBeamCT,
    ConeBeamGeometry,
    Gaussian,
    LinearOperator,
    Stack,
    TransmissionPoisson,
    Volume,
)
from scoreinv.priors import GaussianPrior, IntensityMap, NetworkPrior, PerpendicularPlanes, SliceWise
from scoreinv.samplers import DDIM, METHODS, Diverged, NoiseSource, Problem, TVz, start, walk


@pytest.fixture(scope="module")
def scan():
    volume = Volume((6, 32, 32), (6.0, 6.0, 6.0))
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    operator = ConeBeamCT(ConeBeamGeometry.circular(800, 1200, (10, 48), (9.0, 9.0), angles), volume)
    _, y, x = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in volume.shape], indexing="ij")
    truth = 0.02 * ((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1).float() * (1 + 0.5 * (x**2 + (y - 0.2) ** 2 < 0.04))
    noise = torch.randn(operator.out_shape, generator=torch.Generator().manual_seed(0))
    return operator, operator(truth) + 0.02 * noise, truth


@pytest.fixture(scope="module")
def prior():
    return load_prior("ct-128")


def small(scan, prior, **changes):
    operator, y, _ = scan
    settings = {"likelihood": Gaussian(0.02), "steps": 4, "progress": False}
    return solve(operator, y, prior, **settings | changes)


class Flat(GaussianPrior):
    """Of slices, in no unit."""

    def __init__(self):
        super().__init__(torch.zeros(32, 32), 0.02)


class Pick(LinearOperator):
    """Every third pixel of an image."""

    def __init__(self, shape=(8, 8)):
        super().__init__(
            in_shape=shape, out_shape=(*shape[:-1], -(-shape[-1] // 3)), in_dtype=torch.float32, out_dtype=torch.float32
        )

    def _apply(self, x):
        return x[..., ::3].clone()

    def _adjoint(self, y):
        x = y.new_zeros(*y.shape[:-1], self.in_shape[-1])
        x[..., ::3] = y
        return x


def test_any_operator_of_a_users_own():
    truth = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    prior = GaussianPrior(torch.zeros(8, 8), 1.0)
    result = solve(Pick(), Pick()(truth), prior, likelihood=Gaussian(0.01), steps=30, progress=False)
    torch.testing.assert_close(result.mean[:, ::3], truth[:, ::3], atol=0.05, rtol=0)
    assert isinstance(result, Reconstruction)
    assert float(result.std.abs().max()) == 0


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"smc", "map-em"}))
def test_every_method_explains_the_data(scan, prior, method):
    operator, _, _ = scan
    result = small(scan, prior, method=method, steps=8)
    assert result.mean.shape == operator.in_shape
    # Published settings need hundreds of steps: in eight they do better than the prior alone, whose residual is 1.
    assert result.residual < (0.7 if "-20" in method or method in ("pocs", "mbir", "mcg") else 0.2)


def test_a_method_of_few_dimensions_refuses_a_volume(scan, prior):
    with pytest.raises(ValueError, match="TwistedSMC: the image has 6144 numbers, expected at most 16"):
        small(scan, prior, method="smc")


@pytest.fixture(scope="module")
def reference(scan, prior):
    return small(scan, prior, samples=3, seed=5).samples


class TestSameSample:
    """A sample depends on seed and number, not on how it is computed."""

    @pytest.mark.parametrize("max_slices", [1, 4, 64])
    def test_whatever_the_chunks(self, scan, prior, reference, max_slices):
        again = small(scan, prior, samples=3, seed=5, max_slices=max_slices).samples
        torch.testing.assert_close(again / 0.02, reference / 0.02, rtol=0, atol=1e-5)

    def test_alone_or_with_others(self, scan, prior, reference):
        torch.testing.assert_close(small(scan, prior, seed=5).samples[0] / 0.02, reference[0] / 0.02, rtol=0, atol=1e-5)

    def test_of_one_batch(self, scan, prior, reference):
        """Samples side by side in one state, as the loop allows."""
        operator, y, _ = scan
        problem = Problem(operator, y, Gaussian(0.02), SliceWise(prior), TVz())
        preset, noise = METHODS["dds"], NoiseSource(5, operator.in_shape)
        sigmas = preset.schedule(4, problem.prior)
        first = start(noise, float(sigmas[0]), [0, 2])
        z = walk(problem, preset.guidance, preset.stepper, sigmas, noise, [0, 2], first).z
        torch.testing.assert_close(z, prior.intensity.to_network(reference[[0, 2]]), rtol=0, atol=1e-5)

    def test_resumed(self, scan, prior, reference, tmp_path):
        operator, y, _ = scan
        problem = Problem(operator, y, Gaussian(0.02), SliceWise(prior), TVz())
        preset, noise = METHODS["dds"], NoiseSource(5, operator.in_shape)
        sigmas = preset.schedule(4, problem.prior)
        saved = []
        first = start(noise, float(sigmas[0]), [1])
        walk(
            problem, preset.guidance, preset.stepper, sigmas, noise, [1], first, lambda step, state: saved.append(state)
        )
        torch.save({"z": saved[1].z, "step": saved[1].step, "history": saved[1].history}, tmp_path / "state.pt")
        state = type(first)(**torch.load(tmp_path / "state.pt", weights_only=True))
        z = walk(problem, preset.guidance, preset.stepper, sigmas, noise, [1], state).z
        torch.testing.assert_close(z[0], prior.intensity.to_network(reference[1]), rtol=0, atol=1e-5)

    def test_another_seed_is_another_sample(self, scan, prior, reference):
        other = small(scan, prior, seed=6).samples[0]
        assert float((other - reference[0]).abs().max()) > 1e-4


def test_rescaling_operator_data_and_noise_changes_nothing(scan):
    operator, y, _ = scan
    prior = load_prior("ct-128")
    prior.precision = "fp32"  # bfloat16 would turn a difference in the last bit into one in the third digit
    reference = small(scan, prior).mean
    scaled = solve(
        1000.0 * operator, 1000 * y, prior, likelihood=Gaussian(20.0), steps=4, progress=False, coupling=TVz()
    ).mean
    torch.testing.assert_close(scaled / 0.02, reference / 0.02, rtol=0, atol=2e-4)


class TestScaleFoundInTheData:
    def image(self, unit, lift=lambda prior: prior):
        prior = GaussianPrior(torch.zeros(8, 8), 0.25).scaled(IntensityMap(percentile=90.0))
        operator = Pick()
        truth = unit * (1 + torch.rand(8, 8, generator=torch.Generator().manual_seed(0)))
        return solve(operator, operator(truth), lift(prior), likelihood=Gaussian(0.01 * unit), steps=5, progress=False)

    def test_the_unit_of_the_data_is_kept_and_changes_nothing_else(self):
        large, small = self.image(1e5), self.image(1e-4)
        torch.testing.assert_close(large.mean * 1e-9, small.mean, rtol=1e-3, atol=1e-6 * 1e-4)
        assert large.config["intensity"]["scale"] == pytest.approx(1e9 * small.config["intensity"]["scale"], rel=1e-3)

    def test_the_percentile_of_the_image_is_one_in_network_units(self):
        prior = GaussianPrior(torch.zeros(8, 8), 1.0).scaled(IntensityMap(percentile=90.0))
        image = torch.randn(8, 8, dtype=torch.complex64)
        fitted = prior.intensity.fitted(image)
        assert np.percentile(fitted.to_network(image).abs(), 90) == pytest.approx(1.0, rel=1e-5)

    def test_lifted_priors_carry_it_to_every_plane(self):
        flat = GaussianPrior(torch.zeros(6, 6), 1.0)
        flat.ndim = 2
        for lifted in (SliceWise(flat), PerpendicularPlanes(flat, (0, 1))):
            scaled = lifted.scaled(IntensityMap(3.0))
            assert {scaled.at(step).intensity.scale for step in range(4)} == {3.0}
            assert lifted.intensity.scale == 1.0

    def test_data_without_an_image_are_named(self):
        prior = GaussianPrior(torch.zeros(8, 8), 1.0).scaled(IntensityMap(percentile=50.0))
        y = Pick()(torch.zeros(8, 8))
        y[0, 0] = 1.0
        with pytest.raises(ValueError, match="50th percentile of the image's magnitudes is 0, expected more than 0"):
            solve(Pick(), y, prior, likelihood=Gaussian(1.0), steps=2, progress=False)


def test_counts_before_the_logarithm(scan, prior):
    operator, _, truth = scan
    likelihood = TransmissionPoisson(1e4)
    counts = likelihood.simulate(operator(truth), torch.Generator().manual_seed(0))
    result = solve(operator, counts, prior, likelihood=likelihood, steps=8, progress=False)
    expected = operator(result.mean)
    assert float((expected - operator(truth)).square().mean().sqrt()) < 0.1
    assert result.residual < 0.1


def test_spread_and_diagnostics(scan, prior):
    seen = []
    result = small(scan, prior, samples=2, callback=lambda step, state: seen.append(step.index))
    torch.testing.assert_close(result.std, result.samples.std(0))
    assert seen == [0, 1, 2, 3] * 2 == [step.index for step in result.diagnostics]
    assert all(step.inner_iterations > 0 and step.network > 0 and step.operator > 0 for step in result.diagnostics)
    assert result.diagnostics[-1].misfit[0] < result.diagnostics[0].misfit[0]


def test_a_volume_of_one_slice_has_no_neighbours_to_couple(prior):
    volume = Volume((1, 16, 16), (3.0, 3.0, 3.0))
    operator = ConeBeamCT(ConeBeamGeometry.circular(800, 1200, (2, 24), (4.5, 4.5), np.linspace(0, 6, 8)), volume)
    result = solve(operator, operator(torch.full(volume.shape, 0.02)), prior, steps=2, progress=False)
    assert result.mean.shape == (1, 16, 16)


def test_start_from_an_image(scan, prior):
    _, _, truth = scan
    result = small(scan, prior, init=truth, schedule=torch.tensor([0.05, 0.0]))
    assert float((result.mean - truth).abs().mean()) < 0.002


def test_saved_folder_can_be_read(scan, prior, tmp_path):
    from scoreinv.io import read_image

    result = small(scan, prior, samples=2)
    result.save(tmp_path / "out")
    image = read_image(tmp_path / "out" / "mean.nii.gz")
    torch.testing.assert_close(image.data, result.mean)
    assert image.voxel_size == (6.0, 6.0, 6.0)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "mean.nii.gz",
        "std.nii.gz",
        "sample_000.nii.gz",
        "sample_001.nii.gz",
        "reconstruction.json",
    }


def test_default_likelihood_is_one_percent_and_logged(scan, prior, caplog):
    with caplog.at_level(logging.INFO, "scoreinv"):
        small(scan, prior, likelihood=None)
    assert "sigma = 0.01 rms" in caplog.text


class TestRefusals:
    def check(self, error, says, *arguments, **settings):
        with pytest.raises(error, match=says) as raised:
            solve(*arguments, progress=False, **settings)
        assert "\n" not in str(raised.value)

    def test_measurements_of_another_shape(self, scan, prior):
        operator, y, _ = scan
        self.check(ValueError, r"expected.*8, 10, 48\).*7 views", operator, y[:7], prior)
        self.check(ValueError, "once for each", operator, y[None], prior)

    def test_measurements_of_another_type(self, scan, prior):
        operator, y, _ = scan
        self.check(TypeError, "float64", operator, y.double(), prior)
        self.check(TypeError, "complex64", operator, y + 0j, prior)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_nan(self, scan, prior, value):
        operator, y, _ = scan
        y = y.clone()
        y[0, 0, 0] = value
        self.check(ValueError, "1 NaN or Inf", operator, y, prior)

    def test_nothing_measured(self, scan, prior):
        self.check(ValueError, "all zero", scan[0], torch.zeros_like(scan[1]), prior)

    def test_unknown_names(self, scan, prior):
        self.check(ValueError, "no method 'ddss'", *scan[:2], prior, method="ddss")
        self.check(ValueError, "coupling is 'tv'", *scan[:2], prior, coupling="tv")

    def test_prior_of_another_modality(self, scan, prior):
        other = NetworkPrior(prior.network, intensity=IntensityMap(1.0, 0.0, "Bq/mL"), name="pet")
        self.check(ValueError, "Bq/mL.*takes 1/mm", *scan[:2], other)

    def test_prior_of_another_dimension(self, prior):
        self.check(ValueError, "cannot see images", Pick(), torch.ones(8, 3), GaussianPrior(torch.zeros(2, 8, 8), 1.0))

    def test_schedule_that_rises(self, scan, prior):
        self.check(ValueError, "fall strictly", *scan[:2], prior, schedule=torch.tensor([0.1, 1.0, 0.0]))

    def test_nan_from_a_network_names_the_step_and_keeps_the_state(self, scan):
        class Broken(GaussianPrior):
            def denoise(self, z, sigma):
                return super().denoise(z, sigma) * (float("nan") if sigma < 1 else 1)

        broken = Broken(torch.zeros(8, 8), 1.0)
        with pytest.raises(Diverged, match=r"step \d+ \(sigma") as raised:
            solve(Pick(), torch.ones(8, 3), broken, steps=10, progress=False)
        assert bool(torch.isfinite(raised.value.state.z).all())


def test_unusual_voxels_are_mentioned(prior, caplog):
    volume = Volume((4, 32, 32), (20.0, 20.0, 20.0))
    geometry = ConeBeamGeometry.circular(8000, 12000, (6, 48), (30.0, 30.0), [0.0, 1.0])
    operator = ConeBeamCT(geometry, volume)
    with caplog.at_level(logging.WARNING, "scoreinv"):
        solve(operator, torch.ones(operator.out_shape), prior, steps=1, progress=False)
    assert "trained on voxels" in caplog.text


@pytest.mark.parametrize(("tau", "mean"), [(0.005, 0.0), (0.5, 0.3), (50.0, 100.0)])
def test_the_default_schedule_fits_the_scale_of_the_prior(tau, mean):
    """The closed form posterior, whatever the network's units: half the pixels seen with noise tau / 2."""
    operator, n = Pick((30, 30)), 40
    y = torch.full((30, 10), mean + tau)
    prior = GaussianPrior(torch.full((30, 30), mean), tau**2)
    result = solve(operator, y, prior, likelihood=Gaussian(tau / 2), samples=n, progress=False)
    seen, unseen = result.samples[..., ::3], result.samples[..., 1::3]
    assert float(seen.mean()) == pytest.approx(mean + 0.8 * tau, abs=0.03 * tau)
    assert float(seen.std()) == pytest.approx(tau * 0.2**0.5, rel=0.08)
    assert float(unseen.mean()) == pytest.approx(mean, abs=0.05 * tau)
    assert float(unseen.std()) == pytest.approx(tau, rel=0.08)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"likelihood": 0.02}, TypeError, r"likelihood is 0.02, expected a noise model such as Gaussian\(0.02\)"),
        ({"samples": 0}, ValueError, "samples is 0, expected a whole number of at least 1"),
        ({"steps": 0}, ValueError, "steps is 0, expected a whole number of at least 1"),
        ({"steps": 2.5}, ValueError, "steps is 2.5, expected a whole number"),
        ({"seed": -1}, ValueError, "seed is -1, expected a whole number of at least 0"),
        ({"guidance": "dps"}, TypeError, r"guidance is 'dps', expected an object such as DDS\(\); names of presets go"),
        ({"stepper": DDIM}, TypeError, r"stepper is .*, expected an object such as DDIM\(\)"),
        ({"max_slices": 0}, ValueError, "max_slices is 0, expected a whole number of at least 1"),
        ({"schedule": [1.0, 0.0]}, TypeError, "schedule is list, expected a tensor"),
        ({"init": torch.zeros(3, 6, 32, 32)}, ValueError, "init has shape .* expected one image"),
        ({"init": torch.zeros(6, 32, 32, device="meta")}, ValueError, "init is on meta, the measurements on cpu"),
    ],
)
def test_bad_settings_are_named(scan, prior, changes, error, message):
    with pytest.raises(error, match=message):
        small(scan, prior, **changes)


def test_a_prior_that_says_nothing_of_units_is_mentioned(scan, caplog):
    with caplog.at_level(logging.WARNING, "scoreinv"):
        small(scan, SliceWise(Flat()), steps=1)
    assert "says nothing of units; its network units are taken for those of the image (1/mm)" in caplog.text


def test_a_prior_by_name_says_how_to_load_it(scan):
    with pytest.raises(TypeError, match=r"expected a Prior; load_prior\('ct-128'\)"):
        small(scan, "ct-128")


def test_coupling_follows_the_slices_and_leaves_frames_alone(scan, prior):
    along = small(scan, SliceWise(prior, axis=2), steps=2).config["coupling"]
    assert (along["type"], along["axis"]) == ("TVz", 2)
    image = GaussianPrior(torch.zeros(8, 8), 1.0)
    frames = Stack([Pick(), Pick()])
    result = solve(frames, torch.ones(2, 8, 3), image, likelihood=Gaussian(0.1), steps=2, progress=False)
    assert result.config["coupling"] is None


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("spacing", "expected"), [(3.0, 0.1), (1.5, 0.2), (6.0, 0.05)])
def test_thin_slices_are_coupled_more(prior, axis, spacing, expected):
    geometry = ConeBeamGeometry.circular(800, 1200, (8, 8), (6.0, 6.0), np.linspace(0, np.pi, 4))
    sizes = [3.0, 3.0, 3.0]
    sizes[axis] = spacing
    operator = ConeBeamCT(geometry, Volume((8, 8, 8), sizes))
    thin = operator, torch.ones(operator.out_shape), None
    assert small(thin, prior, steps=2, slice_axis=axis).config["coupling"]["strength"] == pytest.approx(expected)


def test_methods_without_a_place_for_a_coupling_go_without_and_refuse_one(scan, prior):
    assert small(scan, prior, method="pocs", steps=2).config["coupling"] is None
    with pytest.raises(ValueError, match=r"POCS.* has no place for TVz"):
        small(scan, prior, method="pocs", coupling=TVz())


def test_twisted_particles_start_from_noise_alone():
    image = GaussianPrior(torch.zeros(2, 3), 1.0)
    operator = Pick((2, 3))
    settings = {"likelihood": Gaussian(0.1), "method": "smc", "steps": 4, "progress": False}
    assert solve(operator, torch.ones(2, 1), image, samples=2, **settings).samples.shape == (2, 2, 3)
    with pytest.raises(ValueError, match="starts its particles from noise alone, got init"):
        solve(operator, torch.ones(2, 1), image, init=torch.zeros(2, 3), **settings)


def test_channels_of_a_network_are_not_slices():
    class Colours(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x, time):
            assert x.shape[1] == 3
            return self.weight * x

    prior = NetworkPrior(Colours(), channels=3, precision="fp32", multiple=1)
    result = solve(
        Pick((3, 8, 8)),
        torch.ones(3, 8, 3),
        prior,
        likelihood=Gaussian(0.1),
        steps=3,
        samples=3,
        max_slices=2,
        progress=False,
    )
    assert result.samples.shape == (3, 3, 8, 8)
    assert result.config["coupling"] is None
    with pytest.raises(ValueError, match=r"of 3 channels, .* expected \(3, y, x\)"):
        solve(Pick((4, 8, 8)), torch.ones(4, 8, 3), prior, likelihood=Gaussian(0.1), progress=False)
