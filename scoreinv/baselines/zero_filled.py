"""The adjoint of MRI: what was not measured is zero."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreinv.baselines.checks import check_complex, check_measurements
from scoreinv.operators.density import pipe_menon
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.mri import NonCartesianMRI
from scoreinv.operators.stack import Stack


def zero_filled(operator: LinearOperator, k_space: Tensor, *, density: Tensor | None = None) -> Tensor:
    """A^H W y: coil images, weighted by the conjugate coil maps and summed.

    W weights each sample by the area of k-space that it stands for, so that the image comes out in its own scale from
    samples of any density. Cartesian ones have 1. Where maps have a root sum of squares of 1, this is the adaptive
    combination of coils (Roemer et al. 1990, Magn. Reson. Med. 16:192, eq. 30).

    Args:
        operator: A, such as CartesianMRI, NonCartesianMRI or a Stack of them.
        k_space: y, (*batch, *operator.out_shape), complex.
        density: weights W, broadcast to operator.out_shape; None computes them for NonCartesianMRI (`pipe_menon`), and
            takes 1 for others. Give them where many images of one trajectory are made.

    Returns:
        (*batch, *operator.in_shape), complex, unit of the k-space.

    Raises:
        TypeError: for a real operator, or k-space of another dtype.
        ValueError: for k-space of another shape, NaN or Inf.

    Jackson et al. 1991, IEEE TMI 10:473, eq. 11.
    """
    check_complex("zero_filled", operator)
    check_measurements("zero_filled", operator, k_space, batch=True)
    if density is not None:
        return operator.adjoint(density * k_space)
    if isinstance(operator, Stack):
        frames = zip(operator.operators, operator.split(k_space), strict=True)
        return torch.stack([zero_filled(frame, y) for frame, y in frames], -len(operator.in_shape))
    if isinstance(operator, NonCartesianMRI):
        return operator.adjoint(pipe_menon(operator.trajectory, operator.in_shape) * k_space)
    return operator.adjoint(k_space)
