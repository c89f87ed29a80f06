from dataclasses import replace

import pytest
import torch

from scoreinv.operators import Gaussian, LinearOperator
from scoreinv.priors import GaussianPrior
from scoreinv.samplers import DDIM, Diverged, NoiseSource, Problem, Stepper, schedules, start, walk
from scoreinv.samplers.guidance import DDS, DPS, Guidance

SIGMAS = schedules.edm(4, 5.0, 0.1)


class Identity(LinearOperator):
    """Measurements that are the image."""

    def _apply(self, x):
        return x.clone()

    def _adjoint(self, y):
        return y.clone()


class Counting(Stepper):
    """DDIM that counts its steps in a history of its own making."""

    def step(self, state, denoise, sigma, sigma_next, noise):
        moved = DDIM(eta=1.0).step(state, denoise, sigma, sigma_next, noise)
        return replace(moved, history=moved.history | {"count": state.history.get("count", 0) + 1})


class Shifted(Guidance):
    """Adds 1 to the state after every step."""

    def __call__(self, z, sigma, problem, history, noise):
        return DDS()(z, sigma, problem, history, noise)

    def correct(self, z, sigma, problem, history):
        history["corrected"] = history.get("corrected", 0) + 1
        return z + 1


@pytest.fixture
def problem():
    return Problem(Identity((4, 4), (4, 4)), torch.ones(4, 4), Gaussian(0.1), GaussianPrior(torch.zeros(4, 4), 1.0))


def walked(problem, guidance=None, stepper=None, schedule=SIGMAS, callback=None):
    noise = NoiseSource(0, (4, 4))
    state = start(noise, float(schedule[0]), [0, 1])
    return walk(problem, guidance or DDS(), stepper or DDIM(eta=1.0), schedule, noise, [0, 1], state, callback)


def test_history_a_stepper_makes_is_kept(problem):
    assert walked(problem, stepper=Counting()).history["count"] == 4


def test_guidance_and_stepper_share_the_history(problem):
    history = walked(problem, guidance=Shifted(), stepper=Counting()).history
    assert (history["count"], history["corrected"]) == (4, 4)


def test_correction_acts_on_the_state_after_each_step(problem):
    plain, shifted = walked(problem, schedule=SIGMAS[-2:]), walked(problem, Shifted(), schedule=SIGMAS[-2:])
    torch.testing.assert_close(shifted.z, plain.z + 1)


def test_callback_sees_every_step_and_states_that_stay(problem):
    seen = []
    walked(problem, stepper=Counting(), callback=lambda step, state: seen.append((step, state)))
    assert [step.index for step, _ in seen] == [0, 1, 2, 3]
    assert [step.sigma for step, _ in seen] == SIGMAS[:-1].tolist()
    assert [state.history["count"] for _, state in seen] == [1, 2, 3, 4]
    assert all(len(step.misfit) == 2 and min(step.network, step.operator, step.rest) >= 0 for step, _ in seen)


@pytest.mark.parametrize("wrong", [lambda x: x[..., :-1], lambda x: x.double()])
@pytest.mark.parametrize("guidance", [DDS(), DPS()], ids=["denoise", "linearise"])
def test_answers_of_a_users_prior_that_are_no_images_are_named(problem, guidance, wrong):
    class Wrong(GaussianPrior):
        def denoise(self, z, sigma):
            return wrong(super().denoise(z, sigma))

    prior = Wrong(torch.zeros(problem.operator.in_shape), 1.0)
    source, sigmas = NoiseSource(0, problem.operator.in_shape), schedules.edm(3, 5.0, 0.05)
    with pytest.raises(ValueError, match=r"Wrong.*: answers \(.*expected the same; correct its `denoise`"):
        walk(replace(problem, prior=prior), guidance, DDIM(), sigmas, source, [0], start(source, 5.0, [0]))


def test_divergence_carries_the_last_finite_state(problem):
    class Broken(GaussianPrior):
        def denoise(self, z, sigma):
            return super().denoise(z, sigma) / (sigma > 1)

    broken = replace(problem, prior=Broken(torch.zeros(4, 4), 1.0))
    with pytest.raises(Diverged, match=r"Broken\('gaussian', 2D\) answers NaN or Inf") as caught:
        walked(broken)
    assert "\n" not in str(caught.value)
    assert caught.value.state.step > 0
    assert bool(torch.isfinite(caught.value.state.z).all())
