"""The ray transform's kernels for a GPU, against those of the CPU."""

import numpy as np
import pytest
import torch
from simulated_gpu import (
    OnGPU,
    assert_same,
    compiled,
    needs_compiler,
    needs_gpu,
    run_in_simulator,
    starts_simulator,
)

from scoreinv.operators import ConeBeamGeometry, ParallelBeamGeometry, Rays, Volume
from scoreinv.operators.rays import RayTransform

ANGLES = np.array([0.3, 1.9, 3.6, 5.2])
VOLUMES = {
    "anisotropic": Volume((7, 12, 9), (3.1, 1.4, 2.2)),
    "off centre": Volume((8, 7, 10), (2.0, 2.5, 1.7), center=(5.0, -3.0, 2.0)),
    "one slice": Volume((1, 10, 11), (5.0, 1.5, 1.5)),
}


def arbitrary(count=140, seed=0):
    """Segments in all directions, many of which miss the grid or begin or end within."""
    return Rays.between(*np.random.default_rng(seed).uniform(-20, 20, (2, count, 3)))


SCANS = {
    "cone": ConeBeamGeometry.circular(60, 90, (3, 12), (6.0, 3.0), ANGLES).rays,
    "half fan": ConeBeamGeometry.circular(60, 90, (3, 12), (6.0, 2.0), ANGLES, (3.0, 8.0)).rays,
    "helical": ConeBeamGeometry.helical(60, 90, (3, 12), (5.0, 3.0), 2 * ANGLES, pitch=8.0).rays,
    "parallel": ParallelBeamGeometry.circular((3, 12), (4.0, 2.0), ANGLES, (1.0, -2.0)).rays,
    "arbitrary": lambda volume: arbitrary(),
}


def random(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 0.3


@starts_simulator
def test_all_of_this_in_the_simulator():
    run_in_simulator(__file__)


@needs_compiler
def test_kernel_compiles_for_a_gpu():
    from numba import types

    from scoreinv.operators import _joseph_cuda

    flat, three = types.float32[::1], types.UniTuple(types.float64, 3)
    shape, detector = types.UniTuple(types.int64, 3), types.UniTuple(types.int64, 2)
    arguments = (types.boolean, flat, flat, types.int64, shape, three, three, detector, types.float64[:, :, ::1])
    assert compiled(_joseph_cuda._march, *arguments).count(".global.add.f32") == 4


@needs_gpu
@pytest.mark.parametrize("volume", VOLUMES.values(), ids=VOLUMES.keys())
@pytest.mark.parametrize("rays", SCANS.values(), ids=SCANS.keys())
def test_values_are_those_of_the_cpu(rays, volume):
    transform = RayTransform(rays(volume), volume)
    x, y = random(transform.in_shape), random(transform.out_shape, 1)
    assert transform(x).count_nonzero()
    assert_same(OnGPU(transform)(x), transform(x))
    assert_same(OnGPU(transform).adjoint(y), transform.adjoint(y))


@needs_gpu
@pytest.mark.parametrize("rays", SCANS.values(), ids=SCANS.keys())
def test_adjoint_identity(rays):
    volume = VOLUMES["off centre"]
    transform = RayTransform(rays(volume), volume)
    x, y = random(transform.in_shape, 2), random(transform.out_shape, 3)
    Ax, ATy = OnGPU(transform)(x).double(), OnGPU(transform).adjoint(y).double()
    assert abs((Ax * y).sum() - (x * ATy).sum()) < 1e-6 * Ax.norm() * y.double().norm()


@needs_gpu
def test_parallel_rays_at_45_degrees_have_the_driving_axis_of_the_cpu():
    volume = Volume((2, 12, 12), (2.0, 1.3, 1.3))
    angles = np.pi / 4 + np.arange(4) * np.pi / 2
    scan = ParallelBeamGeometry.circular((2, 12), (1.1, 0.77), angles, (0.3, 0.1))
    transform = RayTransform(scan.rays(volume), volume)
    x = random(volume.shape)
    assert_same(OnGPU(transform)(x), transform(x))


@needs_gpu
def test_a_batch_is_its_images_one_by_one_however_many_a_launch_takes(monkeypatch):
    from scoreinv.operators import _cuda

    monkeypatch.setattr(_cuda, "MOST", 2)
    volume = VOLUMES["anisotropic"]
    transform = RayTransform(SCANS["cone"](volume), volume)
    x, y = random((1, 3, *transform.in_shape)), random((1, 3, *transform.out_shape), 1)
    Ax, ATy = OnGPU(transform)(x), OnGPU(transform).adjoint(y)
    for item in np.ndindex(1, 3):
        assert_same(Ax[item], transform(x[item]))
        assert_same(ATy[item], transform.adjoint(y[item]))
    assert OnGPU(transform)(x[:0]).shape == (0, 3, *transform.out_shape)


@needs_gpu
def test_non_contiguous_data_equal_their_copy():
    volume = Volume((6, 6, 6), (2.0, 2.0, 2.0))
    transform = RayTransform(arbitrary(40), volume)
    x, y = random(volume.shape).permute(2, 0, 1), random((*transform.out_shape, 2))[..., 0]
    assert_same(OnGPU(transform)(x), transform(x))
    assert_same(OnGPU(transform).adjoint(y), transform.adjoint(y))


@needs_gpu
def test_views_together_equal_views_one_by_one():
    volume = VOLUMES["anisotropic"]
    transform = RayTransform(SCANS["half fan"](volume), volume)
    x = random(volume.shape)
    alone = torch.cat([OnGPU(transform.subset(i, 4))(x) for i in range(4)])
    assert_same(alone, OnGPU(transform)(x))


@needs_gpu
def test_rays_that_miss_or_have_no_length_give_zero():
    volume = Volume((6, 6, 6), (2.0, 2.0, 2.0))
    start = [[0.0, 100.0, -50.0], [-90.0, 0.0, 0.0], [3.0, 1.0, 2.0], [7.1, 0.0, -60.0]]
    end = [[0.0, 100.0, 50.0], [-30.0, 5.0, 5.0], [3.0, 1.0, 2.0], [7.1, 0.0, 60.0]]
    transform = RayTransform(Rays.between(start, end), volume)
    assert torch.count_nonzero(OnGPU(transform)(torch.ones(volume.shape))) == 0
    assert torch.count_nonzero(OnGPU(transform).adjoint(torch.ones(transform.out_shape))) == 0


@needs_gpu
def test_gradient_is_the_adjoint():
    volume = VOLUMES["one slice"]
    transform = RayTransform(SCANS["parallel"](volume), volume)
    y = random(transform.out_shape, 1)

    def gradient(x):
        x.requires_grad_()
        (transform(x) * y.to(x.device)).sum().backward()
        return x.grad

    assert_same(OnGPU.there(gradient, random(volume.shape)), transform.adjoint(y))
