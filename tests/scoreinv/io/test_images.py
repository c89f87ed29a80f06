"""Images keep values, spacing and place in the patient; bad files are named in one line."""

from __future__ import annotations

import itertools
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from scoreinv.io import Image, phase_path, read_complex_image, read_image, write_image
from scoreinv.operators.geometry import Volume

SHARED = Path(__file__).parents[3] / "../shared/data"
SUFFIXES = (".nii", ".nii.gz", ".mha")
AXIS_CODES = [
    "".join(pair[sign] for pair, sign in zip(order, signs, strict=True))
    for order in itertools.permutations(("RL", "AP", "SI"))
    for signs in itertools.product((0, 1), repeat=3)
]


def rotation(*angles: float) -> np.ndarray:
    """A rotation by small angles about three axes in turn."""
    result = np.eye(3)
    for k, angle in enumerate(angles):
        turn, (i, j) = np.eye(3), [a for a in range(3) if a != k]
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        result = result @ turn
    return result


def oblique_image() -> Image:
    data = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))
    return Image(data, (3.0, 0.7, 1.1), (-12.5, 101.25, 7.0), rotation(0.1, -0.2, 0.15))


def nifti(codes: str, tilt: np.ndarray) -> nib.Nifti1Image:
    """A NIfTI file with axes of different lengths and sizes along the given codes."""
    ornt = nib.orientations.axcodes2ornt(codes)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, ((world, sign), size) in enumerate(zip(ornt, (2.0, 0.5, 1.25), strict=True)):
        affine[int(world), axis] = sign * size
    affine[:3, :3] = tilt @ affine[:3, :3]
    affine[:3, 3] = (11.0, -23.0, 5.5)
    array = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    return nib.Nifti1Image(array, affine)


def metaimage(path: Path, values: bytes, **changes: str | None) -> Path:
    """A MetaImage file with this header; None takes a line out."""
    header: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "ElementSpacing": "1 2 3",
        "Offset": "10 20 30",
        "DimSize": "4 3 2",
        "ElementType": "MET_SHORT",
    }
    header |= {**changes, "ElementDataFile": changes.get("ElementDataFile", "LOCAL")}
    lines = "".join(f"{key} = {value}\n" for key, value in header.items() if value is not None)
    path.write_bytes(lines.encode() + values)
    return path


def one_line(error: pytest.ExceptionInfo[Exception], *words: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("codes", AXIS_CODES)
def test_all_48_orientations_read_as_nibabel_reorients_them(codes: str, suffix: str, tmp_path: Path) -> None:
    original = nifti(codes, rotation(0.05, -0.1, 0.08))
    nib.save(original, tmp_path / "original.nii")
    to_lps = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(original.affine), nib.orientations.axcodes2ornt("LPS")
    )
    expected = original.as_reoriented(to_lps)

    image = read_image(tmp_path / "original.nii")
    write_image(tmp_path / f"again{suffix}", image)
    again = read_image(tmp_path / f"again{suffix}")

    for got in (image, again):
        affine = np.eye(4)
        affine[:3, :3] = got.direction[::-1, ::-1] * got.voxel_size[::-1]
        affine[:3, 3] = got.origin[::-1]
        np.testing.assert_array_equal(got.data.numpy().T, expected.get_fdata(dtype=np.float32))
        np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ affine, expected.affine, atol=1e-5)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nibabel_reads_what_was_written_at_the_same_place(suffix: str, tmp_path: Path) -> None:
    image = oblique_image()
    write_image(tmp_path / f"image{suffix}", image)
    written = nib.load(tmp_path / f"image{suffix}")
    world = written.affine @ (1, 2, 3, 1)  # right, anterior, superior of voxel x=1, y=2, z=3
    expected = np.array(image.origin) + image.direction @ (np.array(image.voxel_size) * (3, 2, 1))
    np.testing.assert_allclose(world[:3], expected[::-1] * (-1, -1, 1), atol=1e-4)
    np.testing.assert_allclose(written.get_qform(), written.get_sform(), atol=1e-4)
    assert written.get_fdata()[1, 2, 3] == image.data[3, 2, 1]
    assert nib.aff2axcodes(written.affine) == ("L", "P", "S")
    assert written.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_keeps_values_size_and_place(suffix: str, tmp_path: Path) -> None:
    image = oblique_image()
    write_image(tmp_path / f"image{suffix}", image)
    again = read_image(tmp_path / f"image{suffix}")
    assert torch.equal(again.data, image.data)
    tolerance = 0 if suffix == ".mha" else 1e-5  # NIfTI headers are float32
    np.testing.assert_allclose(again.voxel_size, image.voxel_size, rtol=1e-6)
    np.testing.assert_allclose(again.origin, image.origin, atol=tolerance)
    np.testing.assert_allclose(again.direction, image.direction, atol=tolerance + 1e-12)


def test_gzip_is_gzip(tmp_path: Path) -> None:
    write_image(tmp_path / "image.nii.gz", oblique_image())
    assert (tmp_path / "image.nii.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_intensity_scaling_is_applied(tmp_path: Path) -> None:
    stored = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([-1.0, -1.0, 1.0, 1.0]))
    # nibabel chooses the scaling itself when it writes, so the header is patched.
    raw = bytearray(stored.header.binaryblock + b"\0\0\0\0" + np.arange(24, dtype="<i2").tobytes())
    raw[108:112] = np.float32(352).tobytes()  # vox_offset
    raw[112:120] = np.array([0.5, -1000], dtype="<f4").tobytes()  # scl_slope, scl_inter
    (tmp_path / "image.nii").write_bytes(raw)
    image = read_image(tmp_path / "image.nii")
    assert image.data.dtype == torch.float32
    np.testing.assert_array_equal(image.data.numpy().ravel(), np.arange(24) * 0.5 - 1000)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1e-3), ("meter", 1e3)])
def test_units_of_length_become_mm(unit: str, factor: float, tmp_path: Path) -> None:
    stored = nifti("LPS", np.eye(3))
    stored.header.set_xyzt_units(unit)
    nib.save(stored, tmp_path / "image.nii")
    np.testing.assert_allclose(read_image(tmp_path / "image.nii").voxel_size, np.array([1.25, 0.5, 2.0]) * factor)


def test_operators_see_the_grid_centred_at_zero() -> None:
    image = oblique_image()
    assert image.volume == Volume((4, 5, 6), (3.0, 0.7, 1.1))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_reconstruction_returns_to_the_place_of_the_image_it_came_from(suffix: str, tmp_path: Path) -> None:
    image = oblique_image()
    write_image(tmp_path / f"reconstruction{suffix}", image.data + 1, image)
    again = read_image(tmp_path / f"reconstruction{suffix}")
    assert torch.equal(again.data, image.data + 1)
    np.testing.assert_allclose(again.origin, image.origin, atol=1e-5)


def test_tensor_lies_on_the_volume_of_its_operator(tmp_path: Path) -> None:
    volume = Volume((2, 3, 4), (2.0, 1.0, 0.5), center=(10.0, 0.0, 0.0))
    write_image(tmp_path / "image.nii", torch.ones(2, 3, 4), volume)
    again = read_image(tmp_path / "image.nii")
    np.testing.assert_allclose(again.origin, volume.first_voxel)
    assert again.voxel_size == volume.voxel_size


def test_tensor_of_unknown_place_is_centred(tmp_path: Path) -> None:
    write_image(tmp_path / "image.nii", torch.ones(2, 3, 4), voxel_size=(2.0, 1.0, 0.5))
    again = read_image(tmp_path / "image.nii")
    assert again.voxel_size == (2.0, 1.0, 0.5)
    assert again.origin == (-1.0, -1.0, -0.75)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_two_dimensional_image_is_one_slice(suffix: str, tmp_path: Path) -> None:
    write_image(tmp_path / f"image{suffix}", torch.ones(3, 4), Volume((1, 3, 4), (5.0, 1.0, 1.0)))
    assert read_image(tmp_path / f"image{suffix}").data.shape == (1, 3, 4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_complex_image_is_written_as_magnitude_and_phase(suffix: str, tmp_path: Path) -> None:
    image = torch.randn(2, 3, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    write_image(tmp_path / f"image{suffix}", image, voxel_size=(3.0, 2.0, 1.0))
    assert {path.name for path in tmp_path.iterdir()} == {f"image{suffix}", f"image_phase{suffix}"}
    torch.testing.assert_close(read_image(tmp_path / f"image{suffix}").data, image.abs())
    torch.testing.assert_close(read_image(phase_path(tmp_path / f"image{suffix}")).data, image.angle())
    read = read_complex_image(tmp_path / f"image{suffix}")
    torch.testing.assert_close(read.data, image)
    assert read.voxel_size == (3.0, 2.0, 1.0)


def test_phase_of_another_grid_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "image.nii.gz", torch.ones(2, 3, 4), voxel_size=(3.0, 2.0, 1.0))
    with pytest.raises(FileNotFoundError, match=r"image_phase\.nii\.gz"):
        read_complex_image(tmp_path / "image.nii.gz")
    write_image(tmp_path / "image_phase.nii.gz", torch.ones(2, 3, 5), voxel_size=(3.0, 2.0, 1.0))
    with pytest.raises(ValueError, match="one grid"):
        read_complex_image(tmp_path / "image.nii.gz")


def test_complex_nifti_keeps_its_imaginary_part(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((2, 3, 4, 2)).astype(np.float32).view(np.complex64)[..., 0]
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "image.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "image.nii").data.numpy(), values.T)


def test_last_axis_of_length_one_is_dropped_and_a_series_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((2, 3, 4, 1), np.float32), np.eye(4)), tmp_path / "one.nii")
    assert read_image(tmp_path / "one.nii").data.shape == (4, 3, 2)
    nib.save(nib.Nifti1Image(np.ones((2, 3, 4, 5), np.float32), np.eye(4)), tmp_path / "five.nii")
    with pytest.raises(ValueError, match="one volume") as error:
        read_image(tmp_path / "five.nii")
    one_line(error, "five.nii", "(2, 3, 4, 5)")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(("element", "code"), [("MET_UCHAR", "u1"), ("MET_SHORT", "i2"), ("MET_DOUBLE", "f8")])
def test_metaimage_types_byte_orders_and_compression(
    element: str, code: str, big_endian: bool, compressed: bool, tmp_path: Path
) -> None:
    values = np.arange(24).reshape(2, 3, 4)
    stored = values.astype((">" if big_endian else "<") + code).tobytes()
    path = metaimage(
        tmp_path / "image.mha",
        zlib.compress(stored) if compressed else stored,
        ElementType=element,
        BinaryDataByteOrderMSB=str(big_endian),
        CompressedData=str(compressed),
    )
    image = read_image(path)
    np.testing.assert_array_equal(image.data.numpy(), values)
    assert image.voxel_size == (3, 2, 1)
    assert image.origin == (30, 20, 10)


def test_metaimage_matrix_lists_axis_after_axis(tmp_path: Path) -> None:
    values = np.arange(24, dtype="<i2").reshape(2, 3, 4)
    # Stored x runs to Superior, y to Right, z to Posterior.
    path = metaimage(tmp_path / "image.mha", values.tobytes(), TransformMatrix="0 0 1 -1 0 0 0 1 0")
    image = read_image(path)
    np.testing.assert_array_equal(image.data.numpy(), values.transpose(2, 0, 1)[:, :, ::-1])
    assert image.voxel_size == (1, 3, 2)
    assert image.origin == (30, 20, 10 - 2 * 2)
    np.testing.assert_array_equal(image.direction, np.eye(3))


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz", "image.mha"])
@pytest.mark.parametrize("keep", [0.0, 0.05, 0.6, 0.95])
def test_truncated_file_is_refused(name: str, keep: float, tmp_path: Path) -> None:
    noise = torch.randn(8, 8, 8, generator=torch.Generator().manual_seed(0))
    write_image(tmp_path / name, Image(noise, (1, 1, 1)))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(ValueError, match="again") as error:
        read_image(tmp_path / name)
    one_line(error, name)


@pytest.mark.parametrize("name", ["image.nii.gz", "image.mha"])
def test_flipped_bits_do_not_pass_the_checksum(name: str, tmp_path: Path) -> None:
    noise = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(0))
    write_image(tmp_path / name, Image(noise, (1, 1, 1)))
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="copy or export the file again") as error:
        read_image(tmp_path / name)
    one_line(error, name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_of_another_kind_is_refused(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"image{suffix}").write_bytes(bytes(range(256)) * 8)
    with pytest.raises(ValueError, match="damaged or not") as error:
        read_image(tmp_path / f"image{suffix}")
    one_line(error, f"image{suffix}")


def test_nifti_2_is_read(tmp_path: Path) -> None:
    stored = nifti("RAS", np.eye(3))
    nib.save(nib.Nifti2Image(stored.dataobj, stored.affine), tmp_path / "image.nii")
    assert read_image(tmp_path / "image.nii").data.shape == (5, 4, 3)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"ElementType": "MET_STRING"}, "MET_STRING"),
        ({"ElementNumberOfChannels": "3"}, "3 channels"),
        ({"ElementDataFile": "image.raw"}, "image.raw"),
        ({"BinaryData": "False"}, "BinaryData"),
        ({"DimSize": "4 3"}, "DimSize"),
        ({"DimSize": "4 3 -2"}, "DimSize"),
        ({"DimSize": "4 3 3"}, "expected 72"),
        ({"NDims": None}, "NDims"),
        ({"ElementSpacing": "1 2 three"}, "ElementSpacing"),
        ({"ElementSpacing": "1 2 0"}, "inverted"),
        ({"Offset": "1 nan 0"}, "inverted"),
        ({"CompressedData": "True"}, "damaged"),
    ],
)
def test_metaimage_header_errors_name_the_line(changes: dict[str, str | None], word: str, tmp_path: Path) -> None:
    path = metaimage(tmp_path / "image.mha", np.arange(24, dtype="<i2").tobytes(), **changes)
    with pytest.raises(ValueError, match=word) as error:
        read_image(path)
    one_line(error, "image.mha")


def test_singular_and_sheared_affines_are_refused(tmp_path: Path) -> None:
    for name, column, word in (("singular", (1, 0, 0), "inverted"), ("sheared", (0.5, 1, 0), "sheared")):
        stored = nib.Nifti1Image(np.ones((2, 3, 4), np.float32), np.eye(4))
        stored.header["srow_x"][1], stored.header["srow_y"][1], stored.header["srow_z"][1] = column
        stored.header["sform_code"] = 1
        nib.Nifti1Image(stored.dataobj, None, stored.header).to_filename(tmp_path / f"{name}.nii")
        with pytest.raises(ValueError, match=word) as error:
            read_image(tmp_path / f"{name}.nii")
        one_line(error, f"{name}.nii")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    stored = np.ones((2, 3, 4), np.float32)
    stored[1, 1, 1] = value
    nib.save(nib.Nifti1Image(stored, np.eye(4)), tmp_path / "image.nii")
    with pytest.raises(ValueError, match="NaN or Inf in 1 of 24") as error:
        read_image(tmp_path / "image.nii")
    one_line(error, "image.nii")
    with pytest.raises(ValueError, match="NaN or Inf"):
        write_image(tmp_path / "out.nii", torch.from_numpy(stored), Volume((2, 3, 4), (1, 1, 1)))
    assert not (tmp_path / "out.nii").exists()


def test_missing_file_and_wrong_suffix(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file") as missing:
        read_image(tmp_path / "none.nii.gz")
    one_line(missing, "none.nii.gz")
    for call in (lambda p: read_image(p), lambda p: write_image(p, oblique_image())):
        with pytest.raises(ValueError, match=r"\*\.mha") as wrong:
            call(tmp_path / "image.dcm")
        one_line(wrong, "image.dcm")
    with pytest.raises(FileNotFoundError, match="does not exist") as folder:
        write_image(tmp_path / "no" / "image.nii", oblique_image())
    one_line(folder, "image.nii")


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    volume = Volume((2, 3, 4), (1, 1, 1))
    with pytest.raises(TypeError, match="float64"):
        write_image(tmp_path / "image.nii", torch.ones(2, 3, 4, dtype=torch.float64), volume)
    with pytest.raises(ValueError, match=r"\(2, 3, 5\)"):
        write_image(tmp_path / "image.nii", torch.ones(2, 3, 5), volume)
    with pytest.raises(ValueError, match="0 of grid and voxel_size"):
        write_image(tmp_path / "image.nii", torch.ones(2, 3, 4))
    with pytest.raises(ValueError, match="none with an Image"):
        write_image(tmp_path / "image.nii", oblique_image(), volume)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_writer_that_fails_midway_leaves_the_old_file(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"image{suffix}"
    write_image(path, oblique_image())
    before = path.read_bytes()

    def write_half(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", lambda image, temporary: write_half(temporary))
    monkeypatch.setattr(Path, "write_bytes", lambda temporary, content: write_half(temporary))
    with pytest.raises(OSError, match="disk full"):
        write_image(path, oblique_image())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["ct/totalseg_body_3mm.nii.gz", "mr/head_t2_thick.nii.gz"])
def test_real_files_read_at_the_place_nibabel_gives(name: str) -> None:
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not here")
    image, stored = read_image(SHARED / name), nib.load(SHARED / name)
    values = stored.get_fdata(dtype=np.float32)
    assert sorted(image.data.shape) == sorted(stored.shape)
    assert image.data.sum(dtype=torch.float64).item() == pytest.approx(values.sum(dtype=np.float64))
    voxel = np.array(image.data.shape) // 3
    world = np.array(image.origin) + image.direction @ (voxel * image.voxel_size)
    index = np.linalg.inv(stored.affine) @ (*(world[::-1] * (-1, -1, 1)), 1)
    np.testing.assert_allclose(index, index.round(), atol=1e-3)
    assert image.data[tuple(voxel)] == values[tuple(index[:3].round().astype(int))]
