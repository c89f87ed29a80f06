import pytest
import torch

from scoreinv.priors.vp import continuous_levels, cosine_betas, discrete_levels, linear_betas, scaled_linear_betas
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


class TestVP:
    def test_times_of_training_are_exact(self):
        betas = linear_betas()
        alphas = (1 - betas).cumprod(0)
        levels = discrete_levels(betas)
        sigmas = levels.sigma(torch.arange(1000.0, dtype=torch.float64))
        torch.testing.assert_close(sigmas, (1 / alphas - 1).sqrt(), rtol=1e-9, atol=0)
        assert [levels.time(float(s)) for s in sigmas[::97]] == pytest.approx(list(range(0, 1000, 97)), abs=1e-8)

    @pytest.mark.parametrize("kind", ["linear", "scaled_linear", "cosine"])
    def test_betas_are_those_of_diffusers(self, kind):
        from diffusers import DDIMScheduler

        ours = {"linear": linear_betas(), "scaled_linear": scaled_linear_betas(), "cosine": cosine_betas()}[kind]
        name, ends = {
            "linear": ("linear", (1e-4, 0.02)),
            "scaled_linear": ("scaled_linear", (8.5e-4, 0.012)),
            "cosine": ("squaredcos_cap_v2", (1e-4, 0.02)),
        }[kind]
        theirs = DDIMScheduler(beta_start=ends[0], beta_end=ends[1], beta_schedule=name).betas
        torch.testing.assert_close(ours.float(), theirs, rtol=1e-5, atol=1e-7)

    def test_continuous_form_inverts_itself_and_meets_the_discrete_one(self):
        # beta(t) = 0.1 + 19.9 t over [0, 1] is the limit of 1000 steps from 1e-4 to 0.02.
        continuous, discrete = continuous_levels(), discrete_levels(linear_betas())
        for sigma in (0.05, 1.0, 30.0):
            time = continuous.time(sigma)
            assert float(continuous.sigma(torch.tensor(time, dtype=torch.float64))) == pytest.approx(sigma, rel=1e-6)
            assert 1000 * time == pytest.approx(discrete.time(sigma), rel=0.01, abs=2)

    def test_schedule_visits_times_of_training(self):
        levels = discrete_levels(linear_betas())
        sigmas = schedules.vp(50)
        times = [levels.time(float(s)) for s in sigmas[:-1]]
        assert times == pytest.approx([round(t) for t in times], abs=1e-6)
        assert (times[0], times[-1]) == (pytest.approx(999), pytest.approx(0, abs=1e-6))
        assert sigmas[-1] == 0

    def test_more_steps_than_times_is_an_error(self):
        with pytest.raises(ValueError, match="2000 steps, expected at most 1000"):
            schedules.vp(2000)

    @pytest.mark.parametrize(("sigma_max", "sigma_min"), [(80.0, 0.02), (60.0, 0.05), (1000.0, 0.0)])
    def test_stays_within_the_range_of_the_prior(self, sigma_max, sigma_min):
        sigmas = schedules.vp(50, None, sigma_max, sigma_min)
        assert float(sigmas[0]) <= sigma_max
        assert float(sigmas[-2]) >= sigma_min


def test_start_at_keeps_what_is_below():
    sigmas = schedules.start_at(schedules.geometric(5, 16.0, 1.0), 5.0)
    assert sigmas.tolist() == pytest.approx([5, 4, 2, 1, 0])
    with pytest.raises(ValueError, match="start_sigma is 20"):
        schedules.start_at(schedules.geometric(5, 16.0, 1.0), 20.0)
