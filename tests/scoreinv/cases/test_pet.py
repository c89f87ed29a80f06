import numpy as np
import pytest
import torch

from scoreinv.baselines import osem
from scoreinv.cases import load_case
from scoreinv.cases.pet import contamination, scanner_around
from scoreinv.config import PETSettings, resolve
from scoreinv.io import Image, siemens, write_image
from scoreinv.operators import PET, ListModePET, Volume
from scoreinv.operators.line_transform import LineTransform

SIZE = (8.0, 6.0, 6.0)
EXACT = {"max_ring_difference": 1, "resolution_fwhm": None}


def relative(got, wanted):
    return float((got - wanted).norm() / wanted.norm())


def case(**sections):
    return load_case(resolve(PETSettings, {"modality": "pet"} | sections))


@pytest.fixture
def patient(tmp_path):
    """An ellipse of activity with a hot spot, 1000 and 4000 Bq/mL, and its file."""
    z, y, x = torch.meshgrid(torch.arange(4.0) - 1.5, torch.arange(32.0) - 16, torch.arange(32.0) - 16, indexing="ij")
    activity = 1000.0 * ((y / 9) ** 2 + (x / 12) ** 2 + 0 * z < 1)
    activity = torch.where((y - 2) ** 2 + (x - 4) ** 2 < 6, 4000.0, activity)
    path = tmp_path / "activity.nii.gz"
    write_image(path, Image(activity, SIZE, (100.0, -50.0, 20.0)))
    return path, activity


def test_counts_are_those_asked_for_in_tissue(patient):
    path, activity = patient
    simulated = case(input={"volume": path}, scan={"counts": 5, "background": 0.5}, lines=EXACT)
    tissue = float((activity > 0).sum()) * 8 * 6 * 6
    trues = float(simulated.operator.forward(simulated.reference).sum())
    assert trues == pytest.approx(5 * tissue, rel=1e-4)
    assert float(simulated.likelihood.background.sum()) == pytest.approx(0.5 * trues, rel=1e-4)
    assert float(simulated.measurements.sum()) == pytest.approx(1.5 * trues, rel=0.01)


@pytest.mark.parametrize("tof", [None, 400.0])
def test_images_come_back_in_the_unit_of_the_file(patient, tof):
    path, activity = patient
    simulated = case(input={"volume": path}, scan={"counts": 200, "background": 0.1, "tof": tof}, lines=EXACT)
    image = osem(simulated.operator, simulated.measurements, likelihood=simulated.likelihood, iterations=4)
    inside = activity == 1000
    assert float(image[inside].mean()) == pytest.approx(1000, rel=0.05)
    assert relative(image, activity) < 0.25


def test_time_of_flight_keeps_the_counts(patient):
    path, _ = patient
    plain, timed = (case(input={"volume": path}, scan={"tof": tof}, lines=EXACT) for tof in (None, 500.0))
    together = timed.operator.forward(timed.reference).sum(-1)
    assert relative(together, plain.operator.forward(plain.reference)) < 1e-4


def test_a_part_of_a_volume_lies_where_it_lay(patient):
    path, activity = patient
    simulated = case(input={"volume": path, "slices": [1, 3]}, lines=EXACT)
    placed = simulated.placed(simulated.reference)
    assert torch.equal(simulated.reference, activity[1:3])
    assert placed.origin == pytest.approx((108.0, -50.0, 20.0), abs=1e-4)
    with pytest.raises(ValueError, match="3 to 9 of a volume of 4"):
        case(input={"volume": path, "slices": [3, 9]})


def test_bodies_without_a_mu_map_are_of_water(patient):
    path, activity = patient
    mu = case(input={"volume": path}, lines=EXACT).operator.attenuation
    assert mu.unique().tolist() == pytest.approx([0.0, 0.0096])
    assert bool((mu[activity > 0] > 0).all())


def test_a_mu_map_is_that_of_its_file(patient, tmp_path):
    path, activity = patient
    mu = 0.005 * (activity > 0)
    write_image(tmp_path / "mu.nii.gz", Image(mu, SIZE, (100.0, -50.0, 20.0)))
    found = case(input={"volume": path, "attenuation": tmp_path / "mu.nii.gz"}, lines=EXACT)
    torch.testing.assert_close(found.operator.attenuation, mu)
    write_image(tmp_path / "mu.nii.gz", Image(mu[1:], SIZE))
    with pytest.raises(ValueError, match=r"mu.nii.gz has shape \(3, 32, 32\)"):
        case(input={"volume": path, "attenuation": tmp_path / "mu.nii.gz"}, lines=EXACT)
    write_image(tmp_path / "mu.nii.gz", Image(mu, (4.0, 3.0, 3.0)))
    with pytest.raises(ValueError, match=r"voxels of \(4.0, 3.0, 3.0\) mm, expected"):
        case(input={"volume": path, "attenuation": tmp_path / "mu.nii.gz"}, lines=EXACT)


def test_a_mu_map_elsewhere_is_refused(patient, tmp_path):
    path, activity = patient
    write_image(tmp_path / "mu.nii.gz", Image(0.005 * (activity > 0), SIZE, (100.0, -50.0, 60.0)))
    with pytest.raises(ValueError, match=r"mu.nii.gz begins at .*, expected where the image does"):
        case(input={"volume": path, "attenuation": tmp_path / "mu.nii.gz"}, lines=EXACT)


def test_an_empty_activity_is_refused(patient):
    path, activity = patient
    write_image(path, Image(torch.zeros_like(activity), SIZE))
    with pytest.raises(ValueError, match="activity is 0 everywhere"):
        case(input={"volume": path})


def test_negative_activity_is_refused(patient):
    path, activity = patient
    write_image(path, Image(activity - 1, SIZE))
    with pytest.raises(ValueError, match="expected activity >= 0"):
        case(input={"volume": path})


def test_simulated_scanners_go_round_the_volume():
    volume = Volume((20, 100, 128), (3.0, 4.0, 4.0))
    scanner = scanner_around(volume)
    assert scanner.radius > np.hypot(50 * 4, 64 * 4)
    assert max(scanner.ring_positions) - min(scanner.ring_positions) >= 60 - 10


@pytest.mark.parametrize("shape", [(40, 32, 10), (40, 32, 10, 5)])
def test_half_of_the_background_follows_the_counts_and_half_is_flat(shape):
    expected = torch.zeros(shape)
    expected[15:25] = 3.0
    background = contamination(expected, 0.4)
    assert background.shape == shape
    assert float(background.sum()) == pytest.approx(0.4 * float(expected.sum()), rel=1e-5)
    assert float(background[0].mean()) == pytest.approx(0.5 * 0.4 * float(expected.mean()), rel=0.1)
    assert float(background[20].mean()) > 1.5 * float(background[0].mean())


@pytest.mark.parametrize(("expected", "share"), [(0.0, 0.4), (3.0, 0.0)])
def test_nothing_expected_and_no_share_are_no_background(expected, share):
    assert torch.equal(contamination(torch.full((40, 32, 10), expected), share), torch.zeros(40, 32, 10))


@pytest.mark.parametrize("share", [-0.1, float("nan"), float("inf")])
def test_impossible_shares_are_refused(share):
    with pytest.raises(ValueError, match="contamination: share is"):
        contamination(torch.ones(40, 32, 10), share)


@pytest.fixture
def events(tmp_path):
    """List mode of lines near the axis, prompts and delays."""
    rng = np.random.default_rng(0)
    n = 600
    plane, view = rng.integers(10, 50, n), rng.integers(0, 252, n)
    radial = rng.integers(168, 177, n)
    # No event has a gap between blocks, every ninth address, at an end.
    t = radial - 172
    real = ((view + t // 2) % 9 > 0) & ((view - (t + 1) // 2 + 252) % 9 > 0)
    words = ((plane * 252 + view) * 344 + radial)[real]
    words[: len(words) * 7 // 8] += 1 << 30
    path = tmp_path / "scan.l"
    words.astype("<u4").tofile(path)
    return path


MEASURED = {"radial_bins": 40, "max_ring_difference": 0, "resolution_fwhm": None}
SMALL = {"shape": [64, 12, 12], "voxel_size": [4.0625, 5.0, 5.0]}


def test_list_mode_and_its_histogram_give_the_same_image(events):
    one, other = (
        case(input={"list_mode": events}, lines=MEASURED | {"histogram": histogram}, grid=SMALL)
        for histogram in (False, True)
    )
    assert isinstance(one.operator, ListModePET)
    assert isinstance(other.operator, PET)
    assert one.measurements.sum() == other.measurements.sum() > 300
    images = [
        osem(scan.operator, scan.measurements, likelihood=scan.likelihood, iterations=5, subsets=1)
        for scan in (one, other)
    ]
    assert relative(*images) < 1e-5
    assert float(other.likelihood.background.sum()) > 0


def test_list_mode_is_read_once_and_mu_maps_are_projected_once(events, patient, monkeypatch):
    read, projected = [], []
    chunks, forward = siemens._chunks, LineTransform.forward
    monkeypatch.setattr(siemens, "_chunks", lambda path: read.append(path) or chunks(path))
    case(input={"list_mode": events}, lines=MEASURED, grid=SMALL)
    assert read == [events]
    monkeypatch.setattr(LineTransform, "forward", lambda self, x: projected.append(x) or forward(self, x))
    simulated = case(input={"volume": patient[0]}, lines=EXACT)
    simulated.operator.forward(simulated.reference)
    assert len(projected) == 3  # the mu-map, and twice the activity


def test_list_mode_without_prompts_is_refused(events):
    np.asarray([1 << 31, 86344], "<u4").tofile(events)  # a tag and a delay
    with pytest.raises(ValueError, match=r"scan.l holds no prompts of these lines and 0 of others"):
        case(input={"list_mode": events}, lines=MEASURED, grid=SMALL)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"input": {"list_mode": "a.l", "volume": "b.nii"}}, "input.list_mode and input.volume are both given"),
        ({"input": {"list_mode": "a.l"}, "scan": {"counts": 3}}, "scan.counts has no effect"),
        ({"input": {"list_mode": "a.l", "efficiencies": "e.hs"}}, "input.efficiencies is of a sinogram: of list mode"),
        ({"grid": {"shape": [8, 8, 8]}}, "grid.shape has no effect"),
        ({"input": {"background": "b.hs"}}, "input.background has no effect"),
        ({"lines": {"histogram": True}}, "lines.histogram has no effect: the input is scanned in simulation"),
        ({"input": {"sinogram": "a.hs"}, "lines": {"histogram": True}}, "lines.histogram has no effect"),
        ({"input": {"sinogram": "a.hs"}, "lines": {"span": 3}}, "lines.span has no effect: the input is measured"),
        ({"scan": {"tof": 0.4}}, "scan.tof: input should be greater than or equal to 10"),
    ],
)
def test_settings_without_effect_are_refused(sections, message):
    with pytest.raises(ValueError, match=message):
        resolve(PETSettings, sections)
