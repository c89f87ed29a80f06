"""Penalised likelihood for emission data: BSREM with the relative difference prior.

What a strength means. The penalty R is of degree 1, so that its weight beta = strength / (activity degree) knows the
unit of the image: the activity is the mean over decays, sum x^2 / sum x, of the first image, and the degree what the
weights of a voxel's neighbours sum to, however many there are. Strength then weighs relative differences between
neighbours, d / x, whatever the counts: with more of them the likelihood grows by itself, and the image sharpens. On a
procedural brain in voxels of 2 mm the best strengths lay between 2 and 4 from 0.3 to 10 counts a line, in voxels of
4 mm near 5; on a few large uniform discs beyond 20.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scoreinv.baselines.emission import emission_data
from scoreinv.operators.em import em_step
from scoreinv.operators.likelihood import Poisson
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.neighbours import Neighbours
from scoreinv.operators.relative_difference import RelativeDifference

_LEAST = 1e-3  # of the activity: voxels at 0 must be able to leave it, and R is smooth below


def bsrem(
    operator: LinearOperator,
    counts: Tensor,
    *,
    likelihood: Poisson | None = None,
    anatomy: Tensor | None = None,
    strength: float = 3.0,
    iterations: int = 10,
    subsets: int | None = None,
    relaxation: float = 0.2,
) -> Tensor:
    """Maximum of log p(y | A x) - beta R(x) over x >= 0, from a pass of OSEM; R is `RelativeDifference`, gamma = 2.

    x <- [x + a_k D (n A_i^T (m y_i / (A_i x + b_i) - m) - beta grad R(x))]_+ for one subset i of n after another, in
    the order of Herman and Meyer, with the mask m, relaxed by a_k = 1 / (1 + relaxation k) in pass k. D takes the step
    of EM where data decide and that of the penalty's curvature c where it does, D^-1 = A^T m / x + beta c / 2 at the
    start of the pass; no voxel more than doubles in a step.

    Args:
        operator: A with entries >= 0, and views if subsets are more than 1; such as PET or ListModePET.
        counts: y, operator.out_shape; for ListModePET ones.
        likelihood: background and mask; Poisson() if None.
        anatomy: operator.in_shape, such as a registered MR image: a voxel is compared only with the fourth of its
            neighbours that are most like it there (Bowsher et al. 2004). None compares all.
        strength: of the penalty, dimensionless; see the top of this module.
        iterations: passes through all data.
        subsets: as of `osem`.
        relaxation: how fast steps shrink, > 0. The image converges for any, and in the end only by it.

    Returns:
        operator.in_shape, >= 0, in the unit in which A gives counts. Voxels that no line sees are 0.

    Raises:
        NotImplementedError, TypeError, ValueError: as `osem`, and for an anatomy of another shape.

    Ahn and Fessler 2003, IEEE TMI 22:613; penalty: Nuyts et al. 2002, IEEE TNS 49:56.
    """
    if not strength >= 0 or not relaxation > 0:
        raise ValueError(
            f"bsrem: strength {strength}, relaxation {relaxation}; expected strength >= 0 and relaxation > 0"
        )
    parts, x, seen = emission_data("bsrem", operator, counts, likelihood, iterations, subsets)
    neighbours = Neighbours.around(operator.in_shape, None if operator.volume is None else operator.volume.voxel_size)
    if anatomy is not None:
        neighbours = neighbours.alike(anatomy, -(-len(neighbours.offsets) // 2))
    for part in parts:
        x = em_step(part, x, seen)
    activity = float(x.square().sum() / x.sum())
    if not activity > 0:
        return x
    beta, least = strength / (activity * neighbours.degree()), _LEAST * activity
    penalty = RelativeDifference(neighbours, least)
    sensitivity = sum((part.sensitivity for part in parts), torch.zeros_like(x)).clamp(min=torch.finfo(x.dtype).tiny)
    for k in range(iterations):
        step = seen / (1 + relaxation * k) / (sensitivity / (x + least) + beta * penalty.curvature(x) / 2)
        for part in parts:
            change = step * (len(parts) * part.gradient(x) - beta * penalty.gradient(x))
            # Where lines of a subset see little of a voxel, or expect little, n times its gradient is no estimate of
            # that of all: without a bound on growth such voxels run away.
            x = (x + torch.minimum(change, x + least)).clamp(min=0)
    return x
