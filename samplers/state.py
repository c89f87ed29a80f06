"""What flows through the loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from scoreinv.operators import Likelihood, LinearOperator
from scoreinv.priors.base import Prior
from scoreinv.samplers.coupling import Coupling


@dataclass(frozen=True)
class Estimate:
    """What guidance makes of a noisy state.

    Attributes:
        x0: E[x0 | z, y], (samples, *image), network units.
        eps: the noise it leaves, (z - x0) / sigma.
        prior: E[x0 | z], the prior's own estimate.
        misfit: negative log-likelihood of the prior's own estimate, (samples,), for diagnostics.
        inner_iterations: of the guidance's solver, for diagnostics.
    """

    x0: Tensor
    eps: Tensor
    prior: Tensor | None = None
    misfit: Tensor | None = None
    inner_iterations: int = 0


@dataclass(frozen=True)
class Problem:
    """What is asked: which image, in the prior's eyes, explains these measurements?

    Attributes:
        operator: A.
        measurements: y, `operator.out_shape`.
        likelihood: noise model of y given A x.
        prior: of the image's own dimension; its intensity map joins network and image units.
        coupling: across slices, or None.
        cache: what has been found out about the operator (its norm, how strongly it sees each place), for all samples.
    """

    operator: LinearOperator
    measurements: Tensor
    likelihood: Likelihood
    prior: Prior
    coupling: Coupling | None = None
    cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class State:
    """Samples on their way down. Save it, load it, and the loop goes on from it.

    Attributes:
        z: (samples, *image), network units, at the noise level of `step`.
        step: how many steps were made.
        history: what parts remember between steps (duals, multistep terms), tensors by name.
    """

    z: Tensor
    step: int = 0
    history: dict[str, Any] = field(default_factory=dict)
