"""STIR's images; what they mean is taken from STIR's own sources and samples."""

import numpy as np
import pytest
import torch

from scoreinv.io import Image, read_image, read_interfile_sinogram, write_image
from scoreinv.operators import PET, Volume
from tests.scoreinv.io.test_interfile import write as write_sinogram

HEADER = """!INTERFILE :=
!imaging modality := PT
name of data file := image.v
!type of data := PET
imagedata byte order := LITTLEENDIAN
!PET data type := Image
!number format := float
!number of bytes per pixel := 4
number of dimensions := 3
matrix axis label [1] := x
!matrix size [1] := 4
scaling factor (mm/pixel) [1] := 2
matrix axis label [2] := y
!matrix size [2] := 3
scaling factor (mm/pixel) [2] := 3
matrix axis label [3] := z
!matrix size [3] := 5
scaling factor (mm/pixel) [3] := 4
; more := of it
!END OF INTERFILE :=
"""
VALUES = np.arange(60).reshape(5, 3, 4)


def write(folder, more="", header=HEADER, values=VALUES, kind="<f4"):
    np.asarray(values, dtype=kind).tofile(folder / "image.v")
    (folder / "image.hv").write_text(header.replace("; more := of it", more))
    return folder / "image.hv"


def world(image, index):
    """(S, P, L) of a voxel."""
    return np.array(image.origin) + image.direction @ (np.array(image.voxel_size) * index)


def test_the_head_is_up_and_the_axis_goes_through_voxel_half_n(tmp_path):
    image = read_image(write(tmp_path))
    np.testing.assert_array_equal(image.data.numpy(), VALUES[::-1])
    assert image.voxel_size == (4, 3, 2)
    np.testing.assert_array_equal(image.direction, np.eye(3))
    np.testing.assert_allclose(world(image, (2, 1, 2)), 0)
    assert image.volume == Volume((5, 3, 4), (4, 3, 2))


@pytest.mark.parametrize(
    ("position", "signs"),
    [
        (("head_in", "supine"), (-1, 1, 1)),  # LPI in STIR's own words, the others RAI, RPS and LAS
        (("head_in", "prone"), (-1, -1, -1)),
        (("feet_in", "supine"), (1, 1, -1)),
        (("feet_in", "prone"), (1, -1, 1)),
        (("unknown", "prone"), (-1, 1, 1)),
    ],
)
def test_the_position_of_the_patient_turns_the_image(tmp_path, position, signs):
    offsets = "".join(f"first pixel offset (mm) [{axis}] := {axis}0\n" for axis in (1, 2, 3))
    image = read_image(
        write(tmp_path, f"patient orientation := {position[0]}\npatient rotation := {position[1]}\n{offsets}")
    )
    np.testing.assert_array_equal(image.data.numpy(), VALUES[tuple(slice(None, None, sign) for sign in signs)])
    index = np.argwhere(image.data.numpy() == VALUES[4, 0, 1])[0]
    np.testing.assert_allclose(world(image, index), np.array(signs) * (30 + 2 * 4, 20, 10 + 2))


def test_a_voxel_lies_in_the_rings_of_stirs_sinogram(tmp_path):
    # A plane every half ring, so that plane 2 r of STIR is that of ring r, counted from the head.
    scan = read_interfile_sinogram(write_sinogram(tmp_path))
    for plane in range(5):
        values = np.zeros((5, 3, 4))
        values[plane, 1, 2] = 1
        header = HEADER.replace("[3] := 4", "[3] := 2")
        image = read_image(write(tmp_path, header=header, values=values))
        counts = PET(scan.scanner, image.volume, sinogram=scan.sinogram).forward(image.data).sum((0, 1))
        pairs = scan.sinogram.planes(scan.scanner)
        brightest = {sum(pairs[i][0]) for i in torch.nonzero(counts > 0.9 * counts.max()).flatten()}
        assert brightest == {plane}


def test_what_is_written_is_read(tmp_path):
    data = torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(0))
    image = Image(data, (4.1, 3.0, 2.2), (-100.3, 7.0, 3.5))
    write_image(tmp_path / "a.b.hv", image)
    assert {path.name for path in tmp_path.iterdir()} == {"a.b.hv", "a.b.v"}
    again = read_image(tmp_path / "a.b.hv")
    assert torch.equal(again.data, data)
    assert again.voxel_size == image.voxel_size
    np.testing.assert_allclose(again.origin, image.origin, atol=1e-9)
    np.testing.assert_array_equal(again.direction, np.eye(3))


def test_bytes_in_the_wrong_order_are_refused(tmp_path):
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(5, 3, 4, generator=generator)
    for data in (values, torch.randint(0, 9, (5, 3, 4), generator=generator).float(), values ** (400 * values)):
        write_image(tmp_path / "a.hv", Image(data, (4.0, 3.0, 2.0)))
        header = (tmp_path / "a.hv").read_text()
        (tmp_path / "a.hv").write_text(header.replace("LITTLE", "BIG"))
        with pytest.raises(ValueError, match=r"a\.hv.* with 'imagedata byte order' 'bigendian', .*; correct the key"):
            read_image(tmp_path / "a.hv")


def test_a_volume_about_the_isocentre_is_at_stirs_origin(tmp_path):
    write_image(tmp_path / "image.hv", torch.ones(5, 3, 4), Volume((5, 3, 4), (4, 3, 2)))
    header = (tmp_path / "image.hv").read_text()
    assert "first pixel offset (mm) [3] := 0.0\n" in header or "first pixel offset (mm) [3] := -0.0\n" in header
    assert "first pixel offset (mm) [2] := -3.0\n" in header
    assert "first pixel offset (mm) [1] := -3.0\n" in header


@pytest.mark.parametrize(("form", "kind"), [("signed integer", ">i2"), ("unsigned integer", ">u1"), ("float", ">f8")])
def test_numbers_of_all_kinds_are_scaled(tmp_path, form, kind):
    header = HEADER.replace("float", form).replace("pixel := 4", f"pixel := {kind[2]}").replace("LITTLE", "BIG")
    one = read_image(write(tmp_path, "image scaling factor [1] := 0.5", header, VALUES, kind))
    np.testing.assert_array_equal(one.data.numpy(), 0.5 * VALUES[::-1])
    each = read_image(write(tmp_path, "image scaling factor [1] := {1,2,3,4,5}", header, VALUES, kind))
    np.testing.assert_array_equal(each.data.numpy(), (VALUES * np.arange(1, 6)[:, None, None])[::-1])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[1] := 4", "[1] := 5", "image.v has 240 bytes of numbers from byte 0 on, expected 300, 75 of 4 bytes each"),
        ("float", "bit", "numbers are 'bit'"),
        ("pixel := 4", "pixel := 2", "of 2 bytes, expected 4, 8"),
        ("dimensions := 3", "dimensions := 4", "dimensions' is 4, expected 3"),
        ("label [1] := x", "label [1] := z", "is 'z', expected x"),
        ("mm/pixel) [2] := 3", "mm/pixel) [2] := 0", "is 0, expected a positive number"),
        ("Image", "Emission", "is 'Emission', expected image"),
        ("PET\n", "Tomographic\n", "is 'Tomographic', expected pet"),
        ("; more := of it", "number of time frames := 3", "is '3', expected 1"),
        ("; more := of it", "patient orientation := feet_in\npatient rotation := left", "feet_in and left"),
        ("; more := of it", "first pixel offset (mm) [1] := 1", "no key 'first pixel offset"),
        ("; more := of it", "image scaling factor [1] := {1, 2}", "2 image scaling factors, expected 1 or"),
        ("; more := of it", "quantification units := Bq/mL", "expected a number"),
    ],
)
def test_headers_that_contradict_themselves_are_refused(tmp_path, old, new, message):
    assert old in HEADER
    with pytest.raises(ValueError, match=message) as error:
        read_image(write(tmp_path, header=HEADER.replace(old, new)))
    assert str(error.value).count("image.hv") == 1


def test_missing_numbers_are_named(tmp_path):
    path = write(tmp_path)
    (tmp_path / "image.v").unlink()
    with pytest.raises(FileNotFoundError, match=r"image\.v: no such file"):
        read_image(path)


def test_what_stir_cannot_hold_is_refused_and_nothing_written(tmp_path):
    turned = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    with pytest.raises(ValueError, match="expected axes along the patient's"):
        write_image(tmp_path / "a.hv", Image(torch.ones(2, 3, 4), (1, 1, 1), direction=turned))
    with pytest.raises(TypeError, match="complex, expected a real one"):
        write_image(tmp_path / "a.hv", Image(torch.ones(2, 3, 4, dtype=torch.complex64), (1, 1, 1)))
    assert not list(tmp_path.iterdir())
