import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from scoreinv.operators import (
    ConeBeamCT,
    ConeBeamGeometry,
    ParallelBeamCT,
    ParallelBeamGeometry,
    Rays,
    RayTransform,
    Volume,
    _parallelproj,
)

VOLUME = Volume((7, 20, 18), (3.0, 2.0, 2.4), center=(1.0, -3.0, 2.0))
ANGLES = np.linspace(0, 2 * np.pi, 8, endpoint=False) + 0.1
SCANS = {
    "cone": (ConeBeamCT, ConeBeamGeometry.circular(200, 300, (6, 24), (5.0, 3.0), ANGLES)),
    "parallel": (ParallelBeamCT, ParallelBeamGeometry.circular((6, 24), (3.5, 2.0), ANGLES)),
}
# What parallelproj 2.0.8 gave for `interior()`: np.savez(path, **{beam: operator(beam)(interior()) for beam in SCANS})
GOLDEN = np.load(Path(__file__).parent / "parallelproj_golden.npz")
beams = pytest.mark.parametrize("beam", SCANS)


class StandIn:
    """parallelproj_core by our own rays, so that what we make of it is tested where it is absent."""

    cuda_enabled = 0

    @staticmethod
    def joseph3d_fwd(starts, ends, image, first, size, data, device_id):
        data.copy_(StandIn._rays(starts, ends, image, first, size).forward(image).reshape(data.shape))

    @staticmethod
    def joseph3d_back(starts, ends, image, first, size, data, device_id):
        image += StandIn._rays(starts, ends, image, first, size).adjoint(data.reshape(-1, 1, 1))

    @staticmethod
    def _rays(starts, ends, image, first, size):
        for array in (starts, ends, image, first, size):
            assert array.dtype == torch.float32
            assert array.is_contiguous()
            assert not array.requires_grad
        center = first.double() + (torch.tensor(image.shape) - 1) / 2 * size.double()
        return RayTransform(Rays.between(starts.reshape(-1, 3), ends.reshape(-1, 3)), Volume(image.shape, size, center))


@pytest.fixture(params=["stand-in", "parallelproj"])
def core(request, monkeypatch):
    if request.param == "parallelproj":
        return pytest.importorskip("parallelproj_core")
    monkeypatch.setitem(sys.modules, "parallelproj_core", StandIn)
    return StandIn


def operator(beam, backend="parallelproj", volume=VOLUME):
    kind, geometry = SCANS[beam]
    return kind(geometry, volume, backend)


def random(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def interior():
    """An image that is 0 at the border, where conventions differ."""
    return torch.nn.functional.pad(random([n - 2 for n in VOLUME.shape], 11), (1,) * 6)


def alike(beam):
    """Rays (views, v, u) whose driving axis is the same, and no tie, in mm and in voxels."""
    starts, ends = SCANS[beam][1].rays(VOLUME).segments(slice(None))
    lengths = np.abs(ends - starts)
    axes = [
        (steps * (1, 1, factor)).argmax(-1)
        for steps in (lengths, lengths / VOLUME.voxel_size)
        for factor in (0.99, 1.01)  # x against the other two
    ]
    return torch.from_numpy(np.ptp(axes, axis=0) == 0)


@beams
def test_values_of_parallelproj_are_met(beam):
    wanted, same = torch.from_numpy(GOLDEN[beam]), alike(beam)
    assert same.float().mean() > 0.7
    got = operator(beam, "numba")(interior())
    torch.testing.assert_close(got[same], wanted[same], rtol=0, atol=1e-5 * float(wanted.max()))


@beams
def test_values_that_are_kept_are_those_of_parallelproj(beam):
    pytest.importorskip("parallelproj_core")
    wanted = torch.from_numpy(GOLDEN[beam])
    torch.testing.assert_close(operator(beam)(interior()), wanted, rtol=0, atol=1e-5 * float(wanted.max()))


@beams
@pytest.mark.parametrize("at_a_time", [1, 450, 1 << 20], ids=["a view", "three views", "all"])
def test_both_directions_follow_the_rays_however_many_at_a_time(beam, at_a_time, core, monkeypatch):
    monkeypatch.setattr(_parallelproj, "_LINES", at_a_time)
    ours, theirs, same = operator(beam, "numba"), operator(beam), alike(beam)
    wanted = ours(interior())
    torch.testing.assert_close(theirs(interior())[same], wanted[same], rtol=0, atol=1e-5 * float(wanted.max()))
    data = torch.where(same, random(ours.out_shape, 3), 0.0)
    inner = (slice(1, -1),) * 3
    wanted = ours.adjoint(data)[inner]
    torch.testing.assert_close(theirs.adjoint(data)[inner], wanted, rtol=0, atol=1e-4 * float(wanted.max()))


@beams
def test_adjoint_identity(beam, core):
    A = operator(beam)
    x, y = random((2, *A.in_shape), 1) - 0.5, random((2, *A.out_shape), 2) - 0.5
    Ax, ATy = A(x), A.adjoint(y)
    difference = (Ax.double() * y.double()).sum() - (x.double() * ATy.double()).sum()
    assert difference.abs() / (Ax.norm() * y.norm()) < 1e-6


@beams
def test_items_of_a_batch_are_computed_each_by_itself(beam, core):
    A = operator(beam)
    x, y = random((2, 3, *A.in_shape)), random((2, 3, *A.out_shape))
    one = {"rtol": 1e-6, "atol": 1e-5}
    torch.testing.assert_close(A(x)[1, 2], A(x[1, 2]), **one)
    torch.testing.assert_close(A.adjoint(y)[1, 2], A.adjoint(y[1, 2]), rtol=1e-5, atol=1e-4)
    turned = x.transpose(0, 1)  # not contiguous
    torch.testing.assert_close(A(turned), A(x).transpose(0, 1), **one)


@beams
def test_subset_keeps_the_backend_and_equals_rows_of_the_whole(beam, core):
    A = operator(beam)
    x = random(A.in_shape)
    for i in range(3):
        part = A.subset(i, 3)
        assert part.backend == "parallelproj"
        torch.testing.assert_close(part(x), A(x)[i::3], rtol=1e-6, atol=1e-5)


@beams
def test_autograd_equals_adjoint(beam, core):
    A = operator(beam)
    x, y = random(A.in_shape).requires_grad_(), random(A.out_shape).requires_grad_()
    (A(x) * y).sum().backward()
    torch.testing.assert_close(x.grad, A.adjoint(y).detach(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(y.grad, A(x).detach(), rtol=1e-6, atol=1e-5)


@beams
def test_double_precision_is_refused(beam, core):
    with pytest.raises(TypeError, match=r"Beam\w+: image is float64, expected float32"):
        operator(beam)(torch.zeros(VOLUME.shape, dtype=torch.float64))


@pytest.mark.parametrize(("enabled", "says"), [(0, "expected cpu, all that this parallelproj"), (1, "cpu or cuda;")])
def test_devices_that_parallelproj_is_not_built_for_are_refused(enabled, says, monkeypatch):
    monkeypatch.setitem(sys.modules, "parallelproj_core", StandIn)
    monkeypatch.setattr(StandIn, "cuda_enabled", enabled)
    A = operator("cone")
    for call, shape in ((A.forward, A.in_shape), (A.adjoint, A.out_shape)):
        with pytest.raises(ValueError, match=rf"ConeBeamCT: data are on meta, .*{says}.*move them with .to\('cpu'\)"):
            call(torch.zeros(shape, device="meta"))


@beams
def test_missing_parallelproj_says_how_to_get_it(beam, monkeypatch):
    monkeypatch.setitem(sys.modules, "parallelproj_core", None)
    with pytest.raises(ImportError, match=r"Beam\w+: .* needs parallelproj 2: conda install -c conda-forge"):
        operator(beam)
