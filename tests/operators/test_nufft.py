import math
import pickle
import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace

import finufft
import numpy as np
import pytest
import torch

from scoreinv.operators import NonCartesianMRI, Stack, _nufft, trajectories
from scoreinv.operators._nufft import CuFinufft, engine


def random(shape, seed=0):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def anywhere(shots, samples, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(shots, samples, d, generator=generator) - 1) * math.pi


def relative(got, wanted):
    return float(torch.linalg.vector_norm(got - wanted) / torch.linalg.vector_norm(wanted))


def dense(operator):
    """The matrix (coils * shots * samples, voxels) by definition, in double precision."""
    places = np.meshgrid(*[np.arange(n) - n // 2 for n in operator.in_shape], indexing="ij")
    places = np.stack([place.ravel() for place in places])
    points = operator.trajectory.double().numpy().reshape(-1, len(operator.in_shape))
    waves = np.exp(-1j * points @ places) / np.sqrt(places.shape[1])
    maps = np.ones((1, places.shape[1])) if operator.coil_maps is None else operator.coil_maps.flatten(1).numpy()
    return torch.from_numpy((waves * maps[:, None]).reshape(-1, places.shape[1]))


def dot_test(operator, batch=()):
    """|<Ax, y> - <x, A^H y>| / (||Ax|| ||y||), summed in float64."""
    x, y = random((*batch, *operator.in_shape), 1), random((*batch, *operator.out_shape), 2)
    Ax, AHy = (z.to(torch.complex128).flatten() for z in (operator(x), operator.adjoint(y)))
    x, y = (z.to(torch.complex128).flatten() for z in (x, y))
    return float((torch.vdot(y, Ax) - torch.vdot(AHy, x)).abs() / (Ax.norm() * y.norm()))


SCANS = {
    "2D, even": ((12, 10), 3),
    "2D, odd": ((11, 13), 2),
    "one coil": ((12, 9), None),
    "3D, even": ((6, 8, 10), 2),
    "3D, odd": ((5, 7, 9), 3),
    "a flat one": ((1, 8), 2),
}


def scan(name, backend):
    shape, coils = SCANS[name]
    maps = None if coils is None else random((coils, *shape), 5)
    return NonCartesianMRI(anywhere(7, 9, len(shape)), shape, maps, backend)


TOLERANCE = {"finufft": 1e-5, "torchkbnufft": 1e-3}  # the latter with its own, coarser tables
OPERATORS = {(name, "finufft"): scan(name, "finufft") for name in SCANS}
OPERATORS |= {(name, "torchkbnufft"): scan(name, "torchkbnufft") for name in ("2D, odd", "3D, even")}
every = pytest.mark.parametrize("operator", OPERATORS.values(), ids=map(", ".join, OPERATORS))


@pytest.fixture(autouse=True)
def quickly_made_tables(request, monkeypatch):
    if "slow" not in request.keywords:
        monkeypatch.setattr("scoreinv.operators._nufft._TABLE", 2**10)


@every
def test_forward_equals_the_sum_by_definition(operator):
    x = random((2, *operator.in_shape))
    wanted = (x.flatten(1).to(torch.complex128) @ dense(operator).mT).reshape(2, *operator.out_shape)
    assert relative(operator(x), wanted) < TOLERANCE[operator.backend]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["2D, odd", "3D, even"])
def test_torchkbnufft_is_accurate_with_its_full_tables(name):
    operator = scan(name, "torchkbnufft")
    x = random(operator.in_shape)
    wanted = (dense(operator) @ x.flatten().to(torch.complex128)).reshape(operator.out_shape)
    assert relative(operator(x), wanted) < 3e-5
    assert dot_test(operator) < 1e-6


@every
def test_adjoint_equals_the_sum_by_definition(operator):
    y = random((2, *operator.out_shape))
    wanted = (y.flatten(1).to(torch.complex128) @ dense(operator).conj()).reshape(2, *operator.in_shape)
    assert relative(operator.adjoint(y), wanted) < TOLERANCE[operator.backend]


@every
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_adjoint_identity(operator, batch):
    assert dot_test(operator, batch) < 1e-6


@every
@pytest.mark.parametrize("batch", [(), (2, 2)])
def test_normal_equals_adjoint_of_forward(operator, batch):
    x = random((*batch, *operator.in_shape))
    assert relative(operator.normal(x), operator.adjoint(operator(x))) < TOLERANCE[operator.backend]
    assert operator.normal(x).shape == x.shape


def test_normal_is_hermitian():
    operator = OPERATORS["3D, odd", "finufft"]
    u, v = random(operator.in_shape, 1), random(operator.in_shape, 2)
    left, right = (
        torch.vdot(u.flatten(), operator.normal(v).flatten()),
        torch.vdot(operator.normal(u).flatten(), v.flatten()),
    )
    assert abs(left - right) < 1e-6 * operator.norm() ** 2 * u.norm() * v.norm()


@every
def test_gradient_is_the_adjoint(operator):
    x, y = random(operator.in_shape).requires_grad_(), random(operator.out_shape, 1)
    (operator(x) - y).abs().square().sum().backward()
    assert relative(x.grad, 2 * operator.adjoint(operator(x.detach()) - y)) < 1e-6


@every
def test_operators_survive_pickling(operator):
    x = random(operator.in_shape)
    operator.normal(x)
    again = pickle.loads(pickle.dumps(operator))
    assert relative(again(x), operator(x)) < 1e-6
    assert torch.equal(again.normal(x), operator.normal(x))


@every
def test_subset_equals_shots_of_the_whole(operator):
    x, y = random(operator.in_shape), random(operator.out_shape)
    parts = [operator.subset(i, 3) for i in range(3)]
    for i, part in enumerate(parts):
        assert part.backend == operator.backend
        assert relative(part(x), operator(x)[:, i::3]) < 1e-5
    total = sum(part.adjoint(y[:, i::3]) for i, part in enumerate(parts))
    assert relative(total, operator.adjoint(y)) < 1e-5


@every
def test_batch_equals_its_items(operator):
    x = random((2, 3, *operator.in_shape))
    assert relative(operator(x)[1, 2], operator(x[1, 2])) < 1e-6
    assert relative(operator.normal(x)[1, 2], operator.normal(x[1, 2])) < 1e-6


def test_coils_in_pieces_give_the_same(monkeypatch):
    operator = OPERATORS["3D, odd", "finufft"]
    x, y = random((2, *operator.in_shape)), random((2, *operator.out_shape))
    whole = operator(x), operator.adjoint(y), operator.normal(x)
    monkeypatch.setattr("scoreinv.operators.mri.CHUNK", 1)
    for got, wanted in zip((operator(x), operator.adjoint(y), operator.normal(x)), whole, strict=True):
        assert relative(got, wanted) < 1e-6


def test_frames_with_their_own_trajectories_are_stacked():
    maps = random((2, 8, 9), 5)
    frames = [NonCartesianMRI(anywhere(3, 10, 2, seed), (8, 9), maps) for seed in range(3)]
    stack, x = Stack(frames), random((2, 3, 8, 9))
    assert stack.out_shape == (3, 2, 3, 10)
    assert dot_test(stack, (2,)) < 1e-6
    assert relative(stack(x)[1, 2], frames[2](x[1, 2])) < 1e-6
    assert relative(stack.normal(x), stack.adjoint(stack(x))) < 1e-5
    ragged = Stack([frames[0], NonCartesianMRI(anywhere(5, 10, 2), (8, 9), maps)])
    assert [part.shape for part in ragged.split(ragged(x[0, :2]))] == [(2, 3, 10), (2, 5, 10)]


def test_cartesian_positions_keep_the_norm():
    n = 10
    lines = 2 * math.pi / n * (torch.arange(n) - n // 2)
    grid = torch.stack(torch.meshgrid(lines, lines, indexing="ij"), -1)
    operator, x = NonCartesianMRI(grid, (n, n)), random((n, n))
    assert float(operator(x).norm()) == pytest.approx(float(x.norm()), rel=1e-5)
    assert relative(operator.adjoint(operator(x)), x) < 1e-5


def test_conjugate_and_strided_data_are_taken():
    operator = OPERATORS["2D, odd", "finufft"]
    y = random((2, *operator.out_shape))
    assert relative(operator.adjoint(y.conj()), operator.adjoint(y.conj().resolve_conj())) < 1e-6
    shown = y[:1].expand(2, *operator.out_shape)
    assert relative(operator.adjoint(shown), operator.adjoint(shown.contiguous())) < 1e-6


def test_threads_may_share_an_operator():
    operator = OPERATORS["2D, even", "finufft"]
    images = [random(operator.in_shape, seed) for seed in range(8)]
    found = [None] * 8

    def run(i):
        found[i] = operator(images[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for image, y in zip(images, found, strict=True):
        assert relative(y, operator(image)) < 1e-6


def test_auto_is_finufft_on_the_cpu(caplog):
    with caplog.at_level("DEBUG", "scoreinv"):
        NonCartesianMRI(anywhere(2, 3, 2), (4, 4))
    assert "cpu: finufft" in caplog.text


class Plan:
    """cufinufft's, which needs a GPU, by finufft's on the CPU."""

    def __init__(self, kind, shape, items, tolerance, sign, dtype, gpu_device_id, gpu_stream):
        self.plan = finufft.Plan(kind, shape, items, tolerance, sign, dtype)
        self.stream = gpu_stream

    def setpts(self, *points):
        self.plan.setpts(*(points_of_axis.numpy() for points_of_axis in points))

    def execute(self, values):
        assert values.dtype == torch.complex64
        assert self.stream == torch.cuda.current_stream(values.device).cuda_stream
        return torch.from_numpy(self.plan.execute(values.numpy()))


@pytest.mark.parametrize("name", ["2D, odd", "3D, even"])
def test_cufinufft_is_asked_for_the_same_sums(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "cufinufft", SimpleNamespace(Plan=Plan))
    monkeypatch.setattr("torch.cuda.current_stream", lambda device: SimpleNamespace(cuda_stream=7))
    operator = OPERATORS[name, "finufft"]
    theirs = CuFinufft(operator.trajectory.flatten(0, 1), operator.in_shape)
    ours = engine("finufft", theirs.points, theirs.image_shape)
    for items in (1, 3):
        x, y = random((items, *operator.in_shape)), random((items, len(theirs.points)), 1)
        assert relative(theirs.forward(x), ours.forward(x)) < 2e-5
        assert relative(theirs.adjoint(y), ours.adjoint(y)) < 2e-5
        Ax, AHy = theirs.forward(x).to(torch.complex128).flatten(), theirs.adjoint(y).to(torch.complex128).flatten()
        apart = torch.vdot(y.to(Ax).flatten(), Ax) - torch.vdot(AHy, x.to(AHy).flatten())
        assert abs(apart) < 1e-6 * Ax.norm() * y.norm()
    assert relative(pickle.loads(pickle.dumps(theirs)).forward(x), theirs.forward(x)) < 1e-6


def test_auto_is_cufinufft_on_a_gpu_where_it_is_installed(monkeypatch):
    for there, chosen in ((True, "cufinufft"), (False, "torchkbnufft")):
        monkeypatch.setattr(_nufft, "_has_cufinufft", lambda there=there: there)
        assert [_nufft._fastest(place) for place in ("cpu", "cuda", "mps")] == ["finufft", chosen, "torchkbnufft"]


@pytest.mark.skipif(shutil.which("bart") is None, reason="needs BART")
@pytest.mark.parametrize("shape", [(12, 10), (6, 8, 10)])
def test_agreement_with_the_exact_sums_of_bart(shape, tmp_path):
    d, A, x = len(shape), NonCartesianMRI(anywhere(7, 9, len(shape)), shape), random(shape)

    def write(name, values):
        dimensions = " ".join(map(str, [*values.shape, *[1] * (16 - values.ndim)]))
        (tmp_path / f"{name}.hdr").write_text(f"# Dimensions\n{dimensions}\n")
        values.astype(np.complex64).ravel(order="F").tofile(tmp_path / f"{name}.cfl")

    # BART: images (x, y, z); trajectories (3, samples, shots) in cycles per field of view, in the order x, y, z.
    k = A.trajectory.numpy() * np.array(shape) / (2 * np.pi)
    write("trajectory", np.concatenate([k[..., ::-1], np.zeros((7, 9, 3 - d))], -1).transpose(2, 1, 0))
    write("image", x.numpy().transpose())
    subprocess.run(["bart", "nufft", "-s", "trajectory", "image", "samples"], cwd=tmp_path, check=True)
    samples = np.fromfile(tmp_path / "samples.cfl", np.complex64).reshape(7, 9) / np.sqrt(x.numel())
    assert relative(torch.from_numpy(samples), A(x)[0]) < 1e-5


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "error", "says"),
        [
            (lambda t: 1.01 * t / t.abs().max() * math.pi, ValueError, r"up to 3\.17301, .*\[-pi, pi\]; multiply"),
            (lambda t: 300 * t, ValueError, "2 pi times the voxel size in m"),
            (lambda t: t * torch.nan, ValueError, "NaN or Inf"),
            (lambda t: t[0], ValueError, r"\(9, 2\), expected \(shots, samples, 2\)"),
            (lambda t: torch.cat([t, t], -1), ValueError, r"\(y, x\) in rad per voxel"),
            (lambda t: t[:0], ValueError, "expected"),
            (lambda t: t.to(torch.complex64), TypeError, "complex64, expected torch.float32"),
            (lambda t: t.long(), TypeError, "int64"),
        ],
    )
    def test_trajectories(self, change, error, says):
        with pytest.raises(error, match=says):
            NonCartesianMRI(change(anywhere(7, 9, 2)), (8, 8))

    def test_float32_pi_is_within_range(self):
        assert float(torch.tensor(math.pi, dtype=torch.float32)) > math.pi  # float32 rounds it up
        assert NonCartesianMRI(torch.full((1, 1, 2), math.pi), (8, 8)).out_shape == (1, 1, 1)

    def test_images_of_other_ranks(self):
        with pytest.raises(ValueError, match=r"image_shape is \(8,\), expected"):
            NonCartesianMRI(anywhere(2, 3, 1), (8,))

    def test_unknown_backend(self):
        with pytest.raises(ValueError, match="backend is 'gpunufft', expected one of 'auto', 'finufft'"):
            NonCartesianMRI(anywhere(2, 3, 2), (8, 8), backend="gpunufft")

    def test_finufft_elsewhere_than_on_the_cpu(self):
        with pytest.raises(ValueError, match="runs on the CPU, the trajectory is on meta"):
            engine("finufft", torch.zeros(3, 2, device="meta"), (8, 8))

    def test_cufinufft_elsewhere_than_on_a_gpu(self):
        with pytest.raises(
            ValueError, match="'cufinufft' runs on an NVIDIA GPU, the trajectory is on cpu; take 'auto'"
        ):
            NonCartesianMRI(anywhere(2, 3, 2), (8, 8), backend="cufinufft")

    @pytest.mark.parametrize("n", [8, 0])
    def test_subsets_that_are_none(self, n):
        with pytest.raises(ValueError, match=f"subset 0 of {n}; expected 0 <= i < n <= 7 shots"):
            OPERATORS["2D, even", "finufft"].subset(0, n)

    def test_coil_maps_of_another_size(self):
        with pytest.raises(ValueError, match=r"coil_maps have shape \(2, 7, 8\), expected \(coils, 8, 8\)"):
            NonCartesianMRI(anywhere(2, 3, 2), (8, 8), random((2, 7, 8)))

    def test_measurements_name_their_axes(self):
        with pytest.raises(ValueError, match=r"axes are \(coils, shots, samples\)"):
            OPERATORS["2D, even", "finufft"].adjoint(random((3, 9, 7)))


def test_trajectories_in_cycles_are_warned_of(caplog):
    cycles = trajectories.radial(8, 32) / (2 * math.pi)
    NonCartesianMRI(cycles, (16, 16))
    assert "goes up to 0.5" in caplog.text
    caplog.clear()
    NonCartesianMRI(2 * math.pi * cycles, (16, 16))
    assert not caplog.text
