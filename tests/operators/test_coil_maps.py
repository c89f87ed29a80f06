"""Coil maps, compared with the ones that data were simulated with, and with BART's where it is installed."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from scoreinv.operators.coil_maps import espirit, walsh
from scoreinv.operators.coils import rss, simulated_coils
from scoreinv.operators.mri import CartesianMRI

SHAPE = (64, 60)


def grid(shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Coordinates from -1 to 1 along every axis."""
    return torch.meshgrid(*((torch.arange(n) - n // 2) / (n / 2) for n in shape), indexing="ij")


def ellipses(shape: tuple[int, ...]) -> Tensor:
    """An object of a few ellipses with a smooth phase."""
    axes = grid(shape)

    def ellipse(center: float, radius: float) -> Tensor:
        return (sum((a - center) ** 2 for a in axes) < radius**2).float()

    size = ellipse(0, 0.85) - 0.4 * ellipse(0.1, 0.5) + 0.5 * ellipse(-0.3, 0.2)
    return torch.polar(size, 0.6 * axes[-1] + 0.5 * axes[-2] ** 2)


def scan(shape: tuple[int, ...] = SHAPE, coils: int = 6, sigma: float = 0.01) -> tuple[Tensor, Tensor, Tensor]:
    """Object, maps and fully sampled noisy k-space."""
    truth, maps = ellipses(shape), simulated_coils(coils, shape)
    k_space = CartesianMRI(torch.ones(shape), maps).forward(truth)
    noise = torch.randn(k_space.shape, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    return truth, maps, k_space + sigma * 2**0.5 * noise


def transformed(k_space: Tensor) -> Tensor:
    """Coil images of centred k-space."""
    axes = tuple(range(1, k_space.ndim))
    images = torch.fft.ifftn(torch.fft.ifftshift(k_space, dim=axes), dim=axes, norm="ortho")
    return torch.fft.fftshift(images, dim=axes)


def agreement(found: Tensor, maps: Tensor) -> Tensor:
    """Voxel by voxel, |<found, maps>| of normalised maps; 1 where they differ by a complex factor alone."""
    return (found.conj() * maps).sum(0).abs()


@pytest.mark.parametrize("shape", [(64, 60), (49, 51), (20, 24, 22)])
@pytest.mark.parametrize("sigma", [0.0, 0.01])
def test_espirit_finds_the_maps_wherever_there_is_an_object(shape: tuple[int, ...], sigma: float) -> None:
    truth, maps, k_space = scan(shape, sigma=sigma)
    found = espirit(k_space, kernel=6 if len(shape) == 2 else 4, calibration=24 if len(shape) == 2 else 12)
    inside = truth.abs() > 0
    assert float(agreement(found, maps)[inside].min()) > 0.99
    coil_images = maps * truth
    unexplained = coil_images - found * (found.conj() * coil_images).sum(0)
    assert float(unexplained.norm() / coil_images.norm()) < 0.02


def test_espirit_crops_where_there_is_no_object_and_is_normalised_elsewhere() -> None:
    truth, _, k_space = scan()
    size = rss(espirit(k_space))
    assert bool(torch.isclose(size[truth.abs() > 0], torch.ones(())).all())
    y, x = grid(SHAPE)
    assert not size[(y.abs() > 0.95) & (x.abs() > 0.95)].any()
    assert bool((espirit(k_space, crop=0).abs().sum(0) > 0).all())


@pytest.mark.parametrize("method", [espirit, lambda k_space: walsh(transformed(k_space))])
def test_maps_have_a_smooth_phase(method):
    truth, _, k_space = scan()
    found = method(k_space)
    inside = truth.abs() > 0
    for axis in (1, 2):
        both = inside.narrow(axis - 1, 1, inside.shape[axis - 1] - 1) & inside.narrow(
            axis - 1, 0, inside.shape[axis - 1] - 1
        )
        assert float(torch.linalg.vector_norm(found.diff(dim=axis), dim=0)[both].max()) < 0.25


def test_maps_do_not_depend_on_the_scale_of_the_data() -> None:
    _, _, k_space = scan()
    torch.testing.assert_close(espirit(1e6 * k_space), espirit(k_space), rtol=0, atol=1e-3)
    images = transformed(k_space)
    torch.testing.assert_close(walsh(1e-6 * images), walsh(images), rtol=0, atol=1e-3)


@pytest.mark.parametrize("calibration", [None, 24, (22, 18)])
def test_a_calibration_region_without_corners_is_enough(calibration):
    truth, maps, k_space = scan()
    y, x = torch.meshgrid(torch.arange(64) - 32, torch.arange(60) - 30, indexing="ij")
    found = espirit(k_space * ((y / 12) ** 2 + (x / 10) ** 2 < 1), calibration=calibration)
    assert float(agreement(found, maps)[truth.abs() > 0].min()) > 0.99


def test_the_fully_sampled_region_is_found() -> None:
    _, _, k_space = scan()
    lines = torch.zeros(SHAPE)
    lines[:, ::4] = 1
    lines[:, 20:40] = 1
    torch.testing.assert_close(
        espirit(k_space * lines, calibration=None), espirit(k_space, calibration=(64, 21)), rtol=0, atol=1e-5
    )


def test_slabs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, k_space = scan()
    whole = espirit(k_space), walsh(transformed(k_space))
    monkeypatch.setattr("scoreinv.operators.coil_maps._SLAB", 9 * 60 * 36)
    parts = espirit(k_space), walsh(transformed(k_space))
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", [(64, 60), (20, 24, 22)])
def test_walsh_finds_the_maps_within_the_object(shape: tuple[int, ...]) -> None:
    truth, maps, k_space = scan(shape)
    found = walsh(transformed(k_space), window=5)
    assert float(agreement(found, maps)[truth.abs() > 0].min()) > 0.97
    assert float(agreement(found, maps)[truth.abs() > 0].mean()) > 0.995


def test_walsh_leaves_an_empty_window_empty() -> None:
    images = simulated_coils(3, (20, 20)) * (grid((20, 20))[0] > 0)
    assert not walsh(images)[:, :7].any()


@pytest.mark.skipif(shutil.which("bart") is None, reason="needs BART (apt-get install bart)")
def test_espirit_agrees_with_bart(tmp_path: Path) -> None:
    truth, _, k_space = scan((96, 96))
    # BART's files are in column-major order: readout, phase 1, phase 2, coils.
    (tmp_path / "k.hdr").write_text("# Dimensions\n96 96 1 6\n")
    k_space.permute(0, 2, 1).contiguous().numpy().tofile(tmp_path / "k.cfl")
    subprocess.run(["bart", "ecalib", "-m1", "-r24", "-k6", "-c0.95", "k", "maps"], cwd=tmp_path, check=True)
    theirs = torch.from_numpy(np.fromfile(tmp_path / "maps.cfl", np.complex64).reshape(6, 96, 96)).permute(0, 2, 1)
    theirs = theirs / rss(theirs).clamp(min=1e-6)
    same = agreement(espirit(k_space), theirs)[(truth.abs() > 0) & (rss(theirs) > 0.5)]
    assert float(same.median()) > 0.9999
    assert float(same.min()) > 0.98


def test_wrong_data_are_refused_in_one_line() -> None:
    _, _, k_space = scan()
    spoilt, dead = k_space.clone(), k_space.clone()
    spoilt[0, 0, 0] = float("inf")
    dead[[1, 4]] = 0
    for method, name in ((espirit, "k_space"), (walsh, "coil_images")):
        with pytest.raises(ValueError, match=rf"^\w+: {name} holds 1 NaN or Inf of \d+ values.*$"):
            method(spoilt)
        with pytest.raises(ValueError, match=rf"^\w+: {name} of coil 1, 4 is all zero; leave out dead coils$"):
            method(dead)
        with pytest.raises(TypeError, match=rf"^\w+: {name} is torch.float32, expected a complex tensor.*$"):
            method(k_space.real)
    with pytest.raises(ValueError, match=r"^walsh: .* window 4; expected .* an odd window >= 1$"):
        walsh(k_space, window=4)
    with pytest.raises(ValueError, match=r"^espirit: kernel 1, .*expected kernel >= 2.*$"):
        espirit(k_space, kernel=1)
    with pytest.raises(ValueError, match=r"^espirit: calibration 5 of a k-space \(64, 60\), expected .* kernel's 6$"):
        espirit(k_space, calibration=5)


@pytest.mark.parametrize("calibration", [None, 24])
def test_a_missing_calibration_region_is_named(calibration: int | None) -> None:
    _, _, k_space = scan()
    mask = torch.zeros(SHAPE)
    mask[::2, ::2] = 1
    mask[28:36, 26:34] = 1
    with pytest.raises(ValueError, match=r"^espirit: 9 fully sampled patches .* fully sampled along 9 x 9 samples.*$"):
        espirit(k_space * mask, calibration=calibration)
    mask[24:, :] = 0
    with pytest.raises(ValueError, match=r"^espirit: 0 fully sampled .* along 0 x 0 samples.*$"):
        espirit(k_space * mask, calibration=calibration)
