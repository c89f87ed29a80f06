import pytest
import torch

from scoreinv import load_prior
from scoreinv.config import resolve
from scoreinv.io import write_image
from scoreinv.training import TrainSettings, train
from scoreinv.training.data import load_groups
from scoreinv.training.pet import PET, STORED
from scoreinv.training.slices import rng_of

TINY = {
    "name": "tiny-pet",
    "data": {"kind": "pet", "phantoms": 1, "voxel_size": [6.0, 8.0]},
    "network": {"channels": [8, 8], "norm_groups": 4, "attention_head_dim": 8},
    "phases": [{"steps": 3, "crop": 16, "batch": 2}],
    "data_std": 1.0,
    "precision": "fp32",
}
HEAD, BODY = 2, 3  # numbers of phantoms


def window(slices, z):
    return slices.values[:, z].float()


@pytest.fixture(scope="module")
def phantoms():
    return {number: PET.phantom(0, number, (6.0, 8.0)) for number in (HEAD, BODY)}


def test_heads_carry_contrasts_of_mr_and_bodies_none(phantoms):
    assert [len(phantoms[number].values) for number in (HEAD, BODY)] == [3, 1]
    assert {slices.values.dtype for slices in phantoms.values()} == {torch.int16}


def test_the_mean_inside_is_one_for_uptake_and_reference(phantoms):
    for slices in phantoms.values():
        for image in slices.values.float() / STORED:
            assert float(image[image > 0.5 * image.mean()].mean()) == pytest.approx(1.0, rel=0.01)


def test_references_are_dropped_as_often_as_asked(phantoms):
    def told(number, dropout):
        looks = [PET.look(rng_of(0, k), window(phantoms[number], 14), dropout) for k in range(40)]
        return sum(bool(look[1].any()) for look in looks) / 40

    assert (told(HEAD, 0.0), told(HEAD, 1.0), told(BODY, 0.0)) == (1.0, 0.0, 0.0)
    assert 0.2 < told(HEAD, 0.5) < 0.8


def test_looks_differ_in_scale_alone(phantoms):
    uptake = window(phantoms[BODY], 10)[0] / STORED
    scales = []
    for k in range(60):
        image, _ = PET.look(rng_of(1, k), window(phantoms[BODY], 10), 0.0)
        scales.append(float(image.sum() / uptake.sum()))
        torch.testing.assert_close(image, scales[-1] * uptake, rtol=1e-4, atol=1e-5)
    assert 0.35 < float(torch.tensor(scales).log().std()) < 0.7


def test_files_are_uptake_first_and_then_contrasts(tmp_path):
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 32)] * 2, indexing="ij")
    disc = (x**2 + y**2 < 0.5).float().expand(8, 32, 32).clone()
    write_image(tmp_path / "pet.nii.gz", 3000 * disc, voxel_size=(4.0, 6.0, 6.0))
    write_image(tmp_path / "t1.nii.gz", 7 * disc, voxel_size=(4.0, 6.0, 6.0))
    data = {"kind": "pet", "folder": str(tmp_path), "files": [["pet.nii.gz", "t1.nii.gz"]], "reference_dropout": 0.0}
    settings = resolve(TrainSettings, TINY | {"data": data | {"voxel_size": [6.0, 6.0]}})
    crops = load_groups(settings.data, 0)[0].draw(rng_of(0), 20, 32)
    assert crops.shape == (20, 2, 32, 32)
    assert 0.5 < float(crops[:, 0].amax((1, 2)).median()) < 2
    assert float(crops[:, 1].amax((1, 2)).min()) > 0


def test_trains_a_prior_that_finds_its_scale_and_takes_a_reference(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(resolve(TrainSettings, TINY), tmp_path, progress=False)
    torch.set_num_threads(threads)
    loaded = load_prior(tmp_path / "prior")
    assert (loaded.channels, loaded.air, loaded.intensity.threshold) == (1, 0.0, 0.5)
    z = torch.randn(16, 16)
    alone, told = (p.denoise(z, 0.5) for p in (loaded, loaded.conditioned(torch.rand(16, 16))))
    assert not torch.equal(alone, told)
    brighter = loaded.conditioned(1e4 * torch.ones(16, 16)).denoise(z, 0.5)
    torch.testing.assert_close(brighter, loaded.conditioned(torch.ones(16, 16)).denoise(z, 0.5), rtol=1e-3, atol=1e-4)
    assert "the scale is found for every scan" in (tmp_path / "prior" / "README.md").read_text()
