import json
import logging

import pytest
import torch

from scoreinv import Reconstruction
from scoreinv.io import read_complex_image, read_image
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Gaussian, LinearOperator, Volume
from scoreinv.result import describe


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
def test_complex_images_come_back_from_magnitude_and_phase(shape, tmp_path):
    saved = result(random(2, *shape, dtype=torch.complex64))
    saved.save(tmp_path)
    for name, image in {"mean": saved.mean, "sample_001": saved.samples[1]}.items():
        torch.testing.assert_close(read_complex_image(tmp_path / f"{name}.nii.gz").data.reshape(shape), image)
    torch.testing.assert_close(read_image(tmp_path / "std.nii.gz").data.reshape(shape), saved.std)
    result(random(1, *shape)).save(tmp_path)
    assert not list(tmp_path.glob("*_phase.nii.gz"))


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


def test_record_holds_the_geometry_the_volume_and_the_noise():
    geometry = ConeBeamGeometry.circular(800, 1200, (4, 24), (6.0, 6.0), [0.0, 1.0, 2.0])
    volume = Volume((2, 8, 8), (8.0, 4.0, 4.0))
    sigma = torch.linspace(1, 2, 3 * 4 * 24 * 100).reshape(300, 4, 24)
    plain = describe(operator=2.0 * ConeBeamCT(geometry, volume), likelihood=Gaussian(sigma, torch.ones(3, 1, 1)))
    scanner = json.loads(json.dumps(plain))["operator"]["operator"]
    assert plain["operator"]["factor"] == 2
    assert scanner["type"] == "ConeBeamCT"
    fields = {key: value for key, value in scanner["geometry"].items() if key != "type"}
    again = ConeBeamGeometry(**fields)
    for name in ("sources", "detector_centers", "v_steps", "u_steps"):
        assert (getattr(again, name) == getattr(geometry, name)).all()
    assert Volume(**{key: value for key, value in scanner["volume"].items() if key != "type"}) == volume
    noise = plain["likelihood"]
    assert noise["mask"] == [[[1.0]]] * 3
    assert noise["sigma"]["shape"] == [300, 4, 24]
    assert noise["sigma"] != describe(likelihood=Gaussian(sigma + 0.1))["likelihood"]["sigma"]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.bfloat16, torch.complex64, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,), (200, 100)])
def test_record_of_any_array_is_json(dtype, shape):
    values = torch.ones(shape, dtype=dtype)
    arrays = {"tensor": values, "turned": values.mT if values.ndim == 2 else values, "conjugate": values.conj()}
    if dtype != torch.bfloat16:
        arrays["array"] = values.numpy()
    record = describe(**arrays)
    assert json.loads(json.dumps(record)) == record


def test_result_is_shown_in_one_line():
    image = torch.zeros(4, 5, dtype=torch.complex64)
    result = Reconstruction(image, image.abs(), image[None], 1.25, [], {})
    assert repr(result) == "Reconstruction(image (4, 5) complex64, samples 1, residual 1.25)"
