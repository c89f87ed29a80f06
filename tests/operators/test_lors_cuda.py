"""The kernels for a GPU of PET's lines, against those of the CPU."""

import numpy as np
import pytest
import torch
from simulated_gpu import OnGPU, assert_same, compiled, needs_compiler, needs_gpu, run_in_simulator, starts_simulator

from scoreinv.operators import PET, ListModePET, PETScanner, Volume
from scoreinv.operators.line_transform import EventTransform, LineTransform
from scoreinv.operators.lines import LinesOfResponse
from scoreinv.operators.scanner import Sinogram
from scoreinv.operators.tof import TOF

SCANNER, SINOGRAM = PETScanner(40.0, 8, 2, 12.0, (-4.0, 0.0, 5.0)), Sinogram(7)
LINES = LinesOfResponse(SCANNER, SINOGRAM)
VOLUME = Volume((4, 9, 8), (3.1, 4.0, 5.2), (1.0, -2.0, 3.0))
RESOLUTION = TOF(5, 14.0, 18.0)
both = pytest.mark.parametrize("tof", [None, RESOLUTION], ids=["plain", "tof"])


def random(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 0.3


def bins_of(shape, count=200):
    generator = np.random.default_rng(0)
    return tuple(generator.integers(0, size, count) for size in shape)


def transforms(tof, volume=VOLUME):
    whole = LineTransform(LINES, volume, tof)
    return {"sinogram": whole, "events": EventTransform(LINES, volume, bins_of(whole.out_shape), tof)}


@starts_simulator
def test_all_of_this_in_the_simulator():
    run_in_simulator(__file__)


@needs_compiler
def test_kernels_compile_for_a_gpu():
    from numba import types

    from scoreinv.operators import _lors_cuda

    flat, three, whole = types.float32[::1], types.UniTuple(types.float64, 3), types.int64
    ends, z, table = types.float64[:, :, ::1], types.float64[:, ::1], types.float32[:, ::1]
    before = (types.boolean, flat, flat, whole, types.UniTuple(whole, 3), three, three, ends, z)
    after = (whole, types.float64, types.float64, table)
    assert compiled(_lors_cuda._sinogram, *before, *after).count(".global.add.f32") == 4
    assert compiled(_lors_cuda._events, *before, types.int64[::1], *after).count(".global.add.f32") == 4


@needs_gpu
@both
@pytest.mark.parametrize("kind", ["sinogram", "events"])
def test_values_are_those_of_the_cpu(kind, tof):
    transform = transforms(tof)[kind]
    x, y = random(transform.in_shape), random(transform.out_shape, 1)
    assert transform(x).count_nonzero()
    assert_same(OnGPU(transform)(x), transform(x))
    assert_same(OnGPU(transform).adjoint(y), transform.adjoint(y))


@needs_gpu
@both
@pytest.mark.parametrize("kind", ["sinogram", "events"])
def test_adjoint_identity(kind, tof):
    transform = transforms(tof)[kind]
    x, y = random(transform.in_shape, 2), random(transform.out_shape, 3)
    Ax, ATy = OnGPU(transform)(x).double(), OnGPU(transform).adjoint(y).double()
    limit = 1e-6 if tof is None else 1e-5
    assert abs((Ax * y).sum() - (x * ATy).sum()) < limit * Ax.norm() * y.double().norm()


@needs_gpu
@both
def test_lines_that_leave_the_volume_meet_zeros(tof):
    volume = Volume((2, 9, 8), (3.1, 4.0, 5.2), (8.0, 30.0, 0.0))
    for transform in transforms(tof, volume).values():
        x, y = random(transform.in_shape), random(transform.out_shape, 1)
        assert_same(OnGPU(transform)(x), transform(x))
        assert_same(OnGPU(transform).adjoint(y), transform.adjoint(y))


@needs_gpu
def test_crystals_within_the_volume_end_their_lines():
    volume = Volume((3, 12, 12), (4.0, 9.0, 9.0))
    transform = LineTransform(LINES, volume)
    x = random(volume.shape)
    assert_same(OnGPU(transform)(x), transform(x))


@needs_gpu
@both
def test_a_batch_is_its_images_one_by_one_however_many_a_launch_takes(tof, monkeypatch):
    from scoreinv.operators import _cuda

    monkeypatch.setattr(_cuda, "MOST", 2)
    monkeypatch.setattr("scoreinv.operators.line_transform.STACKED", 1)  # as the CPU, and so the simulator, does not
    volume = Volume((1, 6, 5), (3.0, 6.0, 6.0))
    for transform in transforms(tof, volume).values():
        x, y = random((1, 3, *volume.shape)), random((1, 3, *transform.out_shape), 1)
        Ax, ATy = OnGPU(transform)(x), OnGPU(transform).adjoint(y)
        for item in range(3):
            assert_same(Ax[0, item], transform(x[0, item]))
            assert_same(ATy[0, item], transform.adjoint(y[0, item]))


@needs_gpu
@both
def test_counts_of_pet_are_those_of_the_cpu(tof):
    mu = 0.01 * (random(VOLUME.shape, 4) > 0)
    operator = PET(SCANNER, VOLUME, mu, resolution_fwhm=6.0, tof=tof, sinogram=SINOGRAM)
    events = torch.from_numpy(np.stack(bins_of(operator.out_shape), -1))
    for whole in (operator, ListModePET(operator, events)):
        x, y = random(whole.in_shape, 5), random(whole.out_shape, 6)
        assert_same(OnGPU(whole)(x), whole(x))
        assert_same(OnGPU(whole).adjoint(y), whole.adjoint(y))
