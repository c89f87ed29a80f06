import json

import pytest
import torch

from scoreinv.priors.checkpoints import read_checkpoint
from scoreinv.priors.ncsnpp import NCSNpp
from scoreinv.priors.ncsnpp_layers import Resample

TINY = {"nf": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "image_size": 32}

# Of the originals that gave the golden outputs: what their weights do not tell, and noise levels.
ORIGINALS = {
    "published": ({"image_size": 32}, (0.5, 20.0)),
    "skips": ({"image_size": 32, "centered": True}, (0.5, 20.0)),
    "unfiltered": ({"fir": False, "skip_rescale": False, "scale_by_sigma": False}, (0.5, 20.0)),
    # Levels 5 and 12 of 20 between 0.01 and 378.
    "positional": ({"num_scales": 20}, (378 * (0.01 / 378) ** (5 / 19), 378 * (0.01 / 378) ** (12 / 19))),
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return NCSNpp(**TINY, attn_resolutions=[16]).eval()


def noisy(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def answer(network, x, *sigma):
    return network(x, torch.tensor(sigma))


class TestOriginal:
    @pytest.mark.parametrize("name", ORIGINALS)
    def test_answers_like_the_original(self, name, golden, original_weights, image, tmp_path):
        arguments, sigma = ORIGINALS[name]
        expected = golden(f"ncsnpp.{name}")[1]
        torch.save(original_weights(f"ncsnpp.{name}"), tmp_path / "weights.pth")
        network = read_checkpoint(tmp_path / "weights.pth", "ncsnpp", **arguments).build()
        got = answer(network, image(*expected.shape), *sigma)
        # Both samples weigh alike once multiplied by sigma.
        scale = torch.tensor(sigma)[:, None, None, None]
        torch.testing.assert_close(scale * got, scale * expected, rtol=1e-4, atol=1e-4)

    def test_the_published_configuration_is_the_default(self):
        with torch.device("meta"):
            assert sum(weight.numel() for weight in NCSNpp().parameters()) == 61_433_473


class TestImages:
    @pytest.mark.parametrize("size", [(32, 32), (16, 48), (6, 10)])
    def test_any_size_and_shape(self, network, size):
        assert answer(network, noisy(1, 1, *size), 1.0).shape == (1, 1, *size)

    def test_attention_belongs_to_levels(self, network):
        """A larger image meets the same layers; the level of 16 pixels in training stays the one with attention."""
        attending = {key.split(".attention")[0] for key in network.state_dict() if ".attention" in key}
        assert attending == {"down.1", "up.0"}
        other = NCSNpp(**TINY, attn_resolutions=[32]).state_dict()
        assert {key.split(".attention")[0] for key in other if ".attention" in key} == {"down.0", "up.1"}

    def test_batch_entries_do_not_meet(self, network):
        x, sigma = noisy(3, 1, 16, 24), (0.1, 1.0, 50.0)
        together = answer(network, x, *sigma)
        for i in range(3):
            alone = answer(network, x[i : i + 1], sigma[i])
            torch.testing.assert_close(alone[0], together[i], rtol=1e-4, atol=1e-5)

    def test_wrong_shapes(self, network):
        with pytest.raises(ValueError, match=r"\(1, 1, 15, 16\), expected .* divisible by 2"):
            answer(network, noisy(1, 1, 15, 16), 1.0)
        with pytest.raises(ValueError, match=r"expected \(batch, 1, y, x\)"):
            answer(network, noisy(1, 2, 16, 16), 1.0)
        with pytest.raises(ValueError, match="sigma has shape"):
            answer(network, noisy(2, 1, 16, 16), 1.0)

    def test_gradient_passes_through(self, network):
        x = noisy(1, 1, 16, 16).requires_grad_()
        v, step = noisy(1, 1, 16, 16, seed=1), 1e-2
        (gradient,) = torch.autograd.grad((network(x, torch.tensor([1.0])) * v).sum(), x)
        forth, back = (answer(network, x.detach() + s * v, 1.0) for s in (step, -step))
        slope = float((v * (forth - back)).sum()) / (2 * step)
        assert float((gradient * v).sum()) == pytest.approx(slope, rel=1e-2)


class TestArguments:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("resblock_type", "ddpm"),
            ("progressive", "residual"),
            ("progressive_input", "both"),
            ("progressive_combine", "cat"),
            ("embedding_type", "learned"),
            ("nonlinearity", "relu"),
            ("normalization", "InstanceNorm"),
            ("conditional", False),
        ],
    )
    def test_other_values_are_refused_by_name(self, name, value):
        with pytest.raises(ValueError, match=f"{name} is {value!r}, expected"):
            NCSNpp(**TINY, **{name: value})

    def test_arguments_survive_json(self, network):
        copy = NCSNpp(**json.loads(json.dumps({**TINY, "attn_resolutions": [16]})))
        copy.load_state_dict(network.state_dict())
        x = noisy(1, 1, 16, 16)
        assert torch.equal(answer(copy.eval(), x, 2.0), answer(network, x, 2.0))

    def test_scale_by_sigma_divides_the_answer(self, network):
        plain = NCSNpp(**TINY, attn_resolutions=[16], scale_by_sigma=False).eval()
        plain.load_state_dict(network.state_dict())
        x = noisy(1, 1, 16, 16)
        torch.testing.assert_close(answer(network, x, 4.0), answer(plain, x, 4.0) / 4)

    def test_centred_networks_see_the_image_stretched_already(self, network):
        centred = NCSNpp(**TINY, attn_resolutions=[16], centered=True).eval()
        centred.load_state_dict(network.state_dict())
        x = noisy(1, 1, 16, 16)
        assert torch.equal(answer(network, x, 4.0), answer(centred, 2 * x - 1, 4.0))

    def test_positional_networks_know_their_levels_only(self):
        network = NCSNpp(**TINY, embedding_type="positional", sigma_min=1.0, sigma_max=100.0, num_scales=3).eval()
        x = noisy(1, 1, 16, 16)
        assert torch.equal(answer(network, x, 9.0), answer(network, x, 11.0))
        assert not torch.equal(answer(network, x, 9.0), answer(network, x, 1.0))


class TestResample:
    @pytest.mark.parametrize("taps", [(1, 1), (1, 3, 3, 1), (1, 5, 10, 10, 5, 1), (1, 2, 1)])
    def test_sizes_and_constants(self, taps):
        resample = Resample(True, taps)
        x = torch.ones(1, 2, 16, 24)
        for resized, size in ((resample.shrink(x), (8, 12)), (resample.grow(x), (32, 48))):
            assert resized.shape == (1, 2, *size)
            torch.testing.assert_close(resized[..., 3:-3, 3:-3], torch.ones(1, 2, *size)[..., 3:-3, 3:-3])

    @pytest.mark.parametrize("fir", [True, False])
    def test_growing_is_the_adjoint_of_shrinking(self, fir):
        """But for the factor 4 that keeps the intensity."""
        resample = Resample(fir, (1, 3, 3, 1))
        small, large = noisy(1, 2, 4, 6).double(), noisy(1, 2, 8, 12, seed=1).double()
        resample.double()
        torch.testing.assert_close((resample.grow(small) * large).sum(), 4 * (small * resample.shrink(large)).sum())
