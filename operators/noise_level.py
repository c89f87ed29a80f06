"""How noisy k-space is, where no noise scan says it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.solvers import conjugate_gradients

_ITERATIONS = 20
_LEAST_REDUNDANCY = 0.1  # of the noise that no image explains, for what is left to be a measure of it
_WEAKEST = 0.1  # share of samples that are taken for noise where coils contradict nothing


def k_space_noise(operator: LinearOperator, k_space: Tensor) -> float:
    """Standard deviation of the noise per real component: by how much the coils contradict each other.

    No image explains noise that differs from coil to coil. So the least-squares image is subtracted, and the median
    size of what is left is compared with that of white noise treated alike. Errors of the coil maps are left over as
    well, at the few strong samples, which a median passes over; they are noise to whoever trusts the maps.

    One coil contradicts nothing, nor do samples that are no more than the voxels. There, sizes of the weakest tenth of
    the samples are taken for noise alone, Rayleigh distributed, a tenth below sigma sqrt(-2 log 0.9). That errs upwards
    by the finest details, and by a factor where there is hardly any noise.

    Args:
        operator: CartesianMRI or NonCartesianMRI with its coil maps, or a Stack of them.
        k_space: operator.out_shape, complex, any unit; 0 where not sampled.

    Returns:
        sigma in the unit of the k-space; 0 without any signal.

    Raises:
        TypeError, ValueError: if k-space is not of the operator.
    """
    operator.check_measurements(k_space)
    sampled = k_space != 0
    if not bool(sampled.any()):
        return 0.0
    white = torch.randn(k_space.shape, generator=torch.Generator().manual_seed(0), dtype=k_space.dtype)
    both = torch.stack([k_space, white.to(k_space.device) * sampled])
    image = conjugate_gradients(operator.normal, operator.adjoint(both), len(operator.in_shape), _ITERATIONS).x
    left, of_white = ((both - operator.forward(image)).abs()[:, sampled]).median(dim=1).values.tolist()
    if of_white > _LEAST_REDUNDANCY:
        return float(left / of_white) / math.sqrt(2)  # complex torch.randn has a variance of 1, parts of 1/2
    sizes = k_space[sampled].abs()
    rank = max(round(_WEAKEST * sizes.numel()), 1)
    return float(sizes.kthvalue(rank).values) / math.sqrt(-2 * math.log(1 - _WEAKEST))
