import sys
import threading

import numpy as np
import pytest
import torch

from scoreinv.operators import ConeBeamGeometry, Rays, Volume
from scoreinv.operators.rays import RayTransform

VOLUMES = {
    "cube": Volume((24, 24, 24), (2.0, 2.0, 2.0)),
    "anisotropic": Volume((17, 30, 23), (3.1, 1.4, 2.2)),
    "off centre": Volume((20, 18, 25), (2.0, 2.5, 1.7), center=(11.0, -7.0, 4.0)),
    "one slice": Volume((1, 30, 26), (5.0, 1.5, 1.5)),
    "thin": Volume((2, 1, 40), (4.0, 3.0, 1.0)),
}


def projection_matrices(geometry):
    """(views, 3, 4), from (x, y, z, 1) to (u w, v w, w), slightly tilted."""
    matrices = []
    for source, center, v, u in zip(
        geometry.sources, geometry.detector_centers, geometry.v_steps, geometry.u_steps, strict=True
    ):
        tilt = np.eye(3) + 0.03 * np.array([[0, 1, -1], [-1, 0, 2], [1, -2, 0]])
        rows, columns = geometry.detector_shape
        first = center - (rows - 1) / 2 * v - (columns - 1) / 2 * u
        basis = np.stack([u @ tilt, v @ tilt, first - source])[:, ::-1].T
        inverse = np.linalg.inv(basis)
        matrices.append(np.concatenate([inverse, -inverse @ source[::-1, None]], axis=1))
    return np.stack(matrices)


def scans():
    angles = np.linspace(0, 2 * np.pi, 7, endpoint=False) + 0.1
    circular = ConeBeamGeometry.circular(150, 230, (12, 70), (6.0, 1.5), angles)
    return {
        "circular": circular,
        "half fan": ConeBeamGeometry.circular(150, 230, (10, 40), (6.0, 2.0), angles, (3.0, 25.0)),
        "helical": ConeBeamGeometry.helical(150, 230, (10, 40), (5.0, 2.5), 2 * angles, pitch=20.0),
        "calibrated": ConeBeamGeometry.from_projection_matrices(projection_matrices(circular), (12, 70), (6.0, 1.5)),
    }


def arbitrary_rays(count=600, seed=0, reach=50.0):
    """Segments in all directions, many of which miss the grid or begin or end within."""
    generator = np.random.default_rng(seed)
    return Rays.between(*generator.uniform(-reach, reach, (2, count, 3)))


RAYS = {name: scan.rays for name, scan in scans().items()} | {"arbitrary": lambda volume: arbitrary_rays()}


def random(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 0.3


def mismatch(operator, seed=0):
    x, y = random(operator.in_shape, seed), random(operator.out_shape, seed + 1)
    Ax, ATy = operator(x), operator.adjoint(y)
    left = (Ax.double() * y.double()).sum()
    right = (x.double() * ATy.double()).sum()
    return float((left - right).abs() / (Ax.double().norm() * y.double().norm()))


def joseph(image, start, end, volume):
    """Joseph's sum along one segment, slice by slice in float64, from its definition."""
    size, shape = np.asarray(volume.voxel_size), volume.shape
    first, last = (start - volume.first_voxel) / size, (end - volume.first_voxel) / size
    step = last - first
    k = int(np.argmax(np.abs(step)))
    a, b = [axis for axis in range(3) if axis != k]
    low, high = min(first[k], last[k]), max(first[k], last[k])
    total = 0.0
    for n in range(shape[k]):
        part = min(high, n + 0.5) - max(low, n - 0.5)
        if part <= 0:
            continue
        point = first + (n - first[k]) / step[k] * step
        for i in range(int(np.floor(point[a])), int(np.floor(point[a])) + 2):
            for j in range(int(np.floor(point[b])), int(np.floor(point[b])) + 2):
                if 0 <= i < shape[a] and 0 <= j < shape[b]:
                    index = {k: n, a: i, b: j}
                    weight = (1 - abs(point[a] - i)) * (1 - abs(point[b] - j))
                    total += part * weight * image[index[0], index[1], index[2]]
    return total * np.linalg.norm(end - start) / abs(step[k])


@pytest.mark.parametrize("volume", VOLUMES.values(), ids=VOLUMES.keys())
@pytest.mark.parametrize("rays", RAYS.values(), ids=RAYS.keys())
def test_adjoint_identity(rays, volume):
    assert mismatch(RayTransform(rays(volume), volume)) < 1e-6


@pytest.mark.parametrize("volume", VOLUMES.values(), ids=VOLUMES.keys())
def test_every_ray_equals_the_definition(volume):
    rays = arbitrary_rays(300, seed=3)
    image = random(volume.shape)
    got = RayTransform(rays, volume)(image).flatten().numpy()
    wanted = [joseph(image.double().numpy(), *ends, volume) for ends in zip(rays.start, rays.end, strict=True)]
    np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=2e-5)


def test_affine_rays_equal_the_same_rays_one_by_one():
    volume = VOLUMES["off centre"]
    for name, scan in scans().items():
        rays = scan.rays(volume)
        i, j = (index[None, ..., None] for index in np.indices(rays.shape[1:]))
        starts, ends = (
            base[:, None, None] + i * along_v[:, None, None] + j * along_u[:, None, None]
            for base, along_v, along_u in (
                (rays.start, rays.start_v, rays.start_u),
                (rays.end, rays.end_v, rays.end_u),
            )
        )
        single = RayTransform(Rays.between(starts.reshape(-1, 3), ends.reshape(-1, 3)), volume)
        image = random(volume.shape)
        together = RayTransform(rays, volume)(image)
        torch.testing.assert_close(single(image).reshape(rays.shape), together, rtol=1e-6, atol=1e-5, msg=name)


@pytest.mark.parametrize("axis", range(3))
def test_axis_aligned_ray_through_a_constant_box_equals_its_length(axis):
    volume = VOLUMES["anisotropic"]
    start = np.array([[1.0, -2.0, 3.0]] * 2)
    end = start.copy()
    start[:, axis], end[:, axis] = [-100.0, 10.3], [100.0, -3.2]
    got = RayTransform(Rays.between(start, end), volume)(torch.ones(volume.shape))
    whole = volume.shape[axis] * volume.voxel_size[axis]
    torch.testing.assert_close(got.flatten(), torch.tensor([whole, 13.5]), rtol=1e-6, atol=0)


def test_pieces_of_a_segment_add_up():
    volume = VOLUMES["off centre"]
    rays = arbitrary_rays(500, seed=5)
    image = random(volume.shape)
    cut = rays.start + np.random.default_rng(0).uniform(0, 1, (500, 1)) * (rays.end - rays.start)
    whole, first, second = (
        RayTransform(Rays.between(*ends), volume)(image)
        for ends in ((rays.start, rays.end), (rays.start, cut), (cut, rays.end))
    )
    torch.testing.assert_close(first + second, whole, rtol=1e-5, atol=2e-5)


def test_reversed_ray_has_the_same_integral():
    volume = VOLUMES["anisotropic"]
    rays = arbitrary_rays(400, seed=6)
    image = random(volume.shape)
    there, back = (
        RayTransform(Rays.between(*ends), volume)(image) for ends in ((rays.start, rays.end), (rays.end, rays.start))
    )
    torch.testing.assert_close(there, back, rtol=1e-6, atol=1e-5)


def test_rays_that_miss_or_have_no_length_give_zero():
    volume = VOLUMES["cube"]
    start = [[0.0, 100.0, -50.0], [-90.0, 0.0, 0.0], [3.0, 1.0, 2.0], [25.1, 0.0, -60.0]]
    end = [[0.0, 100.0, 50.0], [-30.0, 5.0, 5.0], [3.0, 1.0, 2.0], [25.1, 0.0, 60.0]]
    operator = RayTransform(Rays.between(start, end), volume)
    assert torch.count_nonzero(operator(torch.ones(volume.shape))) == 0
    assert torch.count_nonzero(operator.adjoint(torch.ones(operator.out_shape))) == 0


def smooth_ball(voxels, radius=40.0):
    """(1 - r^2 / R^2)^2 within R; along a line at distance s it integrates to 16/15 (R^2 - s^2)^(5/2) / R^4."""
    volume = Volume((voxels,) * 3, (100 / voxels,) * 3)
    axis = torch.from_numpy(volume.first_voxel[0] + np.arange(voxels) * volume.voxel_size[0])
    squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    return volume, ((1 - squared / radius**2).clamp(min=0) ** 2).float()


def test_integrals_of_a_smooth_ball_converge_with_the_square_of_the_voxel():
    generator = np.random.default_rng(1)
    starts, ends = generator.normal(size=(2, 2000, 3))
    starts, ends = (150 * points / np.linalg.norm(points, axis=1, keepdims=True) for points in (starts, ends))
    direction = (ends - starts) / np.linalg.norm(ends - starts, axis=1, keepdims=True)
    squared = 40.0**2 - (np.linalg.norm(np.cross(starts, direction), axis=1)) ** 2
    exact = 16 / 15 * np.clip(squared, 0, None) ** 2.5 / 40.0**4
    errors = []
    for voxels in (25, 50, 100):
        volume, ball = smooth_ball(voxels)
        got = RayTransform(Rays.between(starts, ends), volume)(ball).flatten().double().numpy()
        errors.append(np.sqrt(np.mean((got - exact) ** 2)))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all((orders > 1.85) & (orders < 2.25)), orders
    assert errors[-1] < 5e-4 * exact.max()


def test_linearity():
    volume = VOLUMES["off centre"]
    operator = RayTransform(scans()["circular"].rays(volume), volume)
    x, y = random(volume.shape, 1), random(volume.shape, 2)
    torch.testing.assert_close(operator(2 * x - 3 * y), 2 * operator(x) - 3 * operator(y), rtol=1e-5, atol=1e-4)


def test_batch_equals_items_one_by_one():
    volume = VOLUMES["anisotropic"]
    operator = RayTransform(scans()["helical"].rays(volume), volume)
    x, y = random((2, 3, *operator.in_shape)), random((2, 3, *operator.out_shape))
    Ax, ATy = operator(x), operator.adjoint(y)
    for item in np.ndindex(2, 3):
        assert torch.equal(Ax[item], operator(x[item]))
        assert torch.equal(ATy[item], operator.adjoint(y[item]))
    assert operator(x[:0]).shape == (0, 3, *operator.out_shape)


def test_non_contiguous_image_equals_its_copy():
    volume = VOLUMES["cube"]
    operator = RayTransform(scans()["circular"].rays(volume), volume)
    x = random(volume.shape).permute(2, 0, 1)
    assert torch.equal(operator(x), operator(x.contiguous()))


def test_views_together_equal_views_one_by_one():
    volume = VOLUMES["anisotropic"]
    operator = RayTransform(scans()["half fan"].rays(volume), volume)
    x = random(operator.in_shape)
    views = operator.out_shape[0]
    alone = torch.cat([operator.subset(i, views)(x) for i in range(views)])
    assert torch.equal(alone, operator(x))


def test_same_bits_for_any_number_of_threads():
    volume = Volume((40, 50, 70), (1.5, 1.2, 1.0))
    before = torch.get_num_threads()
    for rays in (scans()["circular"].rays(volume), arbitrary_rays(3000)):
        operator = RayTransform(rays, volume)
        x, y = random(operator.in_shape), random(operator.out_shape)
        results = []
        try:
            for threads in (1, 2, 3, 8):
                torch.set_num_threads(threads)
                results.append((operator(x), operator.adjoint(y)))
        finally:
            torch.set_num_threads(before)
        for result in results[1:]:
            assert torch.equal(result[0], results[0][0])
            assert torch.equal(result[1], results[0][1])


def test_concurrent_calls_do_not_disturb_each_other():
    volume = VOLUMES["cube"]
    operator = RayTransform(arbitrary_rays(2000), volume)
    images = [random(volume.shape, seed) for seed in range(6)]
    wanted = [operator(x) for x in images]
    got = [None] * len(images)

    def work(item):
        got[item] = operator(images[item])

    threads = [threading.Thread(target=work, args=(item,)) for item in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


def test_autograd_equals_adjoint():
    volume = VOLUMES["off centre"]
    operator = RayTransform(scans()["circular"].rays(volume), volume)
    x, y = random(operator.in_shape).requires_grad_(), random(operator.out_shape)
    (operator(x) * y).sum().backward()
    assert torch.equal(x.grad, operator.adjoint(y))
    y = y.requires_grad_()
    (operator.adjoint(y) * x.detach()).sum().backward()
    assert torch.equal(y.grad, operator(x.detach()))


def test_compiled_code_is_loaded_only_when_used():
    import subprocess

    code = "import sys, scoreinv.operators.rays; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_errors_say_what_was_expected():
    volume = VOLUMES["cube"]
    with pytest.raises(ValueError, match=r"start of the rays has shape \(3, 3\), expected \(4, 3\)"):
        RayTransform(Rays((4, 1, 1), *[np.zeros((3, 3))] * 6), volume)
    with pytest.raises(ValueError, match="end of the rays holds NaN"):
        RayTransform(Rays.between(np.zeros((2, 3)), np.full((2, 3), np.nan)), volume)
    operator = RayTransform(arbitrary_rays(5), volume)
    with pytest.raises(ValueError, match=r"subset 5 of 6; expected 0 <= i < n <= 5"):
        operator.subset(5, 6)
    with pytest.raises(ValueError, match="expected cpu"):
        operator(torch.zeros(volume.shape, device="meta"))
    with pytest.raises(TypeError, match="float64, expected float32"):
        operator(torch.zeros(volume.shape, dtype=torch.float64))


def test_where_it_computes_is_logged_once(caplog):
    from scoreinv.operators import _devices

    _devices._say.cache_clear()
    volume = Volume((2, 3, 4), (1.0, 1.0, 1.0))
    transform = RayTransform(Rays.between([[0.0, 0.0, -9.0]], [[0.0, 0.0, 9.0]]), volume)
    with caplog.at_level("DEBUG", "scoreinv"):
        for _ in range(2):
            transform(torch.ones(volume.shape))
    assert [record.message for record in caplog.records] == ["RayTransform: numba's kernels on cpu"]
