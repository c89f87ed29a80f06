"""TIGRE's description of a scan has our rays: its source and pixels are built here, step by step, as its CUDA does."""

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from scoreinv.interop import from_tigre, to_tigre
from scoreinv.operators import ConeBeamGeometry, ParallelBeamGeometry, Volume

VOLUME = Volume((6, 8, 10), (2.0, 1.5, 1.0), (5.0, -3.0, 7.0))
ANGLES = np.linspace(-0.4, 5.0, 7)
SHAPE, PIXEL, OFFSET = (5, 8), (1.3, 0.9), (2.5, -11.0)


def about(axis, angle):
    """The right-handed rotation about x, y or z, a matrix on (x, y, z)."""
    c, s = np.cos(angle), np.sin(angle)
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def view_of(values, view, ndim):
    values = np.asarray(values, dtype=float)
    return values[view % len(values)] if values.ndim > ndim else values


def tigre_rays(geo, angles):
    """Source (views, 3) and pixels (views, v, u, 3) in (x, y, z), mm, from the middle of the image."""
    sources, pixels = [], []
    rows, columns = geo.nDetector
    for view, turns in enumerate(np.asarray(angles, dtype=float)):
        alpha, theta, psi = turns if np.ndim(turns) else (turns, 0.0, 0.0)
        E = about("z", alpha) @ about("y", theta) @ about("z", psi)
        DSO, DSD, COR = (view_of(getattr(geo, name, 0.0), view, 0) for name in ("DSO", "DSD", "COR"))
        about_x, about_y, about_z = view_of(getattr(geo, "rotDetector", np.zeros(3)), view, 1)
        R = about("z", about_z) @ about("y", about_y) @ about("x", about_x)
        off_v, off_u = view_of(getattr(geo, "offDetector", np.zeros(2)), view, 1)
        aside = COR * np.array([-np.sin(alpha), np.cos(alpha), 0.0])
        aside = aside - view_of(getattr(geo, "offOrigin", np.zeros(3)), view, 1)[::-1]
        sources.append(E @ [DSO, 0.0, 0.0] + aside)
        for i in range(rows):
            for j in range(columns):
                y, z = geo.dDetector[1] * (j - columns / 2 + 0.5), geo.dDetector[0] * (i - rows / 2 + 0.5)
                P = R @ [0.0, y, z] + [DSO - DSD, off_u, off_v]
                pixels.append(E @ P + aside)
    return np.array(sources), np.reshape(pixels, (len(sources), rows, columns, 3))


def our_rays(geometry, volume):
    """The same of ours."""
    rays = geometry.rays(volume)
    i, j = np.arange(rays.shape[1])[:, None, None], np.arange(rays.shape[2])[:, None]
    vectors = (vector[:, None, None] for vector in (rays.end, rays.end_v, rays.end_u))
    first, step_v, step_u = vectors
    pixels = first + i * step_v + j * step_u
    center = np.array(volume.center)
    return (rays.start - center)[:, ::-1], (pixels - center)[..., ::-1]


def moved(geometry, shift, tilt=None):
    """The scanner pushed aside by (z, y, x) mm, or (views, 3); and its detector turned about its middle."""
    shift = np.asarray(shift, dtype=float)
    turn = np.eye(3) if tilt is None else tilt
    return replace(
        geometry,
        sources=geometry.sources + shift,
        detector_centers=geometry.detector_centers + shift,
        v_steps=geometry.v_steps @ turn.T,
        u_steps=geometry.u_steps @ turn.T,
    )


def scans():
    half_fan = ConeBeamGeometry.circular(500.0, 800.0, SHAPE, PIXEL, ANGLES, OFFSET)
    breathing = np.random.default_rng(0).normal(0, 3, (4, len(ANGLES), 3))
    tilt = about("x", 0.1) @ about("y", -0.2) @ about("z", 0.05)
    wobbling = replace(
        half_fan,
        sources=half_fan.sources + breathing[0],
        detector_centers=half_fan.detector_centers + breathing[1],
    )
    upside_down = replace(half_fan, v_steps=-half_fan.v_steps)
    return {
        "circular": ConeBeamGeometry.circular(500.0, 800.0, SHAPE, PIXEL, ANGLES),
        "half fan": half_fan,
        "one view": ConeBeamGeometry.circular(500.0, 800.0, SHAPE, PIXEL, [0.7], OFFSET),
        "two views": ConeBeamGeometry.circular(500.0, 800.0, SHAPE, PIXEL, [0.7, 2.0], OFFSET),
        "off the axis": moved(half_fan, (4.0, 0.0, 9.0)),
        "helical": ConeBeamGeometry.helical(500.0, 800.0, SHAPE, PIXEL, ANGLES, 40.0, OFFSET),
        "wobbling": wobbling,
        "tilted": moved(wobbling, (0.0, 0.0, 0.0), tilt),
        "upside down": upside_down,
        "mirrored": replace(half_fan, u_steps=-half_fan.u_steps),
        "on its side": replace(half_fan, u_steps=half_fan.v_steps, v_steps=half_fan.u_steps),
        "lying": replace(half_fan, v_steps=np.tile([0.0, 1.3, 0.0], (7, 1)), u_steps=np.tile([0.0, 0.0, 0.9], (7, 1))),
    }


SCANS = scans()


@pytest.mark.parametrize("name", SCANS)
def test_rays_are_tigres(name):
    expected_sources, expected_pixels = our_rays(SCANS[name], VOLUME)
    sources, pixels = tigre_rays(*to_tigre(SCANS[name], VOLUME))
    np.testing.assert_allclose(sources, expected_sources, rtol=0, atol=1e-6)
    np.testing.assert_allclose(pixels, expected_pixels, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SCANS)
def test_round_trip(name):
    geometry, volume = from_tigre(*to_tigre(SCANS[name], VOLUME))
    assert (volume.shape, volume.voxel_size) == (VOLUME.shape, VOLUME.voxel_size)
    assert geometry.detector_shape == SHAPE
    for ours, expected in zip(our_rays(geometry, volume), our_rays(SCANS[name], VOLUME), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)


def test_a_circular_scan_reads_as_it_was_described():
    geo, angles = to_tigre(SCANS["half fan"], VOLUME)
    assert geo.mode == "cone"
    np.testing.assert_allclose(angles, ANGLES, atol=1e-12)
    np.testing.assert_allclose([geo.DSO, geo.DSD, geo.COR], [500.0, 800.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(geo.offDetector, OFFSET, atol=1e-9)
    np.testing.assert_array_equal(geo.offOrigin, VOLUME.center)
    np.testing.assert_array_equal(geo.rotDetector, np.zeros(3))
    np.testing.assert_array_equal(geo.nVoxel * geo.dVoxel, geo.sVoxel)
    np.testing.assert_array_equal(geo.nDetector * geo.dDetector, geo.sDetector)


def plain(**changes):
    """A geometry as TIGRE's first demo sets it, with whole numbers and nothing optional."""
    attributes = {
        "DSD": 1536,
        "DSO": 1000,
        "nDetector": np.array([4, 6]),
        "dDetector": np.array([0.8, 0.5]),
        "sDetector": np.array([3.2, 3.0]),
        "nVoxel": np.array([4, 5, 6]),
        "sVoxel": np.array([8, 5, 3]),
        "dVoxel": np.array([2, 1, 0.5]),
    }
    return SimpleNamespace(**(attributes | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mode": None, "DSO": np.array([1000.0]), "COR": 3, "offOrigin": np.array([1, -2, 3])},
        {"COR": np.linspace(-1, 1, 7), "DSD": np.linspace(1500, 1600, 7), "DSO": np.linspace(900, 1000, 7)},
        {"offOrigin": np.arange(21.0).reshape(7, 3), "offDetector": np.arange(14).reshape(7, 2), "COR": 2.0},
        {"rotDetector": np.array([0.1, -0.3, 0.2]), "offDetector": np.array([3, 4])},
        {"rotDetector": np.linspace(-0.3, 0.3, 21).reshape(7, 3), "COR": -5.0},
    ],
)
@pytest.mark.parametrize("euler", [False, True])
def test_rays_of_a_geometry_of_tigres(changes, euler):
    angles = np.stack([ANGLES, 0.3 * ANGLES, 1 - ANGLES], -1) if euler else ANGLES
    geo = plain(**changes)
    geometry, volume = from_tigre(geo, angles)
    for ours, expected in zip(our_rays(geometry, volume), tigre_rays(geo, angles), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)


def test_cor_stays_cor_and_a_fixed_image_its_place():
    geo = plain(COR=3.0, offOrigin=np.array([1.0, -2.0, 3.0]))
    geometry, volume = from_tigre(geo, ANGLES)
    assert volume.center == (1.0, -2.0, 3.0)
    again, _ = to_tigre(geometry, volume)
    assert pytest.approx(3.0) == again.COR
    np.testing.assert_allclose(again.offOrigin, geo.offOrigin, atol=1e-9)


def test_rounding_leaves_no_offset_of_a_centred_detector():
    """For TIGRE's FDK asks whether there is one at all."""
    angles = 0.3 + 2 * np.pi * np.arange(24) / 24
    geo, _ = to_tigre(ConeBeamGeometry.circular(800.0, 1200.0, SHAPE, PIXEL, angles), VOLUME)
    assert not np.any(geo.offDetector)
    assert geo.COR == 0


def test_tigres_own_object_where_it_is_installed(monkeypatch):
    class Geometry(SimpleNamespace):
        pass

    module = ModuleType("tigre")
    monkeypatch.setitem(sys.modules, "tigre", module)  # without `geometry`, as the package of this name on PyPI
    assert isinstance(to_tigre(SCANS["circular"], VOLUME)[0], SimpleNamespace)
    module.geometry = Geometry
    assert isinstance(to_tigre(SCANS["circular"], VOLUME)[0], Geometry)


class TestRefusals:
    def test_pixels_that_change_or_are_slanted(self):
        scan = SCANS["circular"]
        grown = replace(scan, u_steps=scan.u_steps * np.where(np.arange(7) == 4, 1.01, 1.0)[:, None])
        with pytest.raises(ValueError, match=r"view 4 has pixels \(v, u\) of 1.3 x 0.909 mm, expected 1.3 x 0.9 mm"):
            to_tigre(grown, VOLUME)
        slanted = replace(scan, v_steps=scan.v_steps + np.where(np.arange(7) == 2, 0.1, 0.0)[:, None] * scan.u_steps)
        with pytest.raises(ValueError, match=r"to_tigre: view 2 has rows and columns at 86\.\d+ degrees"):
            to_tigre(slanted, VOLUME)
        with pytest.raises(ValueError, match="view 3 has pixels of no extent"):
            to_tigre(replace(scan, v_steps=scan.v_steps * (np.arange(7) != 3)[:, None]), VOLUME)

    def test_source_on_the_axis(self):
        sources = SCANS["tilted"].sources * np.where(np.arange(7) == 5, 0.0, 1.0)[:, None]
        with pytest.raises(ValueError, match=r"view 5 has its source at .* off the axis"):
            to_tigre(replace(SCANS["tilted"], sources=sources), VOLUME)

    def test_parallel_beams(self):
        parallel = ParallelBeamGeometry.circular(SHAPE, PIXEL, ANGLES)
        with pytest.raises(TypeError, match="is ParallelBeamGeometry, expected ConeBeamGeometry"):
            to_tigre(parallel, VOLUME)
        with pytest.raises(ValueError, match="mode is 'parallel', expected 'cone'"):
            from_tigre(plain(mode="parallel"), ANGLES)

    def test_a_detector_before_the_axis(self):
        for wrong in ({"DSD": 700, "DSO": 800}, {"DSO": -1000}):
            with pytest.raises(ValueError, match="expected the detector beyond the axis, 0 < DSO < DSD"):
                from_tigre(plain(**wrong), ANGLES)

    def test_attributes_that_disagree(self):
        with pytest.raises(ValueError, match=r"nVoxel \* dVoxel is"):
            from_tigre(plain(sVoxel=np.array([8, 5, 4])), ANGLES)
        with pytest.raises(ValueError, match=r"offDetector has shape \(6, 2\) for 7 views, expected \(2,\) or"):
            from_tigre(plain(offDetector=np.zeros((6, 2))), ANGLES)
        with pytest.raises(ValueError, match=r"DSO has shape \(3,\) for 7 views, expected a number or \(views,\)"):
            from_tigre(plain(DSO=np.ones(3)), ANGLES)
        with pytest.raises(ValueError, match=r"angles have shape \(7, 2\)"):
            from_tigre(plain(), np.zeros((7, 2)))
        geo = plain()
        del geo.DSD
        with pytest.raises(ValueError, match="lacks DSD"):
            from_tigre(geo, ANGLES)
