import pytest
import torch

from scoreinv.samplers import schedules


@pytest.mark.parametrize("schedule", [schedules.edm, schedules.geometric])
@pytest.mark.parametrize("steps", [1, 2, 50])
def test_falls_from_sigma_max_through_sigma_min_to_zero(schedule, steps):
    sigmas = schedule(steps, 10.0, 0.01)
    assert len(sigmas) == steps + 1
    assert float(sigmas[0]) == pytest.approx(10)
    assert sigmas[-1] == 0
    assert bool((sigmas.diff() < 0).all())
    if steps > 1:
        assert float(sigmas[-2]) == pytest.approx(0.01)


def test_edm_formula():
    sigmas = schedules.edm(3, 8.0, 1.0, rho=3.0)
    assert sigmas.tolist() == pytest.approx([8, 1.5**3, 1, 0])


def test_geometric_has_constant_ratio():
    sigmas = schedules.geometric(5, 16.0, 1.0)
    assert sigmas.tolist() == pytest.approx([16, 8, 4, 2, 1, 0])


@pytest.mark.parametrize("values", [[1.0, 2.0, 0.0], [2.0, 1.0], [1.0, 1.0, 0.0], [0.0]])
def test_custom_schedule_must_fall_to_zero(values):
    with pytest.raises(ValueError, match="fall strictly and end in 0"):
        schedules.check(torch.tensor(values))


@pytest.mark.parametrize(("steps", "high", "low"), [(0, 1.0, 0.1), (5, 0.1, 1.0), (5, 1.0, 0.0), (2, 1.0, 1.0)])
def test_impossible_schedules_are_refused(steps, high, low):
    with pytest.raises(ValueError, match="schedule"):
        schedules.edm(steps, high, low)
