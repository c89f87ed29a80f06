"""Strengths found without ground truth."""

from dataclasses import replace

import pytest
import torch
from toys import Dense, random

from scoreinv.operators import Gaussian, TransmissionPoisson
from scoreinv.priors import GaussianPrior
from scoreinv.samplers import (
    DDIM,
    NoiseSource,
    Problem,
    schedules,
    start,
    walk,
)
from scoreinv.samplers.guidance import DDS


class TestTuning:
    """Noise levels that are guesses, found from the residual."""

    def problem(self, guess, noise=0.1, dtype=torch.float32):
        # torch's complex normal numbers have variance 1/2 per component, the noise here is per component.
        unit = 2**0.5 if dtype.is_complex else 1.0
        prior = GaussianPrior(torch.zeros(60, dtype=dtype), 0.25)
        A = random(400, 60, seed=2, dtype=dtype) / 8
        truth = unit * 0.5 * random(60, seed=3, dtype=dtype)
        y = A @ truth + unit * noise * random(400, seed=4, dtype=dtype)
        return Problem(Dense(A), y, Gaussian(guess), prior), truth

    def walked(self, p, guidance):
        source = NoiseSource(0, (60,), p.operator.in_dtype)
        return walk(p, guidance, DDIM(1.0), schedules.edm(20, 5.0, 0.01), source, [0, 1], start(source, 5.0, [0, 1]))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
    @pytest.mark.parametrize("guess", [0.01, 0.1, 1.0])
    def test_discrepancy_finds_the_noise_level(self, guess, dtype):
        p, truth = self.problem(guess, dtype=dtype)
        state = self.walked(p, DDS(30, tune="discrepancy"))
        found = guess * state.history["noise variance"].flatten().sqrt()
        assert found.tolist() == pytest.approx([0.1, 0.1], rel=0.15)
        known, _ = self.problem(0.1, dtype=dtype)
        right = self.walked(known, DDS(30)).z.mean(0)
        assert float((state.z.mean(0) - truth).norm()) < 1.15 * float((right - truth).norm())

    def test_sure_chooses_the_prior_error_that_is_right(self):
        """A prior that believes itself ten times too much is trusted less."""
        p, truth = self.problem(0.1)

        class Overconfident(GaussianPrior):
            def error(self, sigma):
                return super().error(sigma) / 4

        p = replace(p, prior=Overconfident(torch.zeros(60), 0.25))
        tuned, trusted = (self.walked(p, guidance).z.mean(0) for guidance in (DDS(30, tune="sure"), DDS(30)))
        assert float((tuned - truth).norm()) < 0.8 * float((trusted - truth).norm())

    @pytest.mark.parametrize("rule", ["sure", "discrepancy"])
    def test_both_need_gaussian_noise(self, rule):
        p, _ = self.problem(0.1)
        p = replace(p, likelihood=TransmissionPoisson(100.0), measurements=torch.full((400,), 50.0))
        with pytest.raises(ValueError, match="needs Gaussian noise"):
            self.walked(p, DDS(tune=rule))
