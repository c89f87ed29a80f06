import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from scoreinv.operators import ConeBeamGeometry, ParallelBeamGeometry, Volume
from scoreinv.operators.cone_beam import ConeBeamCT, ParallelBeamCT

VOLUME = Volume((16, 30, 28), (2.5, 1.5, 1.8), center=(1.0, -2.0, 3.0))
ANGLES = np.linspace(0, 2 * np.pi, 9, endpoint=False) + 0.2


def cone(views=9, detector=(14, 50)):
    return ConeBeamCT(ConeBeamGeometry.circular(200, 300, detector, (5.0, 2.0), ANGLES[:views]), VOLUME)


def parallel(detector=(14, 50)):
    return ParallelBeamCT(ParallelBeamGeometry.circular(detector, (3.0, 1.5), ANGLES), VOLUME)


OPERATORS = {"cone": cone(), "parallel": parallel()}
both = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS.keys())


def random(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@both
def test_adjoint_identity(operator):
    x, y = random((2, *operator.in_shape), 1) - 0.5, random((2, *operator.out_shape), 2) - 0.5
    Ax, ATy = operator(x), operator.adjoint(y)
    difference = (Ax.double() * y.double()).sum() - (x.double() * ATy.double()).sum()
    assert difference.abs() / (Ax.norm() * y.norm()) < 1e-6


@both
def test_subset_equals_rows_of_the_whole(operator):
    x, y = random(operator.in_shape), random(operator.out_shape)
    parts = [operator.subset(i, 4) for i in range(4)]
    for i, part in enumerate(parts):
        assert type(part) is type(operator)
        assert torch.equal(part(x), operator(x)[i::4])
    total = sum(part.adjoint(y[i::4]) for i, part in enumerate(parts))
    torch.testing.assert_close(total, operator.adjoint(y), rtol=1e-5, atol=1e-4)


@both
def test_autograd_equals_adjoint(operator):
    x, y = random(operator.in_shape).requires_grad_(), random(operator.out_shape)
    (operator(x) * y).sum().backward()
    assert torch.equal(x.grad, operator.adjoint(y))


@both
def test_central_ray_through_a_constant_disc_equals_its_diameter(operator):
    geometry = type(operator.geometry)
    volume = Volume((5, 120, 120), (4.0, 1.0, 1.0))
    axis = torch.arange(120) - 59.5
    disc = ((axis[:, None] ** 2 + axis**2) <= 40.0**2).float().expand(5, 120, 120).contiguous()
    distances = (400, 600) if geometry is ConeBeamGeometry else ()
    scan = geometry.circular(*distances, (1, 1), (1.0, 1.0), np.linspace(0, np.pi, 12))
    lengths = type(operator)(scan, volume)(disc).flatten()
    torch.testing.assert_close(lengths, torch.full((12,), 80.0), rtol=0, atol=1.5)


def test_offset_blob_lands_where_the_geometry_projects_it():
    operator = cone(detector=(60, 90))
    volume = Volume((40, 40, 40), (1.5, 1.5, 1.5))
    geometry = ConeBeamGeometry.circular(200, 300, (60, 90), (2.0, 1.5), ANGLES, (4.0, -6.0))
    image = torch.zeros(volume.shape)
    image[26, 12, 9] = 1.0
    point = volume.first_voxel + np.array([26, 12, 9]) * 1.5
    views = type(operator)(geometry, volume)(image).double()
    i, j = torch.meshgrid(torch.arange(60.0), torch.arange(90.0), indexing="ij")
    mass = views.sum((1, 2))
    found = torch.stack([(views * i).sum((1, 2)) / mass, (views * j).sum((1, 2)) / mass], -1).numpy()
    np.testing.assert_allclose(found, geometry.project(point[None])[:, 0], atol=0.15)


def test_parallel_beam_equals_a_cone_from_far_away():
    far = 1e7
    x = random(VOLUME.shape)
    near = parallel()(x)
    scan = ConeBeamGeometry.circular(far, far + 100, (14, 50), (3.0, 1.5), ANGLES)
    torch.testing.assert_close(ConeBeamCT(scan, VOLUME)(x), near, rtol=1e-3, atol=1e-2)


def test_image_in_hounsfield_units_is_warned_of():
    operator = cone()
    with pytest.warns(UserWarning, match=r"mu = 0.02 \* \(1 \+ HU / 1000\)") as caught:
        operator(torch.full(operator.in_shape, -1000.0))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        operator(torch.full(operator.in_shape, 0.02))
        operator.forward(torch.full(operator.in_shape, -1000.0))


@both
def test_backends_are_named_in_the_error(operator):
    assert type(operator)(operator.geometry, VOLUME, backend="numba").backend == "numba"
    with pytest.raises(
        ValueError, match=r"backend is 'rtk', expected one of 'auto', 'numba', 'cuda', 'streamed', 'parallelproj'"
    ):
        type(operator)(operator.geometry, VOLUME, backend="rtk")


@both
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_backend_cuda_without_a_gpu_says_what_runs_here(operator):
    with pytest.raises(RuntimeError, match=r"Beam\w*: backend 'cuda' needs an NVIDIA GPU.*'numba' runs on the CPU"):
        type(operator)(operator.geometry, VOLUME, backend="cuda")


@both
def test_backend_cuda_without_its_compiler_says_how_to_get_it(operator, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("scoreinv.operators._devices._has_compiler", lambda: False)
    with pytest.raises(ImportError, match=r"data on cuda need numba-cuda: pip install 'scoreinv\[cuda\]'"):
        type(operator)(operator.geometry, VOLUME, backend="cuda")


@both
def test_data_are_of_the_dtype_and_on_the_device_of_the_backend(operator, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("scoreinv.operators._devices._has_compiler", lambda: True)
    on_gpu = type(operator)(operator.geometry, VOLUME, backend="cuda")
    assert on_gpu.subset(0, 2).device.type == "cuda"
    with pytest.raises(ValueError, match=r"image is on cpu, expected cuda; move it with .to\('cuda'\)"):
        on_gpu(torch.zeros(on_gpu.in_shape))
    with pytest.raises(TypeError, match=r"image is float64, expected float32"):
        on_gpu(torch.zeros(on_gpu.in_shape, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"data are on meta, expected cpu or cuda; move them with .to\('cpu'\)"):
        operator.forward(torch.zeros(operator.in_shape, device="meta"))


def test_wrong_number_of_views_asks_for_their_angles():
    operator = cone()
    with pytest.raises(ValueError, match=r"\(7, 14, 50\), expected \(\*batch, 9, 14, 50\).*angles of the 7 views"):
        operator.adjoint(torch.zeros(7, 14, 50))
    with pytest.raises(ValueError, match=r"axes are \(views, v, u\)"):
        operator.adjoint(torch.zeros(9, 50, 14))
    with pytest.raises(ValueError, match=r"image has shape \(16, 30\), .*axes are \(z, y, x\)"):
        operator(torch.zeros(16, 30))


@both
def test_detector_beside_the_volume_is_an_error(operator):
    geometry = type(operator.geometry)
    distances = (200, 300) if geometry is ConeBeamGeometry else ()
    aside = geometry.circular(*distances, (14, 50), (2.0, 2.0), ANGLES, (0.0, 400.0))
    with pytest.raises(ValueError, match="sees nothing of the volume in any view"):
        type(operator)(aside, VOLUME)
    far = Volume(VOLUME.shape, VOLUME.voxel_size, center=(500.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="sees nothing of the volume in any view"):
        type(operator)(operator.geometry, far)


@pytest.mark.slow
def test_agreement_with_rtk():
    itk = pytest.importorskip("itk")
    if not hasattr(itk, "RTK"):
        pytest.skip("needs itk-rtk")
    rtk = itk.RTK
    image_type = itk.Image[itk.F, 3]
    angles = np.arange(7) * 51.0 + 3.0  # away from ties of the driving axis
    scan = rtk.ThreeDCircularProjectionGeometry.New()
    for angle in angles:
        scan.AddProjection(400.0, 600.0, float(angle), 7.0, -5.0)  # the last two: detector offset along u and v
    shape, size = (40, 52, 60), (2.0, 1.7, 1.5)
    volume = Volume(shape, size, center=(1.0, -2.0, 3.0))
    detector, pixel = (48, 90), (3.0, 2.0)
    image = np.zeros(shape, np.float32)
    image[2:-2, 2:-2, 2:-2] = random((36, 48, 56)).numpy()  # at the border conventions differ

    def rtk_image(values, spacing, origin):
        result = itk.image_from_array(values)
        result.SetSpacing([float(value) for value in spacing[::-1]])
        result.SetOrigin([float(value) for value in origin[::-1]])
        return result

    first = (-(detector[0] - 1) / 2 * pixel[0], -(detector[1] - 1) / 2 * pixel[1])
    blank = rtk_image(np.zeros((7, *detector), np.float32), (1.0, *pixel), (0.0, *first))
    forward = rtk.JosephForwardProjectionImageFilter[image_type, image_type].New()
    forward.SetGeometry(scan)
    forward.SetInput(0, blank)
    forward.SetInput(1, rtk_image(image, size, volume.first_voxel))
    forward.Update()
    wanted = itk.array_from_image(forward.GetOutput())

    # RTK tells where it puts the source, and where a detector coordinate (u, v) in mm lies, in (x, y, z).
    sources, centers, v_steps, u_steps = [], [], [], []
    for view in range(7):
        to_world = itk.array_from_matrix(scan.GetProjectionCoordinatesToFixedSystemMatrix(view))
        sources.append(np.array(list(scan.GetSourcePosition(view)))[:3][::-1])
        centers.append((to_world @ [0, 0, 0, 1])[:3][::-1])
        v_steps.append(pixel[0] * to_world[:3, 1][::-1])
        u_steps.append(pixel[1] * to_world[:3, 0][::-1])
    operator = ConeBeamCT(ConeBeamGeometry(*map(np.array, (sources, centers, v_steps, u_steps)), detector), volume)
    got = operator(torch.from_numpy(image)).numpy()
    assert np.abs(got - wanted).max() / np.abs(wanted).max() < 1e-5


@pytest.mark.parametrize(
    "change",
    [
        lambda g: {"directions": 0.01 * g.directions},
        lambda g: {"u_steps": g.u_steps + 20 * g.directions},
        lambda g: {"v_steps": g.v_steps - 50 * g.directions, "directions": 3 * g.directions},
    ],
    ids=["short directions", "slanted along u", "slanted along v"],
)
def test_parallel_rays_cross_the_whole_volume_however_they_are_written(change):
    straight = ParallelBeamGeometry.circular((6, 40), (3.0, 3.0), np.linspace(0, 3, 7))
    volume = Volume((4, 20, 20), (4.0, 4.0, 4.0))
    x = random(volume.shape).abs()
    y = ParallelBeamCT(replace(straight, **change(straight)), volume)(x)
    torch.testing.assert_close(y, ParallelBeamCT(straight, volume)(x), atol=2e-4, rtol=1e-4)


def test_parallel_rays_need_a_direction():
    straight = ParallelBeamGeometry.circular((6, 40), (3.0, 3.0), np.linspace(0, 3, 7))
    with pytest.raises(ValueError, match="a vector of length 0"):
        replace(straight, directions=0 * straight.directions)
