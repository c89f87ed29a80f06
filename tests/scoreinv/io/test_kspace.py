"""k-space keeps shapes together, and its image returns to the patient."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from scoreinv.io import KSpace, place_slices, read_image, write_image

GENERATOR = torch.Generator().manual_seed(0)


def slice_at(center: tuple[float, float, float], number: int = 0, tilt: float = 0.0) -> KSpace:
    """4 x 6 voxels of (3, 2, 1) mm, turned about the axis from right to left."""
    turn = np.eye(3)
    turn[:2, :2] = [[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]]
    data = torch.randn(2, 4, 6, dtype=torch.complex64, generator=GENERATOR)
    mask = torch.ones(4, 6, dtype=torch.bool)
    return KSpace(data, mask, voxel_size=(3.0, 2.0, 1.0), center=center, direction=turn, index={"slice": number})


def shots() -> KSpace:
    trajectory = math.pi * (2 * torch.rand(3, 5, 2, generator=GENERATOR) - 1)
    return KSpace(torch.ones(2, 3, 5, dtype=torch.complex64), trajectory=trajectory, image_shape=(4, 6))


def test_middle_voxel_lies_at_the_centre(tmp_path) -> None:
    k = slice_at((10.0, 20.0, 30.0))
    image = torch.zeros(4, 6)
    image[2, 3] = 1
    write_image(tmp_path / "image.nii.gz", k.place(image))
    read = read_image(tmp_path / "image.nii.gz")
    voxel = np.argwhere(read.data.numpy())[0]
    np.testing.assert_allclose(read.origin + voxel * read.voxel_size, (10, 20, 30), atol=1e-5)


def test_crop_keeps_the_middle_voxel() -> None:
    for size, shown in ((8, 4), (9, 4), (8, 5), (9, 5)):
        k = KSpace(torch.ones(1, 4, size, dtype=torch.complex64), torch.ones(4, size), recon_shape=(3, shown))
        image = torch.zeros(7, 4, size)
        image[:, 2, size // 2] = 1
        assert k.crop(image).shape == (7, 3, shown)
        assert k.crop(image)[:, 1, shown // 2].sum() == 7


def test_slices_in_any_order_become_one_volume() -> None:
    tilt = 0.3
    normal = np.array([math.cos(tilt), math.sin(tilt), 0.0])
    centers = [tuple((np.array([5.0, 6.0, 7.0]) + n * 4.0 * normal).tolist()) for n in range(5)]
    order = [3, 0, 4, 1, 2]
    slices = [slice_at(centers[n], n, tilt) for n in order]
    images = torch.stack([torch.full((4, 6), float(n)) for n in order])
    placed = place_slices(slices, images)
    assert placed.voxel_size == pytest.approx((4.0, 2.0, 1.0))
    np.testing.assert_array_equal(placed.data[:, 0, 0], range(5))
    single = slices[1].place(images[1])
    np.testing.assert_allclose(placed.origin, single.origin, atol=1e-9)
    np.testing.assert_allclose(placed.direction, single.direction, atol=1e-9)


def test_slices_of_unknown_place_are_stacked_as_given() -> None:
    slices = [replace(slice_at((0, 0, 0)), center=None, direction=None) for _ in range(3)]
    placed = place_slices(slices, torch.arange(3.0)[:, None, None].expand(3, 4, 6))
    assert placed.voxel_size == (3.0, 2.0, 1.0)
    np.testing.assert_array_equal(placed.data[:, 0, 0], range(3))


def test_slices_that_are_no_stack_are_refused() -> None:
    images = torch.ones(3, 4, 6)
    for last, words in (
        (slice_at((9.0, 0, 0)), "expected one positive spacing"),
        (slice_at((3.0, 0, 0)), "expected one positive spacing"),
        (slice_at((6.0, 2.0, 0)), "no shift aside"),
        (slice_at((6.0, 0, 0), 2, 0.2), "not parallel"),
    ):
        with pytest.raises(ValueError, match=words):
            place_slices([slice_at((0.0, 0, 0)), slice_at((3.0, 0, 0)), last], images)
    with pytest.raises(ValueError, match="2 images of 3 slices"):
        place_slices([slice_at((3.0 * n, 0, 0)) for n in range(3)], images[:2])


def test_image_without_voxel_size_has_no_place() -> None:
    with pytest.raises(ValueError, match="has no voxel size; pass it"):
        replace(slice_at((0, 0, 0)), voxel_size=None).place(torch.ones(4, 6))


def test_complex_image_is_placed() -> None:
    assert slice_at((0, 0, 0)).place(torch.ones(4, 6, dtype=torch.complex64)).data.is_complex()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mask": None}, "one of mask"),
        ({"trajectory": torch.zeros(4, 6, 2)}, "one of mask"),
        ({"mask": torch.ones(4, 5)}, r"mask has shape \(4, 5\), expected \(4, 6\)"),
        ({"data": torch.ones(2, 4, 7, dtype=torch.complex64)}, r"data has shape \(2, 4, 7\), expected \(2, 4, 6\)"),
        ({"data": torch.full((2, 4, 6), torch.nan, dtype=torch.complex64)}, "NaN or Inf"),
        ({"noise": torch.ones(3, 9, dtype=torch.complex64)}, r"noise has shape \(3, 9\)"),
        ({"calibration": torch.ones(2, 4, 5, dtype=torch.complex64)}, "calibration has shape"),
        ({"recon_shape": (5, 6)}, "expected at most image_shape"),
        ({"reference": torch.ones(3, 6)}, "reference has shape"),
    ],
)
def test_cartesian_parts_that_disagree_are_refused(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(slice_at((0, 0, 0)), **changes)


def test_non_cartesian_parts_that_disagree_are_refused() -> None:
    k = shots()
    assert k.trajectory is not None
    with pytest.raises(ValueError, match=r"leaves \[-pi, pi\]; expected rad per voxel"):
        replace(k, trajectory=2 * math.pi * k.trajectory)
    with pytest.raises(ValueError, match="trajectory has shape"):
        replace(k, trajectory=k.trajectory[:2])
    with pytest.raises(TypeError, match="expected complex64"):
        replace(k, data=k.data.abs())
    with pytest.raises(ValueError, match=r"image_shape is \(\)"):
        replace(k, image_shape=(), recon_shape=())


def test_coils_are_mixed_with_their_noise_and_calibration() -> None:
    matrix = torch.randn(1, 2, dtype=torch.complex64, generator=GENERATOR)
    k = slice_at((0, 0, 0))
    k = replace(k, noise=k.data.flatten(1), calibration=2 * k.data)
    mixed = k.mixed(matrix)
    expected = matrix[0, 0] * k.data[0] + matrix[0, 1] * k.data[1]
    torch.testing.assert_close(mixed.data, expected[None])
    assert mixed.noise is not None
    assert mixed.calibration is not None
    torch.testing.assert_close(mixed.noise, expected.reshape(1, -1))
    torch.testing.assert_close(mixed.calibration, 2 * expected[None])


def test_k_space_is_shown_in_one_line() -> None:
    assert repr(slice_at((0, 0, 0), 3)) == "KSpace(Cartesian, data (2, 4, 6), image (4, 6), slice 3)"
    assert repr(shots()) == "KSpace(non-Cartesian, data (2, 3, 5), image (4, 6))"
