"""Filtered back-projection against a ball whose projections are known exactly."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from scoreinv.baselines import fdk
from scoreinv.operators.cone_beam import ConeBeamCT, ParallelBeamCT
from scoreinv.operators.difference import FiniteDifference
from scoreinv.operators.geometry import ConeBeamGeometry, ParallelBeamGeometry, Volume

MU, RADIUS, CENTER = 0.02, 40.0, (3.0, -5.0, 4.0)  # 1/mm, mm, mm
VOLUME = Volume((28, 56, 56), (2.5, 2.2, 2.2), (2.0, 0.0, -3.0))
TURN = np.linspace(0, 2 * np.pi, 240, endpoint=False)
WIDE, NARROW = (48, 72), (48, 44)  # the second sees a little more than half of the ball
FAN = 2 * np.arctan(WIDE[1] * 3.0 / 2 / 1200)  # full fan angle, rad


def cone(angles: Any, shape: tuple[int, int] = WIDE, offset: tuple[float, float] = (0.0, 0.0)) -> ConeBeamCT:
    return ConeBeamCT(ConeBeamGeometry.circular(800, 1200, shape, (3.5, 3.0), angles, offset), VOLUME)


def parallel(angles: Any, shape: tuple[int, int] = WIDE, offset: tuple[float, float] = (0.0, 0.0)) -> ParallelBeamCT:
    return ParallelBeamCT(ParallelBeamGeometry.circular(shape, (2.5, 2.2), angles, offset), VOLUME)


def ball(operator: ConeBeamCT | ParallelBeamCT) -> Tensor:
    """Exact line integrals (views, v, u) of a ball of attenuation MU."""
    rays = operator.geometry.rays(VOLUME)
    i, j = np.arange(rays.shape[1])[:, None, None], np.arange(rays.shape[2])[None, :, None]
    views = []
    for view in range(rays.shape[0]):
        start = rays.start[view] + i * rays.start_v[view] + j * rays.start_u[view]
        way = rays.end[view] + i * rays.end_v[view] + j * rays.end_u[view] - start
        way /= np.linalg.norm(way, axis=-1, keepdims=True)
        apart = np.linalg.norm(np.cross(np.asarray(CENTER) - start, way), axis=-1)
        views.append(2 * MU * np.sqrt(np.clip(RADIUS**2 - apart**2, 0, None)))
    return torch.from_numpy(np.stack(views).astype(np.float32))


def distance_from_center() -> Tensor:
    """(z, y, x) distance of every voxel from the middle of the ball, mm."""
    axes = [
        first + size * np.arange(n) - c
        for first, size, n, c in zip(VOLUME.first_voxel, VOLUME.voxel_size, VOLUME.shape, CENTER, strict=True)
    ]
    return torch.from_numpy(np.sqrt(sum(part**2 for part in np.meshgrid(*axes, indexing="ij"))))


SCANS = {
    "full turn": lambda: cone(TURN),
    "full turn with both ends": lambda: cone(np.linspace(0, 2 * np.pi, 241)),
    "short scan": lambda: cone(1 + np.linspace(0, np.pi + FAN, 160)),
    "short scan backwards": lambda: cone(-np.linspace(0, np.pi + FAN, 160)),
    "more than a short scan": lambda: cone(np.linspace(0, 4.6, 200)),
    "uneven angles": lambda: cone(np.concatenate([np.linspace(0, 2, 160), np.linspace(2, 6.2, 160)[1:]])),
    "random angles": lambda: cone(np.random.default_rng(0).uniform(0, 2 * np.pi, 480)),
    "half fan": lambda: cone(TURN, NARROW, (0.0, 45.0)),
    "half fan, other side": lambda: cone(TURN, NARROW, (0.0, -45.0)),
    "a quarter of a pixel off": lambda: cone(TURN, WIDE, (2.0, 0.75)),
    "parallel, half a turn": lambda: parallel(np.linspace(0, np.pi, 160, endpoint=False)),
    "parallel, full turn": lambda: parallel(TURN),
    "parallel, displaced detector": lambda: parallel(TURN, NARROW, (0.0, 30.0)),
}


@pytest.mark.parametrize("scan", SCANS)
def test_ball_has_its_attenuation_inside_and_none_outside(scan: str) -> None:
    operator = SCANS[scan]()
    image = fdk(operator, ball(operator))
    r = distance_from_center()
    inside, outside = image[r < RADIUS - 6], image[r > RADIUS + 6]
    assert image.shape == operator.in_shape
    assert abs(float(inside.mean()) / MU - 1) < 0.005
    assert float((inside / MU - 1).abs().max()) < 0.03
    assert abs(float(outside.mean())) < 0.03 * MU


def test_every_filter_keeps_the_mean_and_smoother_ones_lower_the_noise() -> None:
    operator = cone(TURN[::4])
    noise = 0.01 * torch.randn(operator.out_shape, generator=torch.Generator().manual_seed(0))
    inside = distance_from_center() < RADIUS - 6
    spread = []
    for name in ("ramp", "shepp-logan", "hann"):
        assert float(fdk(operator, ball(operator), filter=name)[inside].mean()) == pytest.approx(MU, rel=0.01)
        spread.append(float(fdk(operator, noise, filter=name).std()))
    assert spread[0] > spread[1] > spread[2]


def test_calibrated_scan_equals_the_ideal_one_it_describes() -> None:
    ideal = cone(TURN[::8])
    g = ideal.geometry
    flipped = ConeBeamGeometry(g.sources, g.detector_centers, -g.v_steps, -g.u_steps, g.detector_shape)
    image = fdk(ideal, ball(ideal))
    assert torch.allclose(fdk(ConeBeamCT(flipped, VOLUME), ball(ideal).flip(1, 2)), image, atol=1e-6)


def test_a_view_twice_counts_once() -> None:
    once, twice = cone(TURN[::8]), cone(np.repeat(TURN[::8], 2))
    assert torch.allclose(fdk(once, ball(once)), fdk(twice, ball(twice)), atol=1e-6)


def test_other_scans_are_refused_in_one_line() -> None:
    helix = ConeBeamCT(ConeBeamGeometry.helical(800, 1200, WIDE, (3.5, 3.0), TURN, 120.0), VOLUME)
    g = cone(TURN).geometry
    turned = np.roll(np.eye(3), 1, 0)
    tilted = ConeBeamGeometry(
        g.sources, g.detector_centers, g.v_steps + 0.2 * g.u_steps, g.u_steps - 0.2 * g.v_steps, g.detector_shape
    )
    lying = ConeBeamGeometry(
        g.sources @ turned, g.detector_centers @ turned, g.v_steps @ turned, g.u_steps @ turned, g.detector_shape
    )
    for geometry, what in ((helix.geometry, "circular"), (tilted, "tilted"), (lying, "circular")):
        with pytest.raises(ValueError, match=rf"^fdk: .*{what}.*$"):
            fdk(ConeBeamCT(geometry, VOLUME), torch.zeros(geometry.shape))


def test_wrong_arguments_are_refused_in_one_line() -> None:
    operator = cone(TURN[::24])
    y = torch.zeros(operator.out_shape)
    with pytest.raises(TypeError, match=r"^fdk: .*expected ConeBeamCT or ParallelBeamCT.*$"):
        fdk(FiniteDifference((4, 4, 4)), torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match=r"^fdk: measurements have shape .*$"):
        fdk(operator, y[1:])
    with pytest.raises(TypeError, match=r"^ConeBeamCT: measurements is float64.*$"):
        fdk(operator, y.double())
    with pytest.raises(ValueError, match=r"^fdk: filter is 'cosine'.*$"):
        fdk(operator, y, filter="cosine")
