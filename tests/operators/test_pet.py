import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from scoreinv.operators import (
    PET,
    TOF,
    LinesOfResponse,
    ListModePET,
    PETScanner,
    Rays,
    RayTransform,
    Sinogram,
    Volume,
)
from scoreinv.operators.blur import GaussianBlur
from scoreinv.operators.line_transform import LineTransform

SCANNER = PETScanner(150.0, 20, 4, 10.0, (-9.0, -2.0, 2.5, 9.0))
VOLUME = Volume((7, 20, 18), (3.0, 8.0, 8.5), center=(1.0, -3.0, 2.0))
SINOGRAM = Sinogram(31, 2)
RESOLUTION = TOF(11, 25.0, 45.0)
GOLDEN = np.load(Path(__file__).parent / "pet_golden.npz")
needs_parallelproj = pytest.mark.skipif(
    importlib.util.find_spec("parallelproj_core") is None, reason="needs parallelproj 2 (conda-forge)"
)


def random(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def full(tof=None, **options):
    return PET(
        SCANNER,
        VOLUME,
        attenuation=0.01 * random(VOLUME.shape, 5),
        normalisation=random((31, 1, 1), 6),
        resolution_fwhm=(4.0, 9.0, 7.0),
        tof=tof,
        sinogram=SINOGRAM,
        **options,
    )


both = pytest.mark.parametrize("tof", [None, RESOLUTION], ids=["no tof", "tof"])


def dot_test(operator):
    x, y = random((2, *operator.in_shape), 1) - 0.5, random((2, *operator.out_shape), 2) - 0.5
    Ax, ATy = operator(x), operator.adjoint(y)
    difference = (Ax.double() * y.double()).sum() - (x.double() * ATy.double()).sum()
    return float(difference.abs() / (Ax.norm() * y.norm()))


def bins_of(shape):
    return torch.stack([torch.from_numpy(index.ravel()) for index in np.indices(shape)], -1)


@both
def test_adjoint_identity(tof):
    assert dot_test(full(tof)) < (1e-6 if tof is None else 1e-5)


@both
def test_results_do_not_depend_on_the_number_of_threads(tof):
    operator = full(tof)
    x, y = random(operator.in_shape), random(operator.out_shape)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append((operator(x), operator.adjoint(y)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_line_integrals_are_those_of_the_ray_transform():
    lines = LinesOfResponse(SCANNER, SINOGRAM)
    starts, ends = lines.points(*np.indices(lines.shape).reshape(3, -1))
    x, y = random(VOLUME.shape), random(lines.shape, 1)
    rays = RayTransform(Rays.between(starts, ends), VOLUME)
    transform = LineTransform(lines, VOLUME)
    torch.testing.assert_close(transform(x), rays(x).reshape(lines.shape), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(transform.adjoint(y), rays.adjoint(y.reshape(-1, 1, 1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tof", [None, TOF(5, 40.0, 60.0)], ids=["plain", "tof"])
@pytest.mark.parametrize("offset", [0.0, 30.0])  # mm of the volume along z, whose lines leave it
def test_a_batch_is_its_images_one_by_one(tof, offset):
    volume = Volume((2, 16, 16), (4.0, 8.0, 8.0), (offset, 0.0, 0.0))
    transform = LineTransform(LinesOfResponse(SCANNER, SINOGRAM), volume, tof)
    x, y = random((2, 3, *volume.shape)), random((2, 3, *transform.out_shape), 1)
    single = [[transform(image) for image in row] for row in x]
    torch.testing.assert_close(transform(x), torch.stack([torch.stack(row) for row in single]), rtol=1e-6, atol=1e-5)
    back = [[transform.adjoint(data) for data in row] for row in y]
    torch.testing.assert_close(
        transform.adjoint(y), torch.stack([torch.stack(row) for row in back]), rtol=1e-5, atol=1e-5
    )


def test_crystals_within_the_volume_end_their_lines():
    scanner = PETScanner(60.0, 12, 4, 6.0, (0.0, 3.0))
    lines = LinesOfResponse(scanner, Sinogram(31))
    starts, ends = lines.points(*np.indices(lines.shape).reshape(3, -1))
    x = random(VOLUME.shape)
    rays = RayTransform(Rays.between(starts, ends), VOLUME)(x).reshape(lines.shape)
    torch.testing.assert_close(LineTransform(lines, VOLUME)(x), rays, rtol=1e-5, atol=1e-4)


def cylinder(radius):
    volume = Volume((3, 100, 100), (20.0, 2.0, 2.0))
    axis = (torch.arange(100) - 49.5) * 2
    return volume, ((axis[:, None] ** 2 + axis**2) <= radius**2).float().expand(3, 100, 100).contiguous()


def test_central_lines_through_a_uniform_cylinder_are_its_diameter():
    volume, image = cylinder(80.0)
    y = PET(SCANNER, volume, sinogram=Sinogram(1, 0))(image)
    torch.testing.assert_close(y, torch.full_like(y, 160.0), rtol=0, atol=2.5)


def test_attenuation_of_a_uniform_cylinder_is_the_exponential_of_its_diameter():
    volume, image = cylinder(80.0)
    plain, attenuated = (PET(SCANNER, volume, mu, sinogram=Sinogram(1, 0)) for mu in (None, 0.0096 * image))
    ratio = attenuated(image) / plain(image)
    torch.testing.assert_close(ratio, torch.full_like(ratio, np.exp(-0.0096 * 160)), rtol=0.03, atol=0)
    torch.testing.assert_close(attenuated.factors, torch.exp(-0.0096 * plain(image)))


def test_single_voxel_on_a_line_gives_the_length_within_it():
    scanner = PETScanner(100.0, 4, 3, 20.0, (0.0,))
    volume = Volume((1, 9, 9), (5.0, 4.0, 4.0))
    image = torch.zeros(volume.shape)
    image[0, 4, 4] = 2.0
    y = PET(scanner, volume, sinogram=Sinogram(1))(image)
    assert float(y[0, 1, 0]) == pytest.approx(2 * 4.0)  # view 1 is vertical


@pytest.mark.parametrize("width", [12.0, 45.0])
def test_tof_bins_add_up_to_the_projection_without(width):
    image = random(VOLUME.shape)
    plain = PET(SCANNER, VOLUME, sinogram=SINOGRAM)(image)
    binned = PET(SCANNER, VOLUME, tof=TOF(2 * int(200 / width) + 1, width, 45.0), sinogram=SINOGRAM)(image)
    torch.testing.assert_close(binned.sum(-1), plain, rtol=1e-5, atol=1e-4)


def test_tof_places_a_point_where_it_is():
    scanner = PETScanner(100.0, 4, 3, 20.0, (0.0,))
    volume = Volume((1, 41, 41), (5.0, 4.0, 4.0))
    image = torch.zeros(volume.shape)
    image[0, 30, 20] = 1.0  # 40 mm from the middle, towards +y: the second crystal of view 1
    profile = PET(scanner, volume, tof=TOF(31, 5.0, 20.0), sinogram=Sinogram(1))(image)[0, 1, 0].double()
    positions = (torch.arange(31) - 15) * 5.0
    mean = (profile * positions).sum() / profile.sum()
    deviation = ((profile * (positions - mean) ** 2).sum() / profile.sum()).sqrt()
    assert float(mean) == pytest.approx(40.0, abs=0.1)
    # Bins of 5 mm widen a Gaussian of 20 / 2.355 = 8.5 mm to 8.6; cut at 3 sigma, it loses 1 %.
    assert float(deviation) == pytest.approx(8.6, abs=0.15)


@both
def test_subsets_partition_the_whole(tof):
    operator = full(tof)
    x, y = random(operator.in_shape), random(operator.out_shape)
    parts = [operator.subset(i, 3) for i in range(3)]
    for i, part in enumerate(parts):
        torch.testing.assert_close(part(x), operator(x)[:, i::3], rtol=1e-6, atol=0)
    total = sum(part.adjoint(operator.measured_by(i, 3, y)) for i, part in enumerate(parts))
    assert torch.equal((2.0 * operator).measured_by(1, 3, y[None]), y[None, :, 1::3])
    torch.testing.assert_close(total, operator.adjoint(y), rtol=1e-5, atol=1e-5)


@both
def test_other_efficiencies_take_no_line_integrals_of_the_mu_map_again(tof, monkeypatch):
    operator, efficiencies = full(tof), random((31, 1, 14), 9)
    options = {"attenuation": operator.attenuation, "resolution_fwhm": (4.0, 9.0, 7.0), "tof": tof}
    wanted = PET(SCANNER, VOLUME, normalisation=efficiencies, sinogram=SINOGRAM, **options).factors
    assert not torch.equal(operator.factors, wanted)
    monkeypatch.setattr(LineTransform, "forward", None)
    other = operator.normalised(efficiencies)
    assert torch.equal(other.factors, wanted)
    assert torch.equal(other.subset(1, 3).normalised(efficiencies).factors, wanted[:, 1::3])
    with pytest.raises(ValueError, match="normalisation is 0 everywhere"):
        operator.normalised(0 * efficiencies)


def test_factors_are_moved_to_a_device_once():
    operator, elsewhere = full(), torch.empty(LinesOfResponse(SCANNER, SINOGRAM).shape, device="meta")
    assert operator._scaled(elsewhere).device == elsewhere.device
    moved = operator._factors_on[elsewhere.device]
    operator._scaled(elsewhere)
    part = operator.subset(1, 3)
    assert part._scaled(elsewhere[:, 1::3]).shape == part.out_shape
    assert operator._factors_on[elsewhere.device] is moved
    assert part._factors_on[elsewhere.device]._base is moved  # a part of it, not another copy


@both
def test_list_mode_equals_the_histogram_of_its_events(tof):
    operator = full(tof)
    bins = bins_of(operator.out_shape)
    events = bins[torch.randint(len(bins), (4000,), generator=torch.Generator().manual_seed(0))]
    at = tuple(events.unbind(1))
    x = random(operator.in_shape)
    listed = ListModePET(operator, events.short())
    torch.testing.assert_close(listed(x), operator(x)[at], rtol=1e-5, atol=1e-5)
    counts = torch.zeros(operator.out_shape).index_put(at, torch.ones(len(events)), accumulate=True)
    torch.testing.assert_close(listed.adjoint(torch.ones(4000)), operator.adjoint(counts), rtol=1e-5, atol=1e-5)
    assert dot_test(listed) < (1e-6 if tof is None else 1e-5)


@both
def test_sensitivity_is_the_adjoint_of_ones_in_any_number_of_pieces(tof, monkeypatch):
    operator = full(tof)
    wanted = operator.adjoint(torch.ones(operator.out_shape))
    monkeypatch.setattr("scoreinv.operators.pet._ELEMENTS", 5000)
    torch.testing.assert_close(operator.sensitivity(), wanted, rtol=1e-5, atol=1e-5)
    listed = ListModePET(operator, torch.zeros(10, len(operator.out_shape), dtype=torch.int64))
    torch.testing.assert_close(listed.subset(0, 5).sensitivity() * 5, wanted, rtol=1e-5, atol=1e-5)


def test_events_keep_the_sensitivity_of_all_lines_in_sums_and_products():
    operator = full()
    listed, blur = ListModePET(operator, torch.tensor([[1, 2, 3]])), GaussianBlur(VOLUME, 5.0)
    whole = operator.sensitivity()
    for made, wanted in (
        (listed, whole),
        (0.5 * listed, 0.5 * whole),
        (listed + listed, 2 * whole),
        (listed @ blur, blur.adjoint(whole)),
    ):
        torch.testing.assert_close(made.sensitivity(), wanted)
        assert made.counts


def test_a_span_adds_up_the_planes_it_joins():
    volume, image = cylinder(80.0)
    volume = Volume((9, 100, 100), (4.0, 2.0, 2.0))
    image = image[:1].expand(9, 100, 100).contiguous()
    scanner = PETScanner(150.0, 20, 4, 10.0, (-4.0, 0.0, 4.0))
    single = PET(scanner, volume, sinogram=Sinogram(11, 1))
    joined = PET(scanner, volume, sinogram=Sinogram(11, 1, 3))
    assert single(image).sum() == pytest.approx(float(joined(image).sum()), rel=1e-3)
    assert joined.lines.multiplicity.tolist() == [1, 2, 1, 2, 1]


def test_autograd_equals_adjoint():
    operator = full()
    x, y = random(operator.in_shape).requires_grad_(), random(operator.out_shape)
    (operator(x) * y).sum().backward()
    assert torch.equal(x.grad, operator.adjoint(y))


def golden():
    """The lines whose values by parallelproj 2 are kept: some of SCANNER's away from 45 degrees, interior image."""
    image = torch.zeros(VOLUME.shape)
    image[1:-1, 3:-3, 3:-3] = random((5, 14, 12), 11)
    views = [view for view in range(0, 40, 3) if min(abs(view - 10), abs(view - 30)) > 1]
    radial, view, plane = (
        index.ravel() for index in np.meshgrid(range(2, 31, 4), views, range(0, 14, 3), indexing="ij")
    )
    return image, torch.from_numpy(np.stack([radial, view, plane], -1))


def test_values_of_parallelproj_are_met():
    image, bins = golden()
    at = tuple(bins.unbind(1))
    plain = PET(SCANNER, VOLUME, sinogram=SINOGRAM)(image)[at]
    binned = PET(SCANNER, VOLUME, tof=RESOLUTION, sinogram=SINOGRAM)(image)[at]
    assert np.abs(plain.numpy() - GOLDEN["plain"]).max() < 1e-5 * GOLDEN["plain"].max()
    assert np.abs(binned.numpy() - GOLDEN["tof"]).max() < 1e-4 * GOLDEN["tof"].max()


@needs_parallelproj
@both
def test_backend_parallelproj_agrees(tof):
    image, bins = golden()
    ours, theirs = (
        PET(SCANNER, VOLUME, tof=tof, backend=name, sinogram=SINOGRAM) for name in ("numba", "parallelproj")
    )
    views = sorted(set(bins[:, 1].tolist()))
    y = theirs(image)
    torch.testing.assert_close(ours(image)[:, views], y[:, views], rtol=0, atol=1e-4 * float(y.max()))
    data = torch.zeros(ours.out_shape)
    data[:, views] = random(data[:, views].shape)
    inside = (slice(1, -1), slice(3, -3), slice(3, -3))  # at the border conventions differ
    wanted = theirs.adjoint(data)[inside]
    torch.testing.assert_close(ours.adjoint(data)[inside], wanted, rtol=0, atol=1e-4 * float(wanted.max()))
    assert dot_test(theirs) < (1e-6 if tof is None else 1e-5)


def test_a_grid_beyond_the_ring_is_warned_of():
    with pytest.warns(UserWarning, match="the grid is 500 mm wide, the ring 300 mm; nothing is seen outside of it"):
        PET(SCANNER, Volume((2, 10, 20), (3.0, 20.0, 25.0)))


def test_backends_are_named_in_the_error():
    with pytest.raises(
        ValueError, match="backend is 'tigre', expected one of 'auto', 'numba', 'cuda', 'streamed', 'parallelproj'"
    ):
        full(backend="tigre")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_backend_cuda_without_a_gpu_says_what_runs_here():
    with pytest.raises(RuntimeError, match=r"PET: backend 'cuda' needs an NVIDIA GPU.*'numba' runs on the CPU"):
        full(backend="cuda")


def test_data_on_a_device_without_kernels_are_refused():
    events = torch.zeros(3, 3, dtype=torch.int64)
    for operator in (full(), ListModePET(full(), events)):
        with pytest.raises(ValueError, match=r"data are on meta, expected cpu or cuda; move them with .to\('cpu'\)"):
            operator.forward(torch.zeros(VOLUME.shape, device="meta"))


@pytest.mark.skipif(importlib.util.find_spec("parallelproj_core") is not None, reason="parallelproj is there")
def test_missing_parallelproj_says_how_to_get_it():
    with pytest.raises(ImportError, match="conda install -c conda-forge parallelproj"):
        full(backend="parallelproj")


def faint_air(mu):
    """A small body of this attenuation in air that is not quite 0."""
    attenuation = torch.full(VOLUME.shape, 1e-4)
    attenuation[:, 5:8, 5:8] = mu
    return attenuation


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attenuation": torch.full(VOLUME.shape, 0.096)}, "divide a mu-map in 1/cm by 10"),
        ({"attenuation": faint_air(0.096)}, "divide a mu-map in 1/cm by 10"),
        ({"attenuation": -torch.ones(VOLUME.shape)}, "attenuation holds negative"),
        ({"attenuation": torch.ones(31, 40, 14)}, "factors of lines go into normalisation"),
        ({"normalisation": torch.ones(14, 40, 31)}, "broadcasts to"),
        ({"normalisation": torch.full((31, 1, 1), float("nan"))}, "normalisation holds"),
        ({"normalisation": torch.zeros(31, 1, 1)}, "normalisation is 0 everywhere"),
        ({"resolution_fwhm": -1.0}, "widths >= 0"),
        ({"resolution_fwhm": (1.0, 2.0)}, "one or three"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PET(SCANNER, VOLUME, sinogram=SINOGRAM, **options)


def test_events_outside_the_sinogram_are_refused():
    operator = full()
    with pytest.raises(ValueError, match="column 2 of events runs from 14 to 14, expected 0 to 13"):
        ListModePET(operator, torch.tensor([[0, 0, 14]]))
    with pytest.raises(TypeError, match="expected whole numbers"):
        ListModePET(operator, torch.zeros(3, 3))
    assert ListModePET(operator, torch.zeros(0, 3, dtype=torch.int16)).adjoint(torch.zeros(0)).sum() == 0


def test_events_in_an_array_are_no_tensor():
    with pytest.raises(TypeError, match=r"ListModePET: events are ndarray, expected a tensor; use torch.from_numpy"):
        ListModePET(full(), np.zeros((3, 3), np.int64))


@pytest.mark.parametrize(
    ("tof", "message"),
    [
        (lambda: TOF(13, 312.0, 400.0), r"fwhm is 400 mm, 2669 ps; .* 1 ps is 0.15 mm: TOF.from_times"),
        (lambda: TOF(33, 143.0, 214.0), r"cover 4719 mm of a scanner 300 mm wide, .* 1 ps is 0.15 mm"),
        (lambda: TOF.from_times(13, 9.0, 60.0), r"cover 17.54 mm of a scanner 300 mm wide, .* 1 ps is 0.15 mm"),
    ],
)
def test_times_taken_for_lengths_are_noticed(tof, message):
    with pytest.raises(ValueError, match=message):
        full(tof())


def test_a_resolution_alone_makes_no_time_of_flight():
    with pytest.raises(TypeError, match=r"tof is 400.0, expected a TOF .* in ps TOF.from_times\("):
        full(400.0)


@pytest.mark.parametrize("what", ["attenuation", "normalisation"])
def test_arrays_are_no_tensors(what):
    with pytest.raises(TypeError, match=f"{what} is ndarray, expected a tensor; use torch.from_numpy"):
        PET(SCANNER, VOLUME, sinogram=SINOGRAM, **{what: np.ones(VOLUME.shape, np.float32)})
