import math

import numpy as np
import pytest
import torch

from scoreinv.operators import ConeBeamGeometry, ParallelBeamGeometry, Rays, Volume

ANGLES = np.linspace(0, 2 * math.pi, 7, endpoint=False)


def circular(**changes):
    settings = {
        "source_to_isocenter": 800.0,
        "source_to_detector": 1200.0,
        "detector_shape": (20, 30),
        "pixel_size": (2.0, 1.5),
        "angles": ANGLES,
    }
    return ConeBeamGeometry.circular(**settings | changes)


def matrices(geometry):
    """(views, 3, 4) from (x, y, z, 1) to (u w, v w, w), the independent way: pinhole camera matrices."""
    rows, columns = geometry.detector_shape
    out = []
    for k in range(geometry.views):
        corner = geometry.detector_centers[k] - (rows - 1) / 2 * geometry.v_steps[k]
        corner = corner - (columns - 1) / 2 * geometry.u_steps[k]
        camera = np.stack([geometry.u_steps[k], geometry.v_steps[k], corner - geometry.sources[k]], -1)[::-1]
        inverse = np.linalg.inv(camera)
        out.append(np.c_[inverse, -inverse @ geometry.sources[k][::-1]])
    return np.array(out)


def test_circle_is_as_documented():
    geometry = circular(detector_offset=(3.0, 4.0))
    for t, source, center, u, v in zip(
        ANGLES, geometry.sources, geometry.detector_centers, geometry.u_steps, geometry.v_steps, strict=True
    ):
        outward = np.array([0, math.sin(t), math.cos(t)])
        along_u = np.array([0, math.cos(t), -math.sin(t)])
        np.testing.assert_allclose(source, 800 * outward, atol=1e-9)
        np.testing.assert_allclose(center, -400 * outward + 4 * along_u + [3, 0, 0], atol=1e-9)
        np.testing.assert_allclose(u, 1.5 * along_u, atol=1e-12)
        np.testing.assert_allclose(v, [2, 0, 0], atol=1e-12)


def test_isocenter_is_seen_in_the_middle_and_magnified():
    geometry = circular()
    np.testing.assert_allclose(geometry.project([[0, 0, 0]]), np.broadcast_to([9.5, 14.5], (7, 1, 2)), atol=1e-9)
    up = geometry.project([[10.0, 0, 0]])[:, 0]
    np.testing.assert_allclose(up[:, 0], 9.5 + 10 * 1.5 / 2)


def test_points_behind_the_source_are_not_seen():
    assert np.isnan(circular(angles=[0.0]).project([[0, 0, 900.0]])).all()


def test_projection_matrices_give_back_the_geometry():
    geometry = circular(detector_offset=(3.0, 4.0))
    for factor in (1.0, -3.0):  # a projection matrix is known up to a factor
        again = ConeBeamGeometry.from_projection_matrices(factor * matrices(geometry), (20, 30), (2.0, 1.5))
        for name in ("sources", "detector_centers", "v_steps", "u_steps"):
            np.testing.assert_allclose(getattr(again, name), getattr(geometry, name), atol=1e-6)


def test_helix_rises_by_its_pitch_each_turn():
    geometry = ConeBeamGeometry.helical(800, 1200, (20, 30), (2, 1.5), np.linspace(0, 4 * math.pi, 9), pitch=30)
    heights = geometry.sources[:, 0]
    assert heights[-1] - heights[0] == pytest.approx(60)
    assert heights.mean() == pytest.approx(0)
    np.testing.assert_allclose(geometry.detector_centers[:, 0], heights)


def test_parallel_rays_follow_their_direction_through_their_pixel():
    geometry = ParallelBeamGeometry.circular((3, 4), (2.0, 1.0), ANGLES, (0.0, 5.0))
    rays = geometry.rays(Volume((4, 4, 4), (10, 10, 10)))
    assert rays.shape == (7, 3, 4)
    along = rays.end - rays.start
    np.testing.assert_allclose(along / np.linalg.norm(along, axis=1, keepdims=True), geometry.directions, atol=1e-12)
    middle = rays.start + along / 2 + 1.0 * rays.start_v + 1.5 * rays.start_u
    np.testing.assert_allclose(middle, geometry.detector_centers, atol=1e-9)


def test_cone_rays_run_from_source_to_pixel():
    geometry = circular()
    rays = geometry.rays(Volume((4, 4, 4), (10, 10, 10)))
    np.testing.assert_array_equal(rays.start, geometry.sources)
    last = rays.end + 19 * rays.end_v + 29 * rays.end_u
    np.testing.assert_allclose((rays.end + last) / 2, geometry.detector_centers, atol=1e-9)


def test_segments_are_the_ends_of_the_rays_of_some_views():
    rays = ParallelBeamGeometry.circular((3, 4), (2.0, 1.0), ANGLES, (0.0, 5.0)).rays(Volume((4, 4, 4), (10, 10, 10)))
    starts, ends = rays.segments(slice(2, 5))
    assert starts.shape == ends.shape == (3, 3, 4, 3)
    np.testing.assert_allclose(starts[1, 2, 3], rays.start[3] + 2 * rays.start_v[3] + 3 * rays.start_u[3], atol=1e-12)
    np.testing.assert_allclose(ends[2, 1, 0], rays.end[4] + rays.end_v[4], atol=1e-12)


def test_subset_takes_every_nth_view():
    part = circular().subset(1, 3)
    np.testing.assert_array_equal(part.sources, circular().sources[1::3])
    assert part.shape == (2, 20, 30)


def test_arrays_are_read_only_copies():
    angles = ANGLES.copy()
    geometry = circular(angles=angles)
    angles[:] = 0
    assert geometry.sources[1, 1] != 0
    with pytest.raises(ValueError, match="read-only"):
        geometry.sources[0] = 0


def test_volume_knows_its_voxels_and_corners():
    volume = Volume((4, 6, 8), (2, 1, 0.5), (10, 0, -3))
    np.testing.assert_allclose(volume.first_voxel, [7, -2.5, -4.75])
    np.testing.assert_allclose(volume.corners.min(0), [6, -3, -5])
    np.testing.assert_allclose(volume.corners.max(0), [14, 3, -1])
    assert Volume(torch.Size((4, 6, 8)), np.array([2, 1, 0.5])).shape == (4, 6, 8)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Volume((4, 6), (1, 1, 1)), "Volume: shape"),
        (lambda: Volume((4, 6, 0), (1, 1, 1)), "Volume: shape"),
        (lambda: Volume((4, 6, 8), (1, -1, 1)), "Volume: voxel_size"),
        (lambda: Volume((4, 6, 8), (1, 1, 1), (0, math.nan, 0)), "Volume: center"),
        (lambda: circular(source_to_isocenter=1300.0), "expected 0 < source_to_isocenter < source_to_detector"),
        (lambda: circular(angles=[[0.0]]), "angles have shape"),
        (lambda: circular(angles=[math.inf]), "angles"),
        (lambda: circular(pixel_size=(0, 1)), "pixel_size"),
        (lambda: circular(detector_shape=(0, 3)), "detector_shape"),
        (lambda: circular().subset(3, 3), "expected 0 <= i < n"),
        (lambda: ConeBeamGeometry.from_projection_matrices(np.zeros((2, 3, 3)), (2, 2), (1, 1)), "projection matrices"),
        (lambda: ConeBeamGeometry.from_projection_matrices(np.zeros((2, 3, 4)), (2, 2), (1, 1)), "no finite source"),
        (lambda: Rays.between(np.zeros((2, 3)), np.zeros((3, 3))), "must both be"),
    ],
)
def test_refusals_are_one_line(build, says):
    with pytest.raises(ValueError, match=says) as raised:
        build()
    assert "\n" not in str(raised.value)
