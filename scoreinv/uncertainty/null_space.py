"""What of an image the scanner has seen, and what the prior alone has said.

Bhadra et al. 2021 (On hallucinations in tomographic image reconstruction, IEEE TMI 40(11)) split a reconstruction into
its measurable and its null component. Here the operator is whitened, B = W^1/2 A with the weight of the likelihood, so
that data count by what they are worth; masked data are not seen at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scoreinv.operators import Likelihood, LinearOperator, Poisson, TransmissionPoisson
from scoreinv.operators.solvers import conjugate_gradients, dot


@dataclass(frozen=True)
class Split:
    """A deviation in two orthogonal parts, each (*batch, *image).

    Attributes:
        measured: in the row space of the whitened operator, B^+ B d.
        unmeasured: the rest, of which the data say nothing.
        ndim: axes of one image.
    """

    measured: Tensor
    unmeasured: Tensor

    ndim: int

    @property
    def share(self) -> Tensor:
        """How much of the energy of each deviation is measured, (*batch)."""
        seen, rest = (
            dot(part, part, self.ndim).flatten(-self.ndim).squeeze(-1) for part in (self.measured, self.unmeasured)
        )
        return seen / (seen + rest)


@dataclass(frozen=True)
class Hallucination:
    """Bhadra et al. 2021, definitions 1 and 2; each (*image), in the unit of the image.

    Attributes:
        measured: B^+ B x - B^+ b with the whitened data b: what contradicts the data (section III.B).
        unmeasured: P_null (x - truth): false structure that the data could not have prevented; None without a truth.
    """

    measured: Tensor
    unmeasured: Tensor | None


def worth(likelihood: Likelihood, measurements: Tensor) -> Tensor:
    """Weight w >= 0 of each datum whatever the image: that of `Likelihood.quadratic` where the datum is likeliest.

    Counts of zero are taken for one, since the weight of less has no bound. What is seen in the end depends on no
    weight above 0; how soon conjugate gradients find it does.

    Args:
        measurements: `operator.out_shape`; the weight is of that shape.
    """
    counts = isinstance(likelihood, Poisson | TransmissionPoisson)
    data = measurements.clamp(min=1) if counts else measurements
    g, weight = likelihood.quadratic(torch.zeros_like(data), data)
    likeliest = torch.where(weight > 0, -g / torch.where(weight > 0, weight, 1.0), torch.zeros_like(g))
    return likelihood.quadratic(likeliest, data)[1]


def split(
    operator: LinearOperator, weight: Tensor, deviation: Tensor, iterations: int = 100, tolerance: float = 1e-4
) -> Split:
    """Project a deviation onto the row space of W^1/2 A by conjugate gradients.

    They start at 0 and so never leave the row space; directions of small singular values come late, so that few
    iterations count what is barely measured as unmeasured.

    Args:
        operator: A.
        weight: w >= 0 of the data, `operator.out_shape`, as `worth` gives it.
        deviation: (*batch, *image), such as sample - mean.
        iterations, tolerance: of conjugate gradients on B^H B u = B^H B d.
    """

    def normal(v: Tensor) -> Tensor:
        return operator.adjoint(weight * operator.forward(v))

    seen = conjugate_gradients(normal, normal(deviation), len(operator.in_shape), iterations, tolerance).x
    return Split(seen, deviation - seen, len(operator.in_shape))


def hallucination(
    operator: LinearOperator,
    measurements: Tensor,
    likelihood: Likelihood,
    image: Tensor,
    truth: Tensor | None = None,
    iterations: int = 100,
    tolerance: float = 1e-4,
) -> Hallucination:
    """Where an image (*image) contradicts its data, and where it differs from the truth unseen by them."""
    g, weight = likelihood.quadratic(operator.forward(image), measurements)

    def normal(v: Tensor) -> Tensor:
        return operator.adjoint(weight * operator.forward(v))

    # B^+ (B x - b) solves B^H B u = A^H W (A x - y) = A^H g from 0.
    ndim = len(operator.in_shape)
    against = conjugate_gradients(normal, operator.adjoint(g), ndim, iterations, tolerance).x
    if truth is None:
        return Hallucination(against, None)
    parts = split(operator, worth(likelihood, measurements), image - truth, iterations, tolerance)
    return Hallucination(against, parts.unmeasured)
