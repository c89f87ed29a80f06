"""BART reads what is written, and is read as it writes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from scoreinv.io import read_cfl, read_kspace, write_cfl

needs_bart = pytest.mark.skipif(not shutil.which("bart"), reason="needs BART")


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


def bart(folder: Path, *words: str) -> str:
    done = subprocess.run(["bart", *words], cwd=folder, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (2, 3, 1, 4, 5), (7, 1, 1, 1, 2, 1, 1, 3)])
@pytest.mark.parametrize("suffix", ["", ".cfl", ".hdr"])
def test_round_trip(shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
    array = random(*shape)
    write_cfl(tmp_path / f"a.b{suffix}", array)
    assert {path.name for path in tmp_path.iterdir()} == {"a.b.cfl", "a.b.hdr"}
    assert torch.equal(read_cfl(tmp_path / f"a.b{suffix}"), array)


def test_first_of_barts_axes_varies_fastest(tmp_path: Path) -> None:
    array = random(3, 2, 4, 5)
    write_cfl(tmp_path / "array", array)
    assert (tmp_path / "array.hdr").read_text().splitlines()[1].split() == ["5", "4", "2", "3", *["1"] * 12]
    stored = np.fromfile(tmp_path / "array.cfl", "<c8").reshape((5, 4, 2, 3), order="F")
    np.testing.assert_array_equal(stored[4, 3, 1, 2], array[2, 1, 3, 4])


def test_array_of_few_axes_is_an_image(tmp_path: Path) -> None:
    write_cfl(tmp_path / "image", random(4, 5).mT)
    assert torch.equal(read_cfl(tmp_path / "image"), random(4, 5).mT[None, None])


def test_sizes_that_disagree_are_refused(tmp_path: Path) -> None:
    write_cfl(tmp_path / "array", random(3, 2, 4, 5))
    header, values = (tmp_path / "array.hdr").read_text(), (tmp_path / "array.cfl").read_bytes()
    (tmp_path / "array.cfl").write_bytes(values[:-8])
    with pytest.raises(ValueError, match=r"array\.cfl: holds 952 bytes, expected 960 for the sizes 5 4 2 3 1") as error:
        read_cfl(tmp_path / "array")
    assert "\n" not in str(error.value)
    for text in ("", "# Dimensions\n", "# Dimensions\n4 x\n", "# Dimensions\n0 4\n", header.replace("# Dim", "")):
        (tmp_path / "array.hdr").write_text(text)
        with pytest.raises(ValueError, match=r"array\.hdr: has no line of positive sizes"):
            read_cfl(tmp_path / "array")
    (tmp_path / "array.hdr").unlink()
    with pytest.raises(FileNotFoundError, match=r"array\.hdr: no such file, .* side by side"):
        read_cfl(tmp_path / "array")


def test_what_bart_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"is torch\.float32, expected complex64"):
        write_cfl(tmp_path / "array", torch.ones(2, 2))
    for array in (random(), random(0, 2), random(*[1] * 17)):
        with pytest.raises(ValueError, match="expected 1 to 16 axes"):
            write_cfl(tmp_path / "array", array)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        write_cfl(tmp_path / "none" / "array", random(2, 2))


@needs_bart
def test_inverse_transform_of_barts_phantom_is_barts_own(tmp_path: Path) -> None:
    bart(tmp_path, "phantom", "-k", "-s", "8", "-x", "48", "k")
    bart(tmp_path, "fft", "-i", "-u", "7", "k", "image")
    (k,) = read_kspace(tmp_path / "k.cfl")
    assert k.mask is not None
    assert k.data.shape == (8, 48, 48)
    shifted = torch.fft.ifftn(torch.fft.ifftshift(k.data, (-2, -1)), dim=(-2, -1), norm="ortho")
    image, expected = torch.fft.fftshift(shifted, (-2, -1)), read_cfl(tmp_path / "image").squeeze(1)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


@needs_bart
def test_bart_reads_what_is_written(tmp_path: Path) -> None:
    bart(tmp_path, "phantom", "-k", "-s", "3", "-x", "16", "k")
    array = read_cfl(tmp_path / "k")
    write_cfl(tmp_path / "again", array)
    assert float(bart(tmp_path, "nrmse", "k", "again")) == 0
    write_cfl(tmp_path / "first", array[:1])
    bart(tmp_path, "slice", "3", "0", "k", "expected")
    assert float(bart(tmp_path, "nrmse", "expected", "first")) == 0
