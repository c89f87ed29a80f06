"""How right is every method? Samples against posteriors that are known exactly.

    python tests/benchmarks/posterior_exactness.py --out docs/exactness.md

Three problems with a closed-form posterior: a correlated Gaussian prior on 16 x 16 images half of whose pixels are seen
blurred, a mixture of three Gaussians in 8 dimensions of which 4 combinations are seen, and a Gaussian prior on a tiny
volume under 6 cone-beam views. For every method and number of network evaluations (NFE):

    mean    ||sample mean - exact mean|| / ||exact mean||
    std     mean over pixels of sample std / exact std
    SW      sliced Wasserstein-1 distance to exact samples, in exact standard deviations
    cover   mass of the exact posterior within the samples' central 90 % intervals, %
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Gaussian, LinearOperator, Volume
from scoreinv.priors import GaussianMixturePrior, GaussianPrior
from scoreinv.samplers import (
    DDIM,
    METHODS,
    DPMSolver2M,
    Heun,
    PredictorCorrector,
    Preset,
    Problem,
    ReverseSDE,
    TwistedSMC,
    start,
    walk,
)
from scoreinv.samplers.guidance import DDS, DPS, PiGDM
from scoreinv.samplers.presets import edm

EVALUATIONS = (20, 50, 100, 500)
# Evaluations a step, where it is not one.
COSTS = {Heun: 2, PredictorCorrector: 2}


class Matrix(LinearOperator):
    """A dense linear map of flattened images."""

    def __init__(self, matrix: Tensor, in_shape: tuple[int, ...]) -> None:
        super().__init__(in_shape, (len(matrix),))
        self.matrix = matrix

    def _apply(self, x: Tensor) -> Tensor:
        return x.flatten(-len(self.in_shape)) @ self.matrix.mT

    def _adjoint(self, y: Tensor) -> Tensor:
        return (y @ self.matrix).unflatten(-1, self.in_shape)


@dataclass(frozen=True)
class Case:
    """A problem, samples of its posterior, and their exact mean and standard deviation (n,)."""

    name: str
    problem: Problem
    exact: Tensor
    mean: Tensor
    std: Tensor


class Draws:
    """Fast noise for thousands of samples; none of them needs to be repeated alone here."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.shape, self.generator = shape, torch.Generator().manual_seed(seed)

    def draw(self, samples, step, draw=0, shape=None, dtype=None):
        return torch.randn(len(samples), *(self.shape if shape is None else shape), generator=self.generator)


def smooth_covariance(shape: tuple[int, ...], std: float, length: float) -> Tensor:
    """Exponential correlations over distances in pixels."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in shape], indexing="ij"), -1)
    points = grid.reshape(-1, len(shape))
    return std**2 * torch.exp(-torch.cdist(points, points) / length)


def gaussian_case(name: str, A: Tensor, shape: tuple[int, ...], covariance: Tensor, sigma: float, n: int) -> Case:
    """A case with a Gaussian prior of a smooth mean."""
    generator = torch.Generator().manual_seed(7)
    size = len(covariance)
    mean = torch.linspace(-0.5, 0.5, size).sin()
    root = torch.linalg.cholesky(covariance.double())
    truth = mean.double() + root @ torch.randn(size, generator=generator, dtype=torch.float64)
    y = A.double() @ truth + sigma * torch.randn(len(A), generator=generator, dtype=torch.float64)
    precision = torch.cholesky_inverse(root) + A.mT.double() @ A.double() / sigma**2
    posterior = torch.linalg.inv(precision)
    center = mean.double() + posterior @ (A.mT.double() @ (y - A.double() @ mean.double())) / sigma**2
    draws = torch.randn(n, size, generator=generator, dtype=torch.float64) @ torch.linalg.cholesky(posterior).mT
    problem = Problem(Matrix(A, shape), y.float(), Gaussian(sigma), GaussianPrior(mean.reshape(shape), covariance))
    return Case(name, problem, (center + draws).float(), center.float(), posterior.diagonal().sqrt().float())


def blur_case(n: int) -> Case:
    """16 x 16 pixels, every second row of which is seen through a blur."""
    shape = (16, 16)
    weights = torch.exp(-(torch.cdist(*[torch.arange(16.0)[:, None]] * 2) ** 2) / 2)
    weights = weights / weights.sum(1, keepdim=True)
    A = torch.kron(weights[::2].contiguous(), weights)
    return gaussian_case("Gaussian 16 x 16", A, shape, smooth_covariance(shape, 0.5, 4.0), 0.05, n)


def cone_beam_case(n: int) -> Case:
    """3 x 10 x 10 voxels under 6 cone-beam views; the operator's own columns as a matrix, for speed."""
    volume = Volume((3, 10, 10), (4.0, 4.0, 4.0))
    angles = np.arange(6) * 2 * math.pi / 6
    operator = ConeBeamCT(ConeBeamGeometry.circular(200, 300, (4, 12), (6.0, 6.0), angles), volume)
    A = operator(torch.eye(300).reshape(300, 3, 10, 10)).reshape(300, -1).mT.contiguous() * 0.02
    return gaussian_case("cone beam", A, volume.shape, smooth_covariance(volume.shape, 0.5, 4.0), 0.02, n)


def mixture_case(n: int) -> Case:
    """Three modes in 8 dimensions; the posterior is a mixture again."""
    generator = torch.Generator().manual_seed(3)
    A = torch.randn(4, 8, generator=generator) / math.sqrt(8)
    means, sigma = torch.randn(3, 8, generator=generator), 0.2
    prior = GaussianMixturePrior(torch.tensor([0.3, 0.3, 0.4]), means, [0.05, 0.1, 0.05])
    y = A @ means.mean(0) + sigma * torch.randn(4, generator=generator)
    variances = torch.tensor([0.05, 0.1, 0.05])
    log_shares, centers, roots = [], [], []
    for weight, mean, variance in zip(prior.weights, means, variances, strict=True):
        evidence = torch.distributions.MultivariateNormal(A @ mean, variance * A @ A.mT + sigma**2 * torch.eye(4))
        log_shares.append(weight.log() + evidence.log_prob(y))
        posterior = torch.linalg.inv(torch.eye(8) / variance + A.mT @ A / sigma**2)
        centers.append(posterior @ (mean / variance + A.mT @ y / sigma**2))
        roots.append(torch.linalg.cholesky(posterior))
    shares = torch.stack(log_shares).softmax(0)
    which = torch.multinomial(shares, n, replacement=True, generator=generator)
    draws = torch.randn(n, 8, generator=generator)
    exact = torch.stack(centers)[which] + torch.einsum("nij,nj->ni", torch.stack(roots)[which], draws)
    mean = (shares[:, None] * torch.stack(centers)).sum(0)
    second = sum(s * ((r @ r.mT).diagonal() + c**2) for s, r, c in zip(shares, roots, centers, strict=True))
    problem = Problem(Matrix(A, (8,)), y, Gaussian(sigma), prior)
    return Case("mixture, 8 dimensions", problem, exact, mean, (second - mean**2).sqrt())


def methods() -> dict[str, Preset]:
    """Every preset, and the steppers that no preset has."""
    wide = edm(60.0, 0.02)
    dated = {name: preset for name, preset in METHODS.items() if "-20" in name}
    own = {name: replace(preset, schedule=wide) for name, preset in METHODS.items() if name not in dated}
    published = {name: preset for name, preset in dated.items() if not name.endswith("3d")}
    jacobian = PiGDM("jacobian")
    return {
        **own,
        "pigdm isotropic": Preset(PiGDM("isotropic"), DDIM(1.0), wide),
        "pigdm, DDIM eta 0": Preset(jacobian, DDIM(0.0), wide),
        "pigdm, Heun": Preset(jacobian, Heun(), wide),
        "pigdm, DPM-Solver 2M": Preset(jacobian, DPMSolver2M(), wide),
        "pigdm, reverse SDE": Preset(jacobian, ReverseSDE("ve"), wide),
        "dds, DDIM eta 0": Preset(DDS(15), DDIM(0.0), wide),
        "dps, Heun": Preset(DPS(), Heun(), wide),
        **published,
    }


def sample(case: Case, preset: Preset, evaluations: int, samples: int) -> Tensor:
    """(samples, n) by one method."""
    problem, stepper = case.problem, preset.stepper
    cost = COSTS.get(type(stepper), 1) * getattr(preset.guidance, "ode_steps", 1)
    sigmas = preset.schedule(max(2, evaluations // cost), problem.prior)
    if isinstance(stepper, TwistedSMC):
        # A cloud is one sample; here the particles of a few clouds are what is compared.
        clouds = list(range(8))
        source = Draws(problem.operator.in_shape)
        state = walk(problem, preset.guidance, TwistedSMC(1024), sigmas, source, clouds, start(source, 1.0, clouds))
        weights = state.history["log_weights"].softmax(1)
        chosen = torch.multinomial(weights, samples // 8, replacement=True, generator=torch.Generator().manual_seed(0))
        return state.history["cloud"][torch.arange(8)[:, None], chosen].flatten(0, 1)
    source, numbers = Draws(problem.operator.in_shape), list(range(samples))
    first = start(source, float(sigmas[0]), numbers)
    return walk(problem, preset.guidance, stepper, sigmas, source, numbers, first).z.flatten(1)


def measure(case: Case, x: Tensor) -> dict[str, float]:
    """The four numbers of the table."""
    directions = torch.randn(x.shape[1], 128, generator=torch.Generator().manual_seed(0))
    directions = directions / torch.linalg.vector_norm(directions, dim=0)
    ours, theirs = ((s - case.mean) / case.std @ directions for s in (x, case.exact))
    low, high = x.quantile(0.05, 0), x.quantile(0.95, 0)
    return {
        "mean": float(torch.linalg.vector_norm(x.mean(0) - case.mean) / torch.linalg.vector_norm(case.mean)),
        "std": float((x.std(0) / case.std).mean()),
        "SW": float((ours.sort(0)[0] - theirs.sort(0)[0]).abs().mean()),
        "cover": 100 * float(((case.exact >= low) & (case.exact <= high)).float().mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Markdown file for the tables")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--evaluations", type=int, nargs="+", default=EVALUATIONS)
    parser.add_argument("--only", nargs="+", help="names of methods")
    arguments = parser.parse_args()
    lines: list[str] = []
    for make in (blur_case, mixture_case, cone_beam_case):
        case = make(arguments.samples)
        perfect = measure(case, make(2 * arguments.samples).exact[arguments.samples :])
        head = " | ".join(f"{n} NFE" for n in arguments.evaluations)
        lines += [f"### {case.name}", "", f"| method | {head} |", "|---|" + "---|" * len(arguments.evaluations)]
        lines.append(f"| exact samples | {row(perfect)} |" + " |" * (len(arguments.evaluations) - 1))
        for name, preset in methods().items():
            if arguments.only and name not in arguments.only:
                continue
            cells = []
            for evaluations in arguments.evaluations:
                begun = time.perf_counter()
                try:
                    cells.append(row(measure(case, sample(case, preset, evaluations, arguments.samples))))
                except (ValueError, ArithmeticError) as error:
                    cells.append("too large" if isinstance(error, ValueError) else "diverges")
                print(case.name, name, evaluations, cells[-1], f"{time.perf_counter() - begun:.1f} s", flush=True)
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    if arguments.out:
        arguments.out.write_text("\n".join(lines))


def row(numbers: dict[str, float]) -> str:
    return f"{numbers['mean']:.3f} / {numbers['std']:.2f} / {numbers['SW']:.2f} / {numbers['cover']:.0f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
