import numpy as np
import pytest
import torch

from scoreinv import load_prior
from scoreinv.config import resolve
from scoreinv.io import write_image
from scoreinv.training import TrainSettings, train
from scoreinv.training.data import load_groups
from scoreinv.training.mr import MR, STORED, recontrast
from scoreinv.training.slices import rng_of

TINY = {
    "name": "tiny-mr",
    "data": {"kind": "mr", "phantoms": 1, "voxel_size": [6.0, 8.0]},
    "network": {"channels": [8, 8], "norm_groups": 4, "attention_head_dim": 8},
    "phases": [{"steps": 3, "crop": 16, "batch": 2}],
    "data_std": 0.25,
    "precision": "fp32",
}


@pytest.fixture
def scans(tmp_path):
    """One subject in two contrasts, and one in a single contrast."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 32)] * 2, indexing="ij")
    head = (x**2 + y**2 < 0.6).float() + (x**2 + y**2 < 0.1).float()
    for name, image in (
        ("t1.nii.gz", 400 * head),
        ("t2.nii.gz", 7 * (2.2 - head) * (head > 0)),
        ("other.nii.gz", head),
    ):
        write_image(tmp_path / name, image.expand(12, 32, 32).clone(), voxel_size=(2.0, 6.0, 6.0))
    return tmp_path


def sampler(folder, files, dropout=0.0, **data):
    tree = TINY | {"data": {"kind": "mr", "folder": str(folder), "files": files, "reference_dropout": dropout} | data}
    return load_groups(resolve(TrainSettings, tree | {"data": tree["data"] | {"voxel_size": [6.0, 6.0]}}).data, 0)[0]


def test_crops_are_real_imaginary_and_reference(scans):
    crops = sampler(scans, [["t1.nii.gz", "t2.nii.gz"]]).draw(rng_of(0), 8, 32)
    assert crops.shape == (8, 3, 32, 32)
    magnitude = torch.linalg.vector_norm(crops[:, :2], dim=1)
    assert 0.5 < float(magnitude.flatten(1).max(1).values.median()) < 1.6
    # Phases differ from image to image, and within each smoothly.
    phase = torch.complex(crops[:, 0], crops[:, 1]) / magnitude.clamp(min=1e-6)
    neighbours = (phase[..., 1:] * phase[..., :-1].conj()).real[magnitude[..., 1:] * magnitude[..., :-1] > 0.01]
    assert float(neighbours.min()) > 0.8
    assert float(phase[:, 16, 16].mean().abs()) < 0.8


def test_references_are_dropped_as_often_as_asked(scans):
    def told(dropout):
        crops = sampler(scans, [["t1.nii.gz", "t2.nii.gz"]], dropout).draw(rng_of(0), 40, 8)
        return float((crops[:, 2].flatten(1).abs().max(1).values > 0).float().mean())

    assert (told(0.0), told(1.0)) == (1.0, 0.0)
    assert 0.2 < told(0.5) < 0.8


def test_subjects_of_one_contrast_have_references_too(scans):
    crops = sampler(scans, ["other.nii.gz"]).draw(rng_of(0), 4, 16)
    assert float(crops[:, 2].abs().max()) > 0


def test_contrasts_on_other_grids_are_named(scans):
    write_image(scans / "small.nii.gz", torch.ones(12, 16, 16), voxel_size=(2.0, 12.0, 12.0))
    with pytest.raises(ValueError, match=r"contrasts of one subject have shapes .* expected one grid"):
        sampler(scans, [["t1.nii.gz", "small.nii.gz"]])


def test_images_of_nothing_are_named(scans):
    write_image(scans / "empty.nii.gz", torch.zeros(12, 32, 32), voxel_size=(2.0, 6.0, 6.0))
    with pytest.raises(ValueError, match="expected magnitudes of a head"):
        sampler(scans, ["empty.nii.gz"])


def test_new_contrasts_keep_air_dark_and_their_range():
    magnitude = torch.linspace(0, 1.5, 200)
    for seed in range(20):
        image = recontrast(np.random.default_rng(seed), magnitude)
        assert float(image[0]) == 0
        assert float(image[magnitude < 0.05].max()) <= 0.051
        assert 0.3 < float(image.max()) <= 1.5


def test_phantoms_have_every_weighting():
    slices = MR.phantom(0, 3, (6.0, 8.0))
    assert slices.values.shape[:2] == (4, 12)
    assert slices.values.dtype == torch.int16
    for contrast in slices.values.float():
        assert float(np.percentile(contrast.numpy(), 99.5)) == pytest.approx(STORED, rel=0.01)


def test_trains_a_prior_of_complex_images_that_takes_a_reference(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    prior = train(resolve(TrainSettings, TINY), tmp_path, progress=False)
    torch.set_num_threads(threads)
    loaded = load_prior(tmp_path / "prior")
    assert (loaded.channels, loaded.air, loaded.intensity.percentile) == (2, 0.0, 99.5)
    assert len(prior.errors) > 3
    z = torch.randn(16, 16, dtype=torch.complex64)
    alone, told = (p.denoise(z, 0.5) for p in (loaded, loaded.conditioned(torch.rand(16, 16))))
    assert alone.dtype == torch.complex64
    assert not torch.equal(alone, told)
    card = (tmp_path / "prior" / "README.md").read_text()
    assert "complex" in card
    assert "the scale is found for every scan" in card
