import json
import logging

import pytest
import torch

from scoreinv import Reconstruction
from scoreinv.io import read_image
from scoreinv.operators import Gaussian, LinearOperator


class Identity(LinearOperator):
    """Sees the image as it is."""

    def __init__(self, shape, dtype=torch.float32):
        super().__init__(shape, shape, dtype, dtype)

    def _apply(self, x):
        return x.clone()

    def _adjoint(self, y):
        return y.clone()


def result(samples):
    operator = Identity(samples.shape[1:], samples.dtype)
    return Reconstruction.of(samples, operator, torch.ones_like(samples[0]), Gaussian(1.0), [], {})


def random(*shape, dtype=torch.float32):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def record(folder):
    return json.loads((folder / "reconstruction.json").read_text())


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_complex_images_come_back(shape, tmp_path):
    saved = result(random(2, *shape, dtype=torch.complex64))
    saved.save(tmp_path)
    for name, image in {"mean": saved.mean, "std": saved.std, "sample_001": saved.samples[1]}.items():
        torch.testing.assert_close(read_image(tmp_path / f"{name}.nii.gz").data.reshape(shape), image)
    assert not saved.std.is_complex()


def test_unknown_voxel_size_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "scoreinv"):
        result(random(1, 4, 5)).save(tmp_path)
    assert "the voxel size is unknown; the NIfTI files say 1 mm" in caplog.text
    assert record(tmp_path)["voxel_size"] is None


def test_samples_of_an_earlier_result_are_removed(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result(random(3, 4, 5)).save(tmp_path)
    result(random(2, 4, 5)).save(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("sample_*")) == ["sample_000.nii.gz", "sample_001.nii.gz"]
    result(random(1, 4, 5)).save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("mean.nii.gz", "std.nii.gz", "reconstruction.json", "notes.txt")
    }


def test_record_is_json_even_if_nothing_was_measured(tmp_path):
    operator = Identity((2, 2))
    Reconstruction.of(torch.zeros(1, 2, 2), operator, torch.zeros(2, 2), Gaussian(1.0), [], {}).save(tmp_path)
    assert record(tmp_path)["residual"] is None
