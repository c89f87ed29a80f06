"""What a network was trained to see and to answer, and how that becomes E[x0 | z].

Every prior here is asked in one form, z = x0 + sigma n. A parametrisation translates question and answer; nothing else
in the package knows that networks differ.
"""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scoreinv.priors.vp import VPLevels, continuous_levels, discrete_levels

Network = Callable[[Tensor, Tensor], Any]


@dataclass(frozen=True)
class Parametrisation(ABC):
    """From a network to a denoiser; `kind` and its fields describe it in plain JSON."""

    kind: ClassVar[str]

    @abstractmethod
    def denoise(self, network: Network, z: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | z] for z (batch, channels, y, x), network units, and levels sigma (batch,)."""

    @property
    @abstractmethod
    def sigma_range(self) -> tuple[float, float]:
        """Noise levels that make sense to the network."""


@dataclass(frozen=True)
class EDM(Parametrisation):
    """D(z) = c_skip z + c_out F(c_in z; 10 ln sigma), Karras et al. 2022, eq. 7.

    The network sees inputs and targets of unit variance at every level.

    Args:
        data_std: sigma_data of the paper, network units.
    """

    kind: ClassVar[str] = "edm"
    data_std: float = 0.5

    def denoise(self, network: Network, z: Tensor, sigma: Tensor) -> Tensor:
        s = _per_image(sigma)
        total = (s**2 + self.data_std**2).sqrt()
        c_skip, c_out, c_in = (self.data_std / total) ** 2, s * self.data_std / total, 1 / total
        # diffusers embeds a time of order 0 to 1000 by sines of periods 2 pi to 2e4 pi; 10 ln sigma spans them well.
        return c_skip * z + c_out * answer(network, c_in * z, 10 * sigma.log())

    @property
    def sigma_range(self) -> tuple[float, float]:
        return 0.002, 80.0


@dataclass(frozen=True)
class VP(Parametrisation):
    """A network of a variance-preserving diffusion, x_t = a z with a = 1 / sqrt(1 + sigma^2), asked at time t(sigma).

    Args:
        betas: (T,) variances of its chain, of discrete steps 0 to T - 1.
        prediction: "epsilon" (Ho et al. 2020), "sample" (x0) or "v_prediction" (Salimans and Ho 2022), the names of
            diffusers.
        continuous: it was trained on all times from 0 to 1 (Song et al. 2021, score-based SDEs) and is told 999 t;
            betas are then the two ends of eq. 33, (0.1, 20) there.
    """

    kind: ClassVar[str] = "vp"
    betas: tuple[float, ...]
    prediction: str = "epsilon"
    continuous: bool = False

    def __post_init__(self) -> None:
        if self.prediction not in ("epsilon", "sample", "v_prediction"):
            raise ValueError(
                f"VP: prediction is {self.prediction!r}, expected 'epsilon', 'sample' (x0) or 'v_prediction'"
            )
        _levels(self.betas, self.continuous)

    @property
    def levels(self) -> VPLevels:
        """Its noise level by time."""
        return _levels(self.betas, self.continuous)

    def denoise(self, network: Network, z: Tensor, sigma: Tensor) -> Tensor:
        s = _per_image(sigma)
        a = 1 / (1 + s**2).sqrt()
        times = torch.tensor([self.levels.time(float(level)) for level in sigma.tolist()], device=z.device)
        label = 999 * times if self.continuous else times
        out = answer(network, a * z, label.to(z.dtype))
        if self.prediction == "sample":
            return out
        if self.prediction == "epsilon":
            return z - s * out
        # v = a n - sqrt(1 - a^2) x0, so x0 = a x_t - sqrt(1 - a^2) v.
        return a**2 * z - s * a * out

    @property
    def sigma_range(self) -> tuple[float, float]:
        return self.levels.sigma_min, self.levels.sigma_max


@dataclass(frozen=True)
class VE(Parametrisation):
    """A score network of a variance-exploding diffusion: it sees z and sigma and answers grad log p (Song et al. 2021).

    Args:
        sigma_min, sigma_max: its range, network units.
    """

    kind: ClassVar[str] = "ve"
    sigma_min: float = 0.01
    sigma_max: float = 378.0

    def denoise(self, network: Network, z: Tensor, sigma: Tensor) -> Tensor:
        return z + _per_image(sigma) ** 2 * answer(network, z, sigma)

    @property
    def sigma_range(self) -> tuple[float, float]:
        return self.sigma_min, self.sigma_max


@functools.cache
def _levels(betas: tuple[float, ...], continuous: bool) -> VPLevels:
    if continuous:
        if len(betas) != 2:
            raise ValueError(f"VP: a continuous network has two betas, at t = 0 and 1, got {len(betas)}")
        return continuous_levels(*betas)
    return discrete_levels(torch.tensor(betas, dtype=torch.float64))


def parametrisation_of(description: Mapping[str, Any]) -> Parametrisation:
    """The parametrisation described by `kind` and its fields.

    Raises:
        ValueError: if there is no such kind, or it has no such fields.
    """
    kinds: dict[str, Any] = {"edm": EDM, "vp": VP, "ve": VE}
    if description.get("kind") not in kinds:
        raise ValueError(f"parametrisation: kind is {description.get('kind')!r}, expected one of {sorted(kinds)}")
    kind = kinds[description["kind"]]
    known = {field.name for field in dataclasses.fields(kind)}
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in description.items() if key != "kind"}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"parametrisation: {kind.__name__} has no {', '.join(unknown)}; expected {sorted(known)}")
    parametrisation: Parametrisation = kind(**given)
    return parametrisation


def describe_parametrisation(parametrisation: Parametrisation) -> dict[str, Any]:
    """Plain JSON that `parametrisation_of` reads."""
    return {"kind": parametrisation.kind} | dataclasses.asdict(parametrisation)


def answer(network: Network, x: Tensor, label: Tensor) -> Tensor:
    """What the network says to x (batch, channels, y, x) and labels (batch,), in the dtype of x."""
    out: Any = network(x, label)
    image: Tensor = getattr(out, "sample", out)
    return image.to(x.dtype)


def _per_image(sigma: Tensor) -> Tensor:
    return sigma.reshape(-1, 1, 1, 1)
