"""Adapting a network to the scan at hand, by a few steps on low-rank changes of its weights.

A prior trained on other patients is wrong in the same way everywhere in a scan, and the measurements say how: after the
data step an estimate x* is nearer to the truth than the network's x0 was. At each noise level a few Adam steps bring
the network's answer for some slices nearer to x*. Steerable conditional diffusion (Barbano et al. 2023) adapts at every
level of a 2D image, D3IP (Chung and Ye 2024) shares one adaptation between the slices of a volume; here it is shared by
slices and carried from level to level. Their loss is the misfit of the estimate; its gradient in x0 is the pull that x*
has followed, preconditioned by the same solve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scoreinv.priors.base import Prior
from scoreinv.samplers.clock import counted
from scoreinv.samplers.guidance.quadratic import Quadratic
from scoreinv.samplers.noise import Noise
from scoreinv.samplers.state import Problem

Factors = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LoRA:
    """Low-rank adaptation (Hu et al. 2022): W + B A for every convolution and linear layer.

    A is (rank, in), B (out, rank). B starts at zero, so that nothing changes before the first step. Every sample has
    factors of its own, and so has every network of `PerpendicularPlanes`, told apart by the names of their priors.

    Args:
        rank: of the change.
        steps: of Adam at each noise level.
        learning_rate: of Adam.
        slices: of a volume in every step, drawn at random.
    """

    rank: int = 4
    steps: int = 4
    learning_rate: float = 1e-3
    slices: int = 4

    def __post_init__(self) -> None:
        if min(self.rank, self.steps, self.slices) < 1 or self.learning_rate <= 0:
            raise ValueError(f"{self}: expected rank, steps and slices of at least 1 and a positive learning rate")

    def denoise(
        self,
        z: Tensor,
        sigma: float,
        problem: Problem,
        history: dict[str, Any],
        noise: Noise,
        damping: float | Tensor,
        iterations: int,
    ) -> Tensor:
        """The adapted network's E[x0 | z], (samples, *image).

        Factors stay in the history under the name of the prior, one set a sample.
        """
        prior = problem.prior
        inner, images = prior.slices(z[0])
        # `slices` refuses every prior without a network; the contract of priors does not know of networks.
        network, kept = inner.network, f"lora of {inner.name}"  # type: ignore[attr-defined]
        if kept not in history:
            drawn = {name: noise((self.rank, _fan_in(w)), torch.float32) for name, w in _weights(network).items()}
            outputs = {name: len(w) for name, w in _weights(network).items()}
            history[kept] = [
                {name: (A[k] / A.shape[-1] ** 0.5, A.new_zeros(outputs[name], self.rank)) for name, A in drawn.items()}
                for k in range(len(z))
            ]
        x0 = _each(z, sigma, prior, network, history[kept])
        data = Quadratic.at(x0, problem)
        target = x0 + data.solve(data.pull, damping, iterations, 1e-4).x
        order = noise((len(images),), torch.float32).argsort(1)
        with counted(prior):
            history[kept] = [
                self._fit(z[k], target[k], sigma, prior, network, factors, order[k])
                for k, factors in enumerate(history[kept])
            ]
        return _each(z, sigma, prior, network, history[kept])

    def _fit(
        self, z: Tensor, target: Tensor, sigma: float, prior: Prior, network: nn.Module, factors: Factors, order: Tensor
    ) -> Factors:
        (inner, images), targets = prior.slices(z), prior.slices(target)[1]
        free = {name: (A.clone().requires_grad_(), B.clone().requires_grad_()) for name, (A, B) in factors.items()}
        adam = torch.optim.Adam([factor for pair in free.values() for factor in pair], lr=self.learning_rate)
        for k in range(self.steps):
            batch = order.roll(-k * self.slices)[: self.slices].to(images.device)
            with torch.enable_grad():
                answer = inner.of_slices(batch).adapted(_changed(network, free)).denoise(images[batch], sigma)
                loss = (answer - targets[batch]).abs().square().mean()
                adam.zero_grad()
                loss.backward()
            adam.step()
        return {name: (A.detach(), B.detach()) for name, (A, B) in free.items()}


def _weights(network: nn.Module) -> dict[str, Tensor]:
    """Weights of all convolutions and linear layers, by name."""
    kinds = (nn.Conv2d, nn.Linear)
    return {f"{name}.weight": m.weight for name, m in network.named_modules() if isinstance(m, kinds)}


def _fan_in(weight: Tensor) -> int:
    return weight[0].numel()


def _changed(network: nn.Module, factors: Factors) -> dict[str, Tensor]:
    """W + B A by name."""
    return {
        name: w + (factors[name][1].to(w) @ factors[name][0].to(w)).reshape(w.shape)
        for name, w in _weights(network).items()
    }


def _each(z: Tensor, sigma: float, prior: Prior, network: nn.Module, all_factors: list[Factors]) -> Tensor:
    """Every sample denoised by its own adapted network."""
    adapted = [prior.adapted(_changed(network, factors)) for factors in all_factors]
    return torch.cat([own.denoise(z[k : k + 1], sigma) for k, own in enumerate(adapted)])
