"""The priors that come with the package."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from scoreinv import load_prior
from scoreinv.head import contrast, head
from scoreinv.priors import bundled_priors
from scoreinv.priors.storage import BUNDLED
from scoreinv.tracer import body_uptake, head_uptake

NEVER_SEEN = 5000  # seeds of training phantoms are below a few hundred


@pytest.mark.parametrize("name", bundled_priors())
def test_bundled_priors_load_are_small_and_say_what_they_are(name):
    prior = load_prior(name)
    assert prior.name == name
    assert prior.voxel_size is not None
    assert len(prior.errors) > 5
    assert (BUNDLED / name / "model.safetensors").stat().st_size < 7.5e6
    card = (BUNDLED / name / "README.md").read_text()
    assert all(part in card for part in (name, "not a medical device", "Training data", "Validation"))


@pytest.fixture(scope="module")
def prior():
    return load_prior("pet-128")


@pytest.fixture(scope="module")
def body(prior):
    """Middle slice of a patient, network units."""
    uptake = body_uptake(NEVER_SEEN, (5, 96, 96), (4.0, 4.0, 4.0))[0]
    return prior.intensity.fitted(uptake).to_network(uptake)[2]


class TestPET:
    def test_its_scale_is_found_in_the_data(self, prior):
        assert not prior.intensity.fixed
        assert prior.intensity.unit is None
        assert prior.intensity.threshold == 0.5

    @pytest.mark.parametrize("sigma", [0.2, 1.0, 3.0])
    def test_it_denoises_better_than_the_best_gaussian_filter(self, prior, body, sigma):
        z = body + sigma * torch.randn(body.shape, generator=torch.Generator().manual_seed(0))
        filtered = [torch.from_numpy(gaussian_filter(z.numpy(), width)) for width in np.geomspace(0.3, 10, 12)]
        best = min(rms(image - body) for image in filtered)
        assert rms(prior.denoise(z, sigma) - body) < 0.85 * best

    def test_a_hot_lesion_keeps_its_uptake(self, prior, body):
        y, x = torch.meshgrid(*[torch.arange(96.0)] * 2, indexing="ij")
        lesion = 8.0 * torch.exp(-((y - 48) ** 2 + (x - 40) ** 2) / (2 * 2.0**2))
        z = body + lesion + 0.5 * torch.randn(body.shape, generator=torch.Generator().manual_seed(0))
        core = lesion > 4
        assert float(prior.denoise(z, 0.5)[core].mean() / (body + lesion)[core].mean()) == pytest.approx(1.0, abs=0.05)

    def test_an_mr_image_of_the_head_helps_where_noise_is_high(self, prior):
        tissues = head(NEVER_SEEN, (5, 96, 96), (4.0, 2.5, 2.5))
        uptake, t1 = head_uptake(tissues, NEVER_SEEN), contrast(tissues, "t1", 0)
        x = prior.intensity.fitted(uptake).to_network(uptake)[2]
        z = x + 5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        assert rms(prior.conditioned(t1[2]).denoise(z, 5.0) - x) < 0.9 * rms(prior.denoise(z, 5.0) - x)


def rms(image: torch.Tensor) -> float:
    return float(image.square().mean().sqrt())
