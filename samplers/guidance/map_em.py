"""MAP-EM: counts enter through expectation maximisation, anchored at the denoised image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreinv.operators import Poisson
from scoreinv.operators.em import EMSubset, default_subsets, em_subsets, unlisted
from scoreinv.samplers.coupling import SmoothCoupling
from scoreinv.samplers.guidance.base import Guidance, coupled
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.settings import positive, within
from scoreinv.samplers.state import Estimate, Problem

FLOOR = 1e-3  # of the intensity scale: EM never leaves 0


@dataclass(frozen=True)
class MAPEM(Guidance):
    """Singh et al. 2024 (MELBA 2:547, PET-DDS), with De Pierro's maximisation in place of a damped gradient.

    With a the estimate clamped to a >= 0, and s r its error in image units, every sub-iteration maximises EM's minorant
    of log p(y | x) - |x - a|^2 / (2 s^2 r^2): one positive root per voxel,

        beta x^2 + (n s_i - beta a) x - n e_i = 0,   beta = 1 / (s r)^2,

    with sensitivity s_i and emissions e_i of subset i of n. Subsets go on from level to level where they stopped. A
    smooth coupling such as RDPz enters by its parabola at x, which moves a and adds to beta; the root stays one. Of any
    other a is the prox: what the slices' prior left unlike is evened out, and what the counts then say of one slice
    alone is not.

    r takes the error of x0 for white. Where it is not, r understates the parts that vary slowly, those that counts know
    best, and steppers that keep nothing of z but x0 (`split="dds"`) never get them back: then a `slack` above 1 does.

    Args:
        iterations: sub-iterations a level, one subset each.
        subsets: n, of the views; more than 1 need an operator with views. None takes as many as `osem` does.
        slack: factor on r.
    """

    iterations: int = 8
    subsets: int | None = None
    slack: float = 1.0

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "iterations")
        positive(self, "slack")
        if self.subsets is not None:
            within(self, 1, math.inf, "subsets")

    def __call__(self, z: Tensor, sigma: float, problem: Problem, history: dict[str, Any], noise: Noise) -> Estimate:
        intensity = problem.prior.intensity
        parts = self._parts(problem)
        n = len(parts)
        x0 = problem.prior.denoise(z, sigma)
        smooth = isinstance(problem.coupling, SmoothCoupling)
        anchor = intensity.to_image(x0 if smooth else coupled(x0, sigma, problem)).clamp(min=0)
        r = self.slack * problem.prior.error(sigma)
        x = anchor.clamp(min=FLOOR * intensity.scale)
        first = history.get("subset", 0)
        for k in range(first, first + self.iterations):
            x = _positive_root(parts[k % n], x, *_parabola(x, anchor, r, problem), n)
        history["subset"] = (first + self.iterations) % n
        guided = intensity.to_network(x)
        A = problem.operator
        expected = A.forward(anchor)
        misfit = problem.likelihood.negative_log(expected, problem.measurements, len(A.out_shape))
        if A.partial:
            misfit = misfit + unlisted(parts, anchor, expected)
        return Estimate(guided, (z - guided) / sigma, x0, misfit, self.iterations)

    def _parts(self, problem: Problem) -> list[EMSubset]:
        if not isinstance(problem.likelihood, Poisson):
            raise ValueError(f"MAPEM: likelihood is {problem.likelihood}, expected Poisson(background) of counts")
        key = f"EM subsets, {self.subsets}"
        if key not in problem.cache:
            n = default_subsets(problem.operator) if self.subsets is None else self.subsets
            problem.cache[key] = em_subsets(problem.operator, problem.measurements, problem.likelihood, n)
        parts: list[EMSubset] = problem.cache[key]
        return parts


def _parabola(x: Tensor, anchor: Tensor, r: float, problem: Problem) -> tuple[Tensor, Tensor]:
    """(a, beta) of beta |x - a|^2 / 2: the anchor's and the parabola above a smooth coupling at x, together."""
    scale = problem.prior.intensity.scale
    beta = torch.full_like(x, 1 / (scale * r) ** 2)
    if not isinstance(problem.coupling, SmoothCoupling):
        return anchor, beta
    g, c = problem.coupling.quadratic(x / scale, len(problem.operator.in_shape))
    weight = problem.coupling.strength / (scale * r)
    both = beta + weight * c / scale
    return (beta * anchor + weight * (c * x / scale - g)) / both, both


def _positive_root(part: EMSubset, x: Tensor, anchor: Tensor, beta: Tensor, n: int) -> Tensor:
    e = n * part.emissions(x)
    p = beta * anchor - n * part.sensitivity
    root = torch.sqrt(p**2 + 4 * beta * e)
    # Either form of the same root, that without cancellation.
    return torch.where(p >= 0, (p + root) / (2 * beta), 2 * e / (root - p).clamp(min=torch.finfo(x.dtype).tiny))
