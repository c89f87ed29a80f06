from pathlib import Path

import pytest
import torch

from scoreinv.baselines import sart
from scoreinv.baselines.networks import BUNDLED, bundled_networks, load_network, reconstruct
from scoreinv.config import load_batch
from scoreinv.metrics import psnr, to_attenuation
from scoreinv.operators import ConeBeamCT, Volume
from scoreinv.phantoms import body
from scoreinv.training.pair_source import PhantomSettings
from scoreinv.training.scans import simulate
from scoreinv.training.slices import rng_of


@pytest.fixture(scope="module")
def scan():
    """Operator, projections and truth of 8 views of a body that no network was trained on."""
    settings = PhantomSettings()
    geometry = settings.scan.model_copy(update={"views": 8})
    grid = Volume(settings.shape, settings.voxel_size)
    truth = to_attenuation(body(7, settings.shape, settings.voxel_size)).clamp(0, 0.04)
    return ConeBeamCT(geometry.geometry(), grid), simulate(truth, grid, geometry, rng_of(0, 7)), truth


@pytest.mark.parametrize("name", bundled_networks())
@pytest.mark.filterwarnings("error")
def test_bundled_network_knows_its_scans_and_beats_sart(name, scan):
    operator, projections, truth = scan
    image = reconstruct(load_network(name), operator, projections).clamp(0, 0.04)
    assert psnr(image, truth) > psnr(sart(operator, projections).clamp(0, 0.04), truth) + 0.5
    assert torch.isfinite(image).all()


def test_bundled_networks_are_small():
    assert sum(path.stat().st_size for path in BUNDLED.glob("*/model.safetensors")) < 6e6


@pytest.mark.parametrize("name", ["compare", "generalise"])
def test_networks_of_the_comparisons_are_bundled(name):
    _, cases = load_batch(Path(__file__).parents[3] / "configs" / "deepsparse" / f"{name}.yaml")
    for case in cases:
        assert set(case.settings.networks.values()) <= set(bundled_networks())
