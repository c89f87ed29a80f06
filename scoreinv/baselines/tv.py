"""Total variation: the strongest classical prior for sparse views.

The minimiser is the proximal optimised gradient method in a metric of its own. Two choices carry it:

* The data term is majorised by the diagonal D = A^T W A 1. For entries >= 0 that needs no norm estimate, since
  D^-1 A^T W A has row sums 1, and it follows coverage and weight from voxel to voxel. The spectrum of that matrix falls
  like 1/|f| to about one over the voxels across the image; accelerated steps suffer the square root of that only.
* Each proximal step is a few accelerated projections on the dual, started from the duals of the step before. They cost
  no projection of the data, and with such a start 3 of them do as well as 10.

Of a complex operator the entries can cancel, and D is the largest eigenvalue of A^H W A everywhere.

What a strength means. TV is weighted by lambda = strength sqrt(H), with H = w E||A n||^2 / voxels the mean curvature of
the data term along white noise n, and w the typical weight of a ray: sqrt(w) is averaged over rays in proportion to
their line integrals, so that the many photons that pass beside the patient do not count. As 1 / sqrt(H) is the standard
deviation that the noise of the data would give to a voxel if it were alone, strength counts noise levels. H follows any
rescaling of operator, data, noise or image, and grows with the number of views N, of photons, of pixels per area: more
data, less smoothing. And one strength means the same on all grids: for rays through voxels of edge h,
H = w N h^4 / (pixel area), so that lambda / h^2, the factor of the integral of |grad x| over the volume, is free of h.
For oblong voxels H = w N V sqrt(h_y h_x) / (pixel area) with rays about perpendicular to z, and differences are taken
per unit length of sqrt(h_z sqrt(h_y h_x)), which keeps lambda times the integral as it was.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scoreinv.baselines.checks import check_measurements
from scoreinv.baselines.differences import axis_scales
from scoreinv.baselines.strengths import default_likelihood, largest_curvature, typical_root, white_noise_response
from scoreinv.baselines.tv_step import TVStep
from scoreinv.operators.likelihood import Gaussian, Likelihood
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.solvers import conjugate_gradients

_Penalty = tuple[tuple[float, ...], float, bool]  # scales, weight, nonnegative of `TVStep`
_WARM_STEPS = 5  # conjugate gradients before the first iteration: the coarse structures
# Voxels that hardly any ray crosses, relative to the mean curvature: TV alone fills them, and 1/D must stay finite.
_LEAST_CURVATURE = 1e-3


def tv(
    operator: LinearOperator,
    measurements: Tensor,
    *,
    likelihood: Likelihood | None = None,
    strength: float = 0.5,
    iterations: int = 100,
    nonnegative: bool | None = None,
) -> Tensor:
    """min_x -log p(y | A x) + lambda sum_voxels |grad x|: maximum likelihood with isotropic total variation.

    Real images are kept >= 0; of complex ones |grad x| takes both components, so that phase costs as size does.
    The negative log-likelihood enters by its quadratic, sum g (l - l_0) + w (l - l_0)^2 / 2 at l_0 = A x_0. For a
    Gaussian that is the likelihood itself; for others it is renewed twice, at the warm start and after a fifth of the
    iterations.

    Args:
        operator: A, real with entries >= 0, such as ConeBeamCT, or complex, such as CartesianMRI; image of any number
            of axes. Voxels are cubes unless it has a `volume` that says otherwise.
        measurements: y, operator.out_shape: line integrals or k-space for a Gaussian, counts for TransmissionPoisson.
        likelihood: noise of the data; None means Gaussian with sigma = 0.01 rms(y), of k-space by how much the
            coils contradict each other (`k_space_noise`).
        strength: of the smoothing, in units of the noise, dimensionless; see the top of this module.
        iterations: one forward and one adjoint each, besides some ten for the start.
        nonnegative: keep x >= 0; None does so with real images.

    Returns:
        operator.in_shape; 1/mm for CT, unit of the k-space for MRI.

    Raises:
        TypeError: for measurements of another dtype, or complex images that are to be nonnegative.
        ValueError: for measurements of another shape, NaN or Inf, or an option out of its range.

    Rudin, Osher and Fatemi 1992, Physica D 60:259. POGM: Taylor, Hendrickx and Glineur 2017, SIAM J. Optim. 27:1283,
    which needs about 0.7 times the iterations of FISTA; restart: Kim and Fessler 2018, J. Optim. Theory Appl. 178:240;
    diagonal majoriser: Erdogan and Fessler 1999, Phys. Med. Biol. 44:2835.
    """
    if operator.in_dtype.is_complex and nonnegative:
        raise TypeError(f"tv: images of {operator} are complex, and cannot be kept nonnegative; leave that out")
    if not strength > 0 or iterations < 1:
        raise ValueError(f"tv: strength {strength}, iterations {iterations}; expected strength > 0 and iterations >= 1")
    check_measurements("tv", operator, measurements)
    likelihood = default_likelihood(operator, measurements) if likelihood is None else likelihood
    nonnegative = not operator.in_dtype.is_complex if nonnegative is None else nonnegative
    likelihood.check(measurements, operator.out_shape)

    x = measurements.new_zeros(operator.in_shape, dtype=operator.in_dtype)
    g, w = likelihood.quadratic(operator.forward(x), measurements)
    x = _warm_start(operator, g, w)
    unit = white_noise_response(operator, measurements.device)
    first = -(-iterations // 5)
    for steps in (iterations,) if isinstance(likelihood, Gaussian) else (first, iterations - first):
        expected = operator.forward(x)
        g, w = likelihood.quadratic(expected, measurements)
        weight = strength * unit * typical_root(w, expected)
        x = _minimise(operator, g, w, x, expected, (axis_scales(operator), weight, nonnegative), steps)
    return x


def _minimise(
    operator: LinearOperator, g: Tensor, w: Tensor, x: Tensor, expected: Tensor, penalty: _Penalty, steps: int
) -> Tensor:
    """POGM on sum g (A x - expected) + w (A x - expected)^2 / 2 + lambda TV(x), from the x where A x = expected."""
    D = _majoriser(operator, w, x)
    prox = TVStep(D, *penalty, x.dtype)
    z, omega, composite, theta, gamma = x, x, x, 1.0, 1.0
    for _ in range(steps):
        slope = operator.adjoint(g + w * (operator.forward(x) - expected)) / D
        theta_next = (1 + math.sqrt(1 + 4 * theta**2)) / 2
        gamma_next = (2 * theta + theta_next - 1) / theta_next
        # Taylor et al. 2017, algorithm POGM; D takes the place of the Lipschitz constant.
        omega_next = x - slope
        z_next = (
            omega_next
            + (theta - 1) / theta_next * (omega_next - omega)
            + theta / theta_next * (omega_next - x)
            + (theta - 1) / (gamma * theta_next) * (z - x)
        )
        x_next = prox(z_next, gamma_next)
        # Where x would go by the gradient of the whole objective; momentum that points against it begins anew.
        composite_next = omega_next + (x_next - z_next) / gamma_next
        if float(torch.sum((x - composite_next).conj() * D * (composite_next - composite)).real) > 0:
            theta_next = 1.0
        x, z, omega, composite = x_next, z_next, omega_next, composite_next
        theta, gamma = theta_next, gamma_next
    return x


def _warm_start(operator: LinearOperator, g: Tensor, w: Tensor) -> Tensor:
    """A few conjugate gradients on the data term from x = 0, where its gradient is g."""
    return conjugate_gradients(
        lambda x: operator.adjoint(w * operator.forward(x)), -operator.adjoint(g), len(operator.in_shape), _WARM_STEPS
    ).x


def _majoriser(operator: LinearOperator, w: Tensor, x: Tensor) -> Tensor:
    """Diagonal D >= A^H W A, (*image), real and positive."""
    if operator.in_dtype.is_complex or operator.out_dtype.is_complex:
        return torch.full_like(x.real, max(largest_curvature(operator, w), torch.finfo(x.real.dtype).tiny))
    D = operator.adjoint(w * operator.forward(torch.ones_like(x)))
    return D.clamp(min=max(_LEAST_CURVATURE * float(D.mean()), torch.finfo(D.dtype).tiny))
