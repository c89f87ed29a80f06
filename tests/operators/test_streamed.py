"""Line integrals piece by piece. Here the pieces are computed on the CPU, which adds up the same."""

import pickle

import numpy as np
import pytest
import torch
from simulated_streams import Streams

from scoreinv import solve
from scoreinv.operators import (
    PET,
    TOF,
    ConeBeamCT,
    ConeBeamGeometry,
    LinesOfResponse,
    ParallelBeamCT,
    ParallelBeamGeometry,
    PETScanner,
    Rays,
    RayTransform,
    Sinogram,
    Volume,
)
from scoreinv.operators.line_transform import LineTransform
from scoreinv.operators.streamed import StreamedTransform
from scoreinv.priors import GaussianPrior

VOLUME = Volume((6, 12, 11), (2.1, 1.4, 2.2), center=(3.0, -2.0, 1.0))
ANGLES = np.array([0.3, 1.9, 3.6, 5.2, 6.0])
CONE = ConeBeamGeometry.circular(60, 90, (8, 12), (6.0, 3.0), ANGLES)
PARALLEL = ParallelBeamGeometry.circular((8, 12), (4.0, 2.0), ANGLES, (1.0, -2.0))
LINES = LinesOfResponse(PETScanner(60.0, 10, 4, 4.0, (-9.0, -2.0, 2.5, 9.0)), Sinogram(11, 2))
FAR = Rays.between(*np.random.default_rng(0).uniform(-20, 20, (2, 40, 3)))
PIECES = {"whole": 10_000, "some planes and views": 300, "single ones": 1}


def random(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 0.3


def of_rays(rays):
    whole = RayTransform(rays, VOLUME)
    return whole, lambda slab, i, n: RayTransform(rays, slab).subset(i, n), 0


def of_lines(tof=None):
    return LineTransform(LINES, VOLUME, tof), lambda slab, i, n: LineTransform(LINES.subset(i, n), slab, tof), 1


TRANSFORMS = {
    "cone": of_rays(CONE.rays(VOLUME)),
    "parallel": of_rays(PARALLEL.rays(VOLUME)),
    "arbitrary": of_rays(FAR),
    "pet": of_lines(),
    "pet, time of flight": of_lines(TOF(7, 25.0, 45.0)),
}
each = pytest.mark.parametrize("name", TRANSFORMS)


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    """One that is the CPU under another name."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("scoreinv.operators._devices._has_compiler", lambda: True)
    monkeypatch.setattr("scoreinv.operators.streamed.GPU", "cpu")
    Streams(monkeypatch)


def streamed(name, piece):
    whole, part, view_axis = TRANSFORMS[name]
    return StreamedTransform(part, VOLUME, whole.out_shape, view_axis, piece), whole


@each
@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES.keys())
def test_pieces_add_up_to_the_whole(name, piece):
    pieces, whole = streamed(name, piece)
    x, y = random((2, *VOLUME.shape)), random((2, *whole.out_shape), 1)
    for got, wanted in ((pieces(x), whole(x)), (pieces.adjoint(y), whole.adjoint(y))):
        assert wanted.count_nonzero()
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=2e-6 * float(wanted.abs().max()))


@each
def test_adjoint_identity(name):
    pieces, _ = streamed(name, 300)
    x, y = random(VOLUME.shape, 2), random(pieces.out_shape, 3)
    Ax, ATy = pieces(x).double(), pieces.adjoint(y).double()
    assert abs((Ax * y).sum() - (x * ATy).sum()) < 1e-6 * Ax.norm() * y.double().norm()


def test_no_piece_is_larger_than_asked_for():
    seen = []
    whole = RayTransform(CONE.rays(VOLUME), VOLUME)

    def part(slab, i, n):
        made = RayTransform(CONE.rays(VOLUME), slab).subset(i, n)
        seen.append((np.prod(made.in_shape), np.prod(made.out_shape)))
        return made

    pieces = StreamedTransform(part, VOLUME, whole.out_shape, piece=320)
    pieces(random(VOLUME.shape))
    pieces.adjoint(random(whole.out_shape))
    assert len(seen) == 6  # three slabs of two planes, two subsets of views, each made once
    assert np.max(seen) <= 320


def made(backend):
    yield ConeBeamCT(CONE, VOLUME, backend=backend)
    yield ParallelBeamCT(PARALLEL, VOLUME, backend=backend)
    pet = {"attenuation": 0.01 * random(VOLUME.shape).abs(), "sinogram": LINES.sinogram}
    for tof in (None, TOF(7, 25.0, 45.0)):
        yield PET(LINES.scanner, VOLUME, tof=tof, backend=backend, **pet)


def test_operators_stream_data_of_the_cpu():
    for operator, wanted in zip(made("streamed"), made("numba"), strict=True):
        assert operator.device.type == "cpu"
        for got, true in ((operator, wanted), (operator.subset(1, 2), wanted.subset(1, 2))):
            x, y = random(true.in_shape), random(true.out_shape)
            torch.testing.assert_close(got(x), true(x), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(got.adjoint(y), true.adjoint(y), rtol=1e-5, atol=1e-5)


def test_operators_go_to_other_processes():
    for operator in made("streamed"):
        x = random(operator.in_shape)
        assert torch.equal(pickle.loads(pickle.dumps(operator))(x), operator(x))


def test_solve_and_autograd_take_it_as_any_operator():
    operator, _, pet, _ = made("streamed")
    prior = GaussianPrior(torch.full(VOLUME.shape[1:], 0.02), torch.full(VOLUME.shape[1:], 1e-4))
    truth = 0.02 * random(VOLUME.shape).abs()
    result = solve(operator, operator(truth), prior, steps=3, samples=1, progress=False)
    assert torch.linalg.vector_norm(operator(result.mean) - operator(truth)) < 0.1 * operator(truth).norm()
    x = random(VOLUME.shape).requires_grad_()
    (pet(x) * pet(x).detach()).sum().backward()
    torch.testing.assert_close(x.grad, pet.normal(x.detach()))


def test_without_a_gpu_says_what_runs_here(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RuntimeError, match=r"backend 'streamed' needs an NVIDIA GPU.*'numba' runs on the CPU"):
        next(made("streamed"))
