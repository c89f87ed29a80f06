"""Compressed sensing: wavelet coefficients of the image are few."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scoreinv.baselines.checks import check_complex, check_measurements
from scoreinv.baselines.strengths import default_likelihood, largest_curvature, typical_root, white_noise_response
from scoreinv.baselines.wavelets import Wavelets
from scoreinv.operators.likelihood import Gaussian
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.solvers import Map, conjugate_gradients

_WARM_STEPS = 5  # conjugate gradients before the first iteration


def l1_wavelet(
    operator: LinearOperator,
    k_space: Tensor,
    *,
    likelihood: Gaussian | None = None,
    strength: float = 0.7,
    iterations: int = 60,
) -> Tensor:
    """min_x -log p(y | A x) + lambda ||Psi x||_1 by FISTA, Psi the details of an orthonormal wavelet transform.

    lambda = strength sqrt(H) / sigma counts noise levels, as that of `tv` does: H = E ||A n||^2 / voxels is the mean
    curvature of ||A x||^2 / 2 along white noise n, so that strength 1 means the standard deviation of the noise in the
    gradient of the data term. Rescaling data, noise, operator or image changes nothing. The transform (`Wavelets`) is
    shifted at random from one iteration to the next, against blocks (Coifman and Donoho 1995); the same shifts in
    every call.

    Args:
        operator: A, such as CartesianMRI or NonCartesianMRI with its coil maps.
        k_space: y, operator.out_shape, complex.
        likelihood: noise of the data; None means Gaussian, by how much the coils contradict each other
            (`k_space_noise`).
        strength: of the sparsity, in units of the noise, dimensionless; 0.5 to 1.5 did best on heads and phantoms, at
            accelerations of 4 and 8 and noise of 0.3 to 3 %.
        iterations: one application of A^H A and one of Psi and Psi^H each.

    Returns:
        operator.in_shape, complex, unit of the k-space.

    Raises:
        TypeError: for a real operator, or k-space of another dtype.
        ValueError: for k-space of another shape, NaN or Inf, or an option out of its range.

    Lustig, Donoho and Pauly 2007, Magn. Reson. Med. 58:1182; Beck and Teboulle 2009, SIAM J. Imaging Sci. 2:183, eq.
    4.1 to 4.3.
    """
    check_complex("l1_wavelet", operator)
    if not strength > 0 or iterations < 1:
        raise ValueError(
            f"l1_wavelet: strength {strength}, iterations {iterations}; expected strength > 0 and iterations >= 1"
        )
    check_measurements("l1_wavelet", operator, k_space)
    likelihood = default_likelihood(operator, k_space) if likelihood is None else likelihood
    likelihood.check(k_space, operator.out_shape)
    g, w = likelihood.quadratic(torch.zeros_like(k_space), k_space)
    b, normal = -operator.adjoint(g), _weighted_normal(operator, w)
    start = conjugate_gradients(normal, b, b.ndim, _WARM_STEPS).x
    weight = strength * white_noise_response(operator, b.device) * typical_root(w, operator.forward(start))
    step = 1 / largest_curvature(operator, w)

    # The image lies in one corner of a grid that the wavelets fit on; nothing is measured in the rest.
    wavelets = Wavelets(operator.in_shape)
    image = tuple(slice(n) for n in operator.in_shape)
    shifts = torch.Generator().manual_seed(0)
    axes = tuple(range(b.ndim))
    x = b.new_zeros(wavelets.shape)
    x[image] = start
    z, t = x, 1.0
    for _ in range(iterations):
        descended = z.clone()
        descended[image] -= step * (normal(z[image]) - b)
        shift = torch.randint(wavelets.period, (b.ndim,), generator=shifts).tolist()
        shrunk = wavelets.shrink(descended.roll(shift, axes), step * weight)
        x_next = shrunk.roll([-s for s in shift], axes)
        t_next = (1 + math.sqrt(1 + 4 * t**2)) / 2
        z = x_next + (t - 1) / t_next * (x_next - x)
        x, t = x_next, t_next
    return x[image].clone()


def _weighted_normal(operator: LinearOperator, w: Tensor) -> Map:
    """A^H W A; by the operator's own normal map where all weights are the same."""
    lowest, highest = float(w.min()), float(w.max())
    if lowest == highest:
        return lambda x: highest * operator.normal(x)
    return lambda x: operator.adjoint(w * operator.forward(x))
