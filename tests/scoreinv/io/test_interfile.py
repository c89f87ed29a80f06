"""STIR's sinograms; what they mean is taken from STIR's own sources and samples."""

import math

import numpy as np
import pytest
import torch

from scoreinv.io import read_interfile_sinogram, write_interfile_sinogram
from scoreinv.operators import LinesOfResponse, PETScanner, Sinogram

HEADER = """!INTERFILE :=
name of data file := scan.s
!GENERAL IMAGE DATA :=
imagedata byte order := LITTLEENDIAN
!number format := float
!number of bytes per pixel := 4
applied corrections := {None}
number of dimensions := 4
matrix axis label [4] := segment
!matrix size [4] := 3
matrix axis label [3] := view
!matrix size [3] := 6
matrix axis label [2] := axial coordinate
!matrix size [2] := { 2,3,2 }
matrix axis label [1] := tangential coordinate
!matrix size [1] := 5
minimum ring difference per segment := { -1,0,1 }
maximum ring difference per segment := { -1,0,1 }
number of rings := 3
number of detectors per ring := 12
inner ring diameter (cm) := 20
average depth of interaction (cm) := 0.5
distance between rings (cm) := 0.4
; a comment := with a sign
data offset in bytes[1] := 0
!END OF INTERFILE :=
"""

GEOMETRY = "Scanner geometry (BlocksOnCylindrical/Cylindrical/Generic) := $"

BLOCKS = """Scanner geometry (BlocksOnCylindrical/Cylindrical/Generic) := BlocksOnCylindrical
number of crystals per block in transaxial direction := 2
distance between crystals in transaxial direction (cm) := 1
number of blocks per bucket in transaxial direction := 1
distance between blocks in transaxial direction (cm) := 0.2
number of crystals per block in axial direction := 3
distance between crystals in axial direction (cm) := 0.4"""


def write(folder, header=HEADER, values=None, kind="<f4"):
    np.asarray(np.arange(210) if values is None else values, dtype=kind).tofile(folder / "scan.s")
    (folder / "scan.hs").write_text(header)
    return folder / "scan.hs"


def test_segments_find_their_planes(tmp_path):
    read = read_interfile_sinogram(write(tmp_path))
    assert read.data.shape == LinesOfResponse(read.scanner, read.sinogram).shape == (5, 6, 7)
    planes = read.sinogram.planes(read.scanner)
    # In the file: segment -1 with its two planes, view by view, then segment 0 with three.
    assert read.data[4, 2, planes.index([(2, 1)])] == (2 * 2 + 1) * 5 + 4
    assert read.data[3, 5, planes.index([(1, 1)])] == 60 + (5 * 3 + 1) * 5 + 3
    assert read.data[0, 1, planes.index([(0, 1)])] == 150 + (1 * 2) * 5
    assert read.scanner.radius == 105
    assert read.scanner.ring_positions == (4.0, 0.0, -4.0)


def test_the_other_order_of_axes_and_other_numbers_give_the_same(tmp_path):
    wanted = read_interfile_sinogram(write(tmp_path)).data
    blocks = np.split(np.arange(210), [60, 150])
    turned = [block.reshape(6, n, 5).swapaxes(0, 1).ravel() for block, n in zip(blocks, (2, 3, 2), strict=True)]
    header = HEADER.replace("[3]", "[x]").replace("[2]", "[3]").replace("[x]", "[2]")
    header = header.replace("float", "signed integer").replace("pixel := 4", "pixel := 2").replace("LITTLE", "BIG")
    got = read_interfile_sinogram(write(tmp_path, header, np.concatenate(turned), ">i2")).data
    assert torch.equal(got, wanted)


def test_a_span_is_found(tmp_path):
    header = HEADER.replace("[4] := 3", "[4] := 1").replace("{ 2,3,2 }", "{ 5 }")
    header = header.replace("{ -1,0,1 }", "{ -1 }", 1).replace("{ -1,0,1 }", "{ 1 }")
    read = read_interfile_sinogram(write(tmp_path, header, np.arange(150)))
    assert read.sinogram == Sinogram(5, 1, 3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[3] := 6", "[3] := 7", "7 views, expected 6"),
        ("{ 2,3,2 }", "{ 2,3,3 }", r"expected of 3 rings \[2, 3, 2\]"),
        ("{ 2,3,2 }", "{ 2,3 }", r"3 segments, but planes of 2: \[2, 3\]; expected as many of both"),
        ("{ -1,0,1 }", "{ -1,0 }", "expected as many of each"),
        (
            "; a comment := with a sign",
            BLOCKS.replace("(cm) := 1", "(cm) := 0.1"),
            "12 crystals of 1 mm leave 98% of a ring of radius 105 mm open, .* lengths of the header are in cm",
        ),
        ("[1] := 5", "[1] := 6", "has 840 bytes of numbers from byte 0 on, expected 1008"),
        ("float", "double", "numbers are 'double'"),
        ("number of rings := 3", "number of ring := 3", "has no key 'number of rings'"),
        ("distance between rings (cm) := 0.4", "distance between rings (cm) := far", "expected a number"),
        ("{ 2,3,2 }", "many", "expected whole numbers"),
        ("dimensions := 4", "dimensions := 5", "is 5, expected 4, without TOF"),
        ("float", "float\n!imaging modality := PT\nnumber of time frames := 2", "time frames' is '2', expected 1"),
        ("pixel := 4", "pixel := 3", "of 3 bytes, expected 4, 8"),
        ("[3] := 6", "[3] := -6", "expected a whole number >= 1"),
        ("{ 2,3,2 }", "{ , }", "expected whole numbers"),
        ("applied corrections", "corrections", "has no key 'applied corrections'"),
        ("; a comment := with a sign", GEOMETRY.replace("$", "Generic"), "scanner geometry is 'Generic'"),
        ("; a comment := with a sign", GEOMETRY.replace("$", "BlocksOnCylindrical"), "no key 'number of crystals per"),
        ("{None}", "{arc correction}", "expected neither arc correction nor attenuation"),
        ("{None}", "{attenuation}", "expected neither arc correction nor attenuation"),
        ("; a comment := with a sign", "patient orientation := feet_in", "expected head_in"),
    ],
)
def test_headers_that_contradict_themselves_are_refused(tmp_path, old, new, message):
    assert old in HEADER
    with pytest.raises(ValueError, match=message):
        read_interfile_sinogram(write(tmp_path, HEADER.replace(old, new)))


@pytest.mark.parametrize(
    ("form", "kind", "values"),
    [
        ("float", "f4", np.arange(210)),
        ("float", "f4", np.random.default_rng(0).random(210)),
        ("float", "f8", np.random.default_rng(0).random(210)),
        ("signed integer", "i2", np.arange(210) % 9),
        ("unsigned integer", "u4", np.arange(210)),
    ],
)
@pytest.mark.parametrize("order", ["LITTLEENDIAN", "BIGENDIAN"])
def test_bytes_in_the_wrong_order_are_refused(tmp_path, form, kind, values, order):
    header = HEADER.replace("float", form).replace("pixel := 4", f"pixel := {kind[1]}").replace("LITTLEENDIAN", order)
    right, wrong = ("<", ">") if order == "LITTLEENDIAN" else (">", "<")
    with pytest.raises(ValueError, match=rf"with 'imagedata byte order' '{order.lower()}', up to .*; correct the key"):
        read_interfile_sinogram(write(tmp_path, header, values, wrong + kind))
    read = read_interfile_sinogram(write(tmp_path, header, values, right + kind))
    assert float(read.data.max()) == pytest.approx(float(np.max(values)))


def test_unusual_numbers_in_the_right_order_are_read(tmp_path):
    header = HEADER.replace("float", "signed integer").replace("pixel := 4", "pixel := 2")
    for text, kind, values in (
        (HEADER, "<f4", np.zeros(210)),
        (HEADER, "<f4", 1e-25 * np.arange(210)),
        (HEADER, "<f4", np.geomspace(1e-44, 1e6, 210)),  # as images are after many iterations of EM
        (header, "<i2", 256 * (np.arange(210) % 2)),
        (header, "<i2", 256 * (np.arange(210) % 3) + 1),
    ):
        data = read_interfile_sinogram(write(tmp_path, text, values, kind)).data
        assert float(data.max()) == pytest.approx(float(np.max(values)))


def test_missing_numbers_are_named(tmp_path):
    path = write(tmp_path)
    (tmp_path / "scan.s").unlink()
    with pytest.raises(FileNotFoundError, match=r"scan\.s: no such file"):
        read_interfile_sinogram(path)


@pytest.mark.parametrize(
    ("lines", "factor"),
    [
        ("image scaling factor[1] := 0.5", 0.5),
        ("quantification units := 0.5", 0.5),
        ("image scaling factor[1] := 0.5\nquantification units := 0.5", 0.5),
        ("calibration factor := 3", 1),
    ],
)
def test_scaling_factors_are_applied_once(tmp_path, lines, factor):
    wanted = read_interfile_sinogram(write(tmp_path)).data * factor
    assert torch.equal(read_interfile_sinogram(write(tmp_path, f"{HEADER}{lines}\n")).data, wanted)


def test_scaling_factors_that_disagree_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'quantification units' is 3 .* 0\.5, expected the same"):
        read_interfile_sinogram(write(tmp_path, f"{HEADER}image scaling factor[1] := 0.5\nquantification units := 3\n"))
    with pytest.raises(ValueError, match="has 2 image scaling factors, expected one"):
        read_interfile_sinogram(write(tmp_path, HEADER + "image scaling factor[1] := {0.5, 2}\n"))


def test_view_offsets_turn_the_scanner(tmp_path):
    header = HEADER.replace("; a comment := with a sign", "View offset (degrees) := 30")
    turned = read_interfile_sinogram(write(tmp_path, header)).scanner.positions()
    # By one of twelve crystals.
    straight = read_interfile_sinogram(write(tmp_path)).scanner.positions()
    np.testing.assert_allclose(turned, np.roll(straight, -1, 0), atol=1e-9)


CIRCLE = PETScanner(105, 12, 1, 50.0, (4.0, 0.0, -4.0))
POLYGON = PETScanner(105, 4, 3, 50.0, (6.0, 2.0, -2.0, -6.0), 0.3)


class TestWriting:
    @pytest.mark.parametrize("scanner", [CIRCLE, POLYGON])
    @pytest.mark.parametrize("sinogram", [Sinogram(5), Sinogram(5, 0), Sinogram(5, span=3), Sinogram(5, 2, 3)])
    def test_what_is_written_is_read(self, tmp_path, scanner, sinogram):
        shape = LinesOfResponse(scanner, sinogram).shape
        data = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        write_interfile_sinogram(tmp_path / "a.b.hs", data, scanner, sinogram)
        assert {path.name for path in tmp_path.iterdir()} == {"a.b.hs", "a.b.s"}
        read = read_interfile_sinogram(tmp_path / "a.b.hs")
        assert torch.equal(read.data, data)
        assert read.sinogram.planes(read.scanner) == sinogram.planes(scanner)
        assert (read.sinogram.radial_bins, read.sinogram.span) == (5, sinogram.span)
        np.testing.assert_allclose(read.scanner.positions(), scanner.positions(), atol=1e-9)
        np.testing.assert_allclose(read.scanner.ring_positions, scanner.ring_positions, atol=1e-9)

    def test_the_mmr_survives(self, tmp_path):
        scanner, sinogram = PETScanner.biograph_mmr(), Sinogram(3, 5)
        data = torch.rand(LinesOfResponse(scanner, sinogram).shape)
        write_interfile_sinogram(tmp_path / "mmr.hs", data, scanner, sinogram)
        read = read_interfile_sinogram(tmp_path / "mmr.hs")
        assert torch.equal(read.data, data)
        assert (read.scanner.sides, read.scanner.crystals_per_side) == (56, 9)
        offset = next(line for line in (tmp_path / "mmr.hs").read_text().splitlines() if line.startswith("View offset"))
        assert float(offset.partition(":=")[2]) == pytest.approx(0, abs=1e-9)  # as in STIR's list of scanners
        np.testing.assert_allclose(read.scanner.positions(), scanner.positions(), atol=1e-9)

    def test_one_ring_is_enough(self, tmp_path):
        scanner = PETScanner(80, 7, 2, 20, (0.0,))
        write_interfile_sinogram(tmp_path / "a.hs", torch.ones(13, 7, 1), scanner, Sinogram())
        read = read_interfile_sinogram(tmp_path / "a.hs")
        assert read.scanner.ring_positions == (0.0,)
        assert read.data.shape == (13, 7, 1)

    def test_stir_places_the_crystals_of_blocks_where_they_are(self, tmp_path):
        write_interfile_sinogram(tmp_path / "a.hs", torch.zeros(5, 6, 16), POLYGON, Sinogram(5))
        lines = (line.partition(":=") for line in (tmp_path / "a.hs").read_text().splitlines())
        keys = {key.strip(): value.strip() for key, _, value in lines}
        assert keys["scanner geometry (blocksoncylindrical/cylindrical/generic)"] == "BlocksOnCylindrical"
        per_block = int(keys["Number of crystals per block in transaxial direction"])
        crystal = 10 * float(keys["Distance between crystals in transaxial direction (cm)"])
        block = 10 * float(keys["Distance between blocks in transaxial direction (cm)"])
        # The first block lies across y = -radius; STIR turns all so that about its first crystal comes to x = 0.
        half = math.pi / 4
        turn = half - half / block * 2 * (crystal / 2 + block - per_block * crystal)
        turn += math.radians(float(keys["View offset (degrees)"]))
        y, x = -10 * float(keys["Inner ring diameter (cm)"]) / 2, (np.arange(3) - 1) * crystal
        angles = turn + np.arange(4)[:, None] * math.pi / 2
        rows = np.cos(angles) * y + np.sin(angles) * x
        columns = -np.sin(angles) * y + np.cos(angles) * x
        np.testing.assert_allclose(np.stack([rows.ravel(), columns.ravel()], -1), POLYGON.positions(), atol=1e-9)

    def test_blocks_with_gaps_are_refused(self, tmp_path):
        write_interfile_sinogram(tmp_path / "a.hs", torch.zeros(5, 6, 16), POLYGON, Sinogram(5))
        header, key = (tmp_path / "a.hs").read_text(), "Distance between blocks in transaxial direction (cm)"
        (tmp_path / "a.hs").write_text(header.replace(f"{key} := 15.0", f"{key} := 16"))
        with pytest.raises(ValueError, match="is 16, expected 15; only sides of one block"):
            read_interfile_sinogram(tmp_path / "a.hs")

    def test_what_stir_cannot_hold_is_refused_and_nothing_written(self, tmp_path):
        path, data = tmp_path / "a.hs", torch.zeros(5, 6, 9)
        ascending = PETScanner(105, 12, 1, 50.0, (-4.0, 0.0, 4.0))
        uneven = PETScanner(105, 12, 1, 50.0, (4.0, 1.0, -4.0))
        for scanner in (ascending, uneven):
            with pytest.raises(ValueError, match="expected them to descend, evenly about 0"):
                write_interfile_sinogram(path, data, scanner, Sinogram(5))
        with pytest.raises(ValueError, match=r"shape \(5, 6, 9, 3\), expected .* \(5, 6, 9\) .* time of flight"):
            write_interfile_sinogram(path, torch.zeros(5, 6, 9, 3), CIRCLE, Sinogram(5))
        with pytest.raises(TypeError, match="expected torch"):
            write_interfile_sinogram(path, data.double(), CIRCLE, Sinogram(5))
        with pytest.raises(ValueError, match=r"\*\.hs"):
            write_interfile_sinogram(tmp_path / "a.s", data, CIRCLE, Sinogram(5))
        assert not list(tmp_path.iterdir())
