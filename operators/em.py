"""Expectation maximisation of counts y ~ Poisson(A x + b), subset by subset: what reconstructions by EM share.

For A with entries >= 0 the log-likelihood is minorised at x by sum_j e_j log x'_j - s_j x'_j with the sensitivity
s = A^T m and the emissions e = x A^T (m y / (A x + b)) that the data make likely (Shepp and Vardi 1982, IEEE TMI 1:113,
eq. 2.13). Voxels part, so that each maximisation has a closed form, with a penalty of each voxel as well (De Pierro
1995, IEEE TMI 14:132).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scoreinv.operators.likelihood import Poisson
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.scanner import herman_meyer

# Of voxels that only grazing lines see, relative to the best seen, or of grazing lines, relative to the longest: too
# little to be divided by.
GRAZING = 1e-6


@dataclass(frozen=True)
class EMSubset:
    """What is measured in one subset of the views, and what EM makes of it at an image.

    Images are those of the operator, x >= 0, in the unit in which A gives counts. Where A x + b is 0 a datum pulls at
    nothing. Data of another shape raise ValueError as the operator does.

    Attributes:
        operator: A_i, of these views.
        counts: m y_i, those of the views times the mask, operator.out_shape.
        likelihood: background b_i in counts, and mask m, of these views.
        sensitivity: s_i = A_i^T m, (*image), counts per unit of the image; in list mode that of all lines, by the share
            of events in the subset.

    Shepp and Vardi 1982, IEEE TMI 1:113, eq. 2.13; subsets: Hudson and Larkin 1994, IEEE TMI 13:601, eq. 6.
    """

    operator: LinearOperator
    counts: Tensor
    likelihood: Poisson
    sensitivity: Tensor

    def emissions(self, x: Tensor) -> Tensor:
        """e_i = x A_i^T (m y_i / (A_i x + b_i)) in counts, (*batch, *image) -> the same."""
        return x * self._likelier(x)

    def gradient(self, x: Tensor) -> Tensor:
        """d log p / dx = e_i / x - s_i, counts per unit of the image, (*batch, *image) -> the same."""
        return self._likelier(x) - self.sensitivity

    def _likelier(self, x: Tensor) -> Tensor:
        """A^T (m y / (A x + b)); where nothing is expected nothing pulls."""
        mean = self.operator.forward(x) + self.likelihood.background
        return self.operator.adjoint(torch.where(mean > 0, self.counts / torch.where(mean > 0, mean, 1.0), 0.0))


def default_subsets(operator: LinearOperator) -> int:
    """As many as leave four views or more each, but no more than 14; 1 for an operator without views."""
    subsets = max(1, min(operator.out_shape[operator.view_axis] // 4, 14))
    try:
        operator.subset(0, subsets)
    except NotImplementedError:
        return 1
    return subsets


def em_subsets(operator: LinearOperator, counts: Tensor, likelihood: Poisson, subsets: int) -> list[EMSubset]:
    """Subsets of views i, i + n, ..., in the order of Herman and Meyer; one holds everything.

    Raises:
        NotImplementedError: if there are several and the operator has no views.
        ValueError: in list mode for anything but one count an event, for no events, or for a mask of them, which says
            nothing of the other lines.
    """
    if operator.partial:
        check_listed(operator, counts, likelihood)
    if likelihood.mask is not None:
        counts = torch.where(likelihood.mask > 0, counts * likelihood.mask, 0.0)  # in EM weights go with the counts
    parts = []
    for i in herman_meyer(subsets):
        part = operator.subset(i, subsets) if subsets > 1 else operator
        seen = operator.measured_by(i, subsets, counts)
        model = likelihood.subset(i, subsets, counts.ndim, operator.view_axis)
        parts.append(EMSubset(part, seen, model, _sensitivity(part, seen, model)))
    return parts


def uniform_image(parts: list[EMSubset]) -> tuple[Tensor, Tensor]:
    """The uniform image with as many counts as were measured, and which voxels are seen at all, both (*image)."""
    sensitivity = torch.stack([part.sensitivity for part in parts]).sum(0)
    seen = sensitivity > GRAZING * sensitivity.max()
    ones = seen.to(sensitivity.dtype)
    # By the sensitivity: in list mode sum(A x) is not to be had from the events.
    counts = sum(float(part.counts.double().sum()) for part in parts)
    return ones * counts / max(float((sensitivity * ones).double().sum()), torch.finfo(torch.float32).tiny), seen


def em_step(part: EMSubset, x: Tensor, seen: Tensor) -> Tensor:
    """argmax of the minorant of one subset; voxels of little sensitivity in it stay as they are."""
    here = part.sensitivity > GRAZING * part.sensitivity.max()
    return torch.where(here, part.emissions(x) / torch.where(here, part.sensitivity, 1.0), x) * seen


def unlisted(parts: list[EMSubset], x: Tensor, expected: Tensor) -> Tensor:
    """s^T x - sum(A x): what -log p of the rows of a `partial` A leaves out of that of all lines, (*batch).

    Of events e in list mode -log p = s^T x - sum_e log(A x + b)_e, with s of all lines, up to terms of b alone (Parra
    and Barrett 1998, IEEE TMI 17:228); rows alone give sum_e (A x)_e in place of s^T x.

    Args:
        parts: all subsets of A.
        x: images, (*batch, *image).
        expected: A x, (*batch, events).
    """
    sensitivity = torch.stack([part.sensitivity for part in parts]).sum(0)
    return (sensitivity * x).flatten(-sensitivity.ndim).sum(-1) - expected.sum(-1)


def check_listed(operator: LinearOperator, counts: Tensor, likelihood: Poisson) -> None:
    """Raise ValueError unless these, (events,), can be measurements of a `partial` operator: one count an event."""
    if likelihood.mask is not None:
        raise ValueError(
            f"{operator}: the likelihood's mask is of events and leaves the lines without any in; expected none: mask "
            "bad lines by a normalisation of 0 and leave their events out"
        )
    if counts.numel() == 0:
        raise ValueError(f"{operator}: there are no events, expected at least one; is the scan empty?")
    if not bool((counts == 1).all()):
        raise ValueError(
            f"{operator}: measurements run from {float(counts.min()):g} to {float(counts.max()):g}, expected 1 for "
            "every event, torch.ones(events); counts of bins go with the PET operator itself"
        )


def _sensitivity(operator: LinearOperator, counts: Tensor, likelihood: Poisson) -> Tensor:
    if likelihood.mask is not None:
        return operator.adjoint((counts.new_ones(()) * likelihood.mask).expand_as(counts).contiguous())
    return operator.sensitivity(counts.device)
