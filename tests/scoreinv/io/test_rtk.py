"""RTK's scans here and ours there; `rtk_geometry.xml` was written by RTK 2.7, with its own projection matrices."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from scoreinv.io import Projections, read_rtk, read_rtk_geometry, write_rtk, write_rtk_geometry
from scoreinv.operators import ConeBeamGeometry, ParallelBeamGeometry

GOLDEN = Path(__file__).parent / "rtk_geometry.xml"
SHAPE, PIXEL = (6, 9), (1.2, 0.7)
FIELDS = ("sources", "detector_centers", "v_steps", "u_steps")


def scans():
    angles = np.linspace(-0.4, 7.0, 6)
    circular = ConeBeamGeometry.circular(500.0, 800.0, SHAPE, PIXEL, angles)
    rng = np.random.default_rng(0)
    positions, axes = 300 * rng.standard_normal((2, 6, 3)), np.linalg.qr(rng.standard_normal((6, 3, 3)))[0]
    return {
        "circular": circular,
        "half fan": ConeBeamGeometry.circular(500.0, 800.0, SHAPE, PIXEL, angles, (2.0, -11.0)),
        "helical": ConeBeamGeometry.helical(500.0, 800.0, SHAPE, PIXEL, angles, 40.0),
        "one view": ConeBeamGeometry.circular(500.0, 800.0, SHAPE, PIXEL, [0.7]),
        "mirrored": replace(circular, u_steps=-circular.u_steps),
        "lying": replace(
            circular,
            detector_centers=circular.detector_centers - [300.0, 0.0, 0.0],
            v_steps=np.tile([0.0, 1.2, 0.0], (6, 1)),
            u_steps=np.tile([0.0, 0.0, 0.7], (6, 1)),
        ),
        "anywhere": ConeBeamGeometry(*positions, 1.2 * axes[..., 0], 0.7 * axes[..., 1], SHAPE),
    }


SCANS = scans()


def assert_same(geometry, expected, atol=1e-9):
    assert geometry.detector_shape == expected.detector_shape
    for field in FIELDS:
        np.testing.assert_allclose(getattr(geometry, field), getattr(expected, field), rtol=0, atol=atol)


def edited(folder, change):
    """The golden file, its tree changed."""
    tree = ElementTree.parse(GOLDEN)
    change(tree.getroot())
    tree.write(folder / "geometry.xml")
    return folder / "geometry.xml"


class TestGeometry:
    def test_projections_of_points_are_rtks(self):
        """RTK's (X, Y, Z) is our (x, z, -y), and its matrices give mm from the middle of the projections."""
        geometry = read_rtk_geometry(GOLDEN, SHAPE, PIXEL)
        matrices = [np.array(matrix.text.split(), float) for matrix in ElementTree.parse(GOLDEN).iter("Matrix")]
        points = np.random.default_rng(0).uniform(-100, 100, (20, 3))  # (z, y, x)
        z, y, x = points.T
        u, v, w = np.moveaxis(np.reshape(matrices, (-1, 3, 4)) @ np.stack([x, z, -y, np.ones(20)]), 1, 0)
        expected = np.stack([(v / w) / PIXEL[0] + (SHAPE[0] - 1) / 2, (u / w) / PIXEL[1] + (SHAPE[1] - 1) / 2], -1)
        np.testing.assert_allclose(geometry.project(points), expected, rtol=0, atol=1e-9)

    def test_circular_scans_are_ours_a_quarter_turn_back(self):
        geometry = read_rtk_geometry(GOLDEN, SHAPE, PIXEL, (3.0, 4.0)).subset(0, 5)
        assert_same(geometry, ConeBeamGeometry.circular(1000.0, 1536.0, SHAPE, PIXEL, [-np.pi / 2], (3.0, 4.0)))
        displaced = read_rtk_geometry(GOLDEN, SHAPE, PIXEL).subset(1, 5)
        assert_same(displaced, ConeBeamGeometry.circular(1000.0, 1536.0, SHAPE, PIXEL, [0.0], (0.0, -115.0)))

    @pytest.mark.parametrize("name", SCANS)
    def test_round_trip(self, name, tmp_path):
        write_rtk_geometry(tmp_path / "geometry.xml", SCANS[name])
        assert_same(read_rtk_geometry(tmp_path / "geometry.xml", SHAPE, PIXEL), SCANS[name])

    def test_a_file_of_rtk_is_written_again(self, tmp_path):
        geometry = read_rtk_geometry(GOLDEN, SHAPE, PIXEL)
        write_rtk_geometry(tmp_path / "geometry.xml", geometry)
        for name in ("SourceOffsetX", "ProjectionOffsetY", "Matrix"):
            ours, rtks = (
                [np.array(each.text.split(), float) for each in ElementTree.parse(file).iter(name)]
                for file in (tmp_path / "geometry.xml", GOLDEN)
            )
            np.testing.assert_allclose(ours, rtks, rtol=0, atol=1e-9)

    def test_what_views_share_stands_once(self, tmp_path):
        write_rtk_geometry(tmp_path / "geometry.xml", SCANS["half fan"])
        root = ElementTree.parse(tmp_path / "geometry.xml").getroot()
        shared = {each.tag: float(each.text) for each in root if each.tag != "Projection"}
        assert shared == pytest.approx(
            {
                "SourceToIsocenterDistance": 500.0,
                "SourceToDetectorDistance": 800.0,
                "ProjectionOffsetX": -11.0,
                "ProjectionOffsetY": 2.0,
            }
        )
        assert [[each.tag for each in view] for view in root.iter("Projection")] == [["GantryAngle", "Matrix"]] * 6
        write_rtk_geometry(tmp_path / "geometry.xml", SCANS["helical"])
        root = ElementTree.parse(tmp_path / "geometry.xml").getroot()
        assert len(list(root.iter("SourceOffsetY"))) == 6

    def test_a_view_is_as_the_one_before_where_it_says_nothing(self, tmp_path):
        def forget(root):
            for view in root.findall("Projection")[1:]:
                for name in ("SourceToIsocenterDistance", "SourceToDetectorDistance", "Matrix"):
                    view.remove(view.find(name))

        geometry = read_rtk_geometry(edited(tmp_path, forget), SHAPE, PIXEL)
        depth = ((geometry.sources - geometry.detector_centers) * np.cross(geometry.v_steps, geometry.u_steps)).sum(1)
        np.testing.assert_allclose(depth / (PIXEL[0] * PIXEL[1]), 1536.0)


class TestStack:
    @pytest.mark.parametrize("name", SCANS)
    def test_round_trip(self, name, tmp_path):
        data = torch.rand(SCANS[name].shape, generator=torch.Generator().manual_seed(0))
        write_rtk(Projections(data, SCANS[name]), tmp_path / "stack.mha", tmp_path / "geometry.xml")
        projections = read_rtk(tmp_path / "stack.mha", tmp_path / "geometry.xml")
        assert torch.equal(projections.data, data)
        assert (projections.kind, projections.photons) == ("line_integrals", None)
        assert_same(projections.geometry, SCANS[name])

    def test_header_places_the_pixels(self, tmp_path):
        """A stack stored upside down and off its middle, as ITK writes arrays: u fastest, then v, then views."""
        values = np.arange(5 * 6 * 9, dtype="<f4").reshape(5, 6, 9)
        header = {
            "NDims": 3,
            "DimSize": "9 6 5",
            "ElementType": "MET_FLOAT",
            "ElementSpacing": "0.7 1.2 1",
            "Offset": "-2 5 0",
            "TransformMatrix": "1 0 0 0 -1 0 0 0 1",
            "ElementDataFile": "LOCAL",
        }
        text = "".join(f"{key} = {value}\n" for key, value in header.items())
        (tmp_path / "stack.mha").write_bytes(text.encode() + values.tobytes())
        projections = read_rtk(tmp_path / "stack.mha", GOLDEN)
        assert torch.equal(projections.data, torch.from_numpy(values))
        middle = (5.0 - 2.5 * 1.2, -2.0 + 4 * 0.7)
        expected = read_rtk_geometry(GOLDEN, SHAPE, PIXEL, middle)
        assert_same(projections.geometry, replace(expected, v_steps=-expected.v_steps))

    def test_counts_are_written_as_line_integrals(self, tmp_path):
        counts = torch.full(SCANS["one view"].shape, 250.0)
        scan = Projections(counts, SCANS["one view"], "counts", 1000.0)
        write_rtk(scan, tmp_path / "stack.mha", tmp_path / "geometry.xml")
        data = read_rtk(tmp_path / "stack.mha", tmp_path / "geometry.xml").data
        torch.testing.assert_close(data, torch.full_like(data, float(np.log(4.0))))


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (
                lambda root: root.set("version", "1"),
                "version=1>, expected <RTKThreeDCircularGeometry> of version 2 or 3",
            ),
            (lambda root: root.clear() or root.set("version", "3"), "has no <Projection>"),
            (lambda root: setattr(root[2].find("Matrix"), "text", "1 " * 12), "view 2 has another Matrix"),
            (lambda root: setattr(root[3].find("GantryAngle"), "text", "x"), "view 3 has GantryAngle 'x', expected a"),
            (lambda root: setattr(root[0].find("GantryAngle"), "text", "nan"), "view 0 has GantryAngle 'nan'"),
            (lambda root: root[0].remove(root[0].find("GantryAngle")), "view 0 has no GantryAngle"),
            (
                lambda root: setattr(root[1].find("SourceToDetectorDistance"), "text", "0"),
                r"view 1 is a parallel beam \(SourceToDetectorDistance 0\)",
            ),
            (
                lambda root: setattr(ElementTree.SubElement(root, "RadiusCylindricalDetector"), "text", "900"),
                "the scan has a cylindrical detector of 900 mm, expected a flat panel",
            ),
            (
                lambda root: setattr(ElementTree.SubElement(root[4], "CollimationUInf"), "text", "20"),
                r"view 4 is collimated \(CollimationUInf 20 mm\)",
            ),
            (lambda root: setattr(ElementTree.SubElement(root[4], "Tilt"), "text", "2"), "view 4 has Tilt, expected"),
        ],
    )
    def test_files_that_say_something_else(self, change, says, tmp_path):
        with pytest.raises(ValueError, match=f"geometry.xml: .*{says}"):
            read_rtk_geometry(edited(tmp_path, change), SHAPE, PIXEL)

    def test_what_is_the_default_is_accepted(self, tmp_path):
        def change(root):
            for name, value in (("RadiusCylindricalDetector", "0"), ("CollimationUSup", "1.79769313486232e+308")):
                ElementTree.SubElement(root, name).text = value

        assert_same(read_rtk_geometry(edited(tmp_path, change), SHAPE, PIXEL), read_rtk_geometry(GOLDEN, SHAPE, PIXEL))

    def test_damaged_or_missing_files(self, tmp_path):
        (tmp_path / "geometry.xml").write_text(GOLDEN.read_text()[:200])
        with pytest.raises(ValueError, match=r"geometry.xml: damaged or not XML"):
            read_rtk_geometry(tmp_path / "geometry.xml", SHAPE, PIXEL)
        with pytest.raises(FileNotFoundError, match=r"none.xml: no such file, expected a geometry of RTK"):
            read_rtk_geometry(tmp_path / "none.xml", SHAPE, PIXEL)
        with pytest.raises(ValueError, match=r"pixel_size is \(1.0, 0.0\), expected two positive lengths"):
            read_rtk_geometry(GOLDEN, SHAPE, (1.0, 0.0))
        with pytest.raises(ValueError, match=r"expected a geometry of RTK named \*.xml"):
            write_rtk_geometry(tmp_path / "geometry.json", SCANS["circular"])

    def test_stacks_that_do_not_fit(self, tmp_path):
        stack, header = tmp_path / "stack.mha", tmp_path / "geometry.xml"
        write_rtk(Projections(torch.zeros(SCANS["circular"].shape), SCANS["circular"]), stack, header)
        with pytest.raises(ValueError, match=r"stack.mha: has 6 views, expected the 5 of .*rtk_geometry.xml"):
            read_rtk(stack, GOLDEN)
        text = stack.read_bytes()
        stack.write_bytes(text.replace(b"MET_FLOAT", b"MET_INT"))
        with pytest.raises(ValueError, match=r"stack.mha: holds int32 along 3 axes, expected line integrals as floats"):
            read_rtk(stack, header)
        turned = text.replace(b"TransformMatrix = 1.0 0.0 0.0 0.0 1.0", b"TransformMatrix = 0.0 0.0 1.0 0.0 1.0")
        stack.write_bytes(turned.replace(b"0.0 0.0 1.0\nOffset", b"1.0 0.0 0.0\nOffset"))
        with pytest.raises(ValueError, match=r"stack.mha: has views askew"):
            read_rtk(stack, header)

    def test_scans_that_rtk_cannot_express(self, tmp_path):
        scan = SCANS["circular"]
        files = tmp_path / "stack.mha", tmp_path / "geometry.xml"
        grown = replace(scan, u_steps=scan.u_steps * np.where(np.arange(6) == 4, 1.01, 1.0)[:, None])
        with pytest.raises(ValueError, match=r"write_rtk: view 4 has pixels \(v, u\) of 1.2 x 0.707 mm"):
            write_rtk(Projections(torch.zeros(scan.shape), grown), *files)
        inside = replace(scan, sources=scan.detector_centers + 3 * scan.u_steps)
        with pytest.raises(ValueError, match="view 0 has its source within the detector's plane"):
            write_rtk(Projections(torch.zeros(scan.shape), inside), *files)
        parallel = ParallelBeamGeometry.circular(SHAPE, PIXEL, [0.0, 1.0])
        with pytest.raises(TypeError, match="is ParallelBeamGeometry, expected ConeBeamGeometry"):
            write_rtk(Projections(torch.zeros(parallel.shape), parallel), *files)
        with pytest.raises(TypeError, match="write_rtk_geometry: geometry is ParallelBeamGeometry, expected Cone"):
            write_rtk_geometry(files[1], parallel)
        with pytest.raises(TypeError, match=r"projections are tuple, expected io\.Projections"):
            write_rtk((torch.zeros(scan.shape), scan), *files)
        assert not any(tmp_path.iterdir())
