"""deepinv's physics and denoisers here, operators and priors of ours there (deepinv 0.5).

Axes. deepinv's arrays are (batch, channels, *image). An image of ours has no channel axis, so one of length one is put
in or taken out. deepinv's samplers and networks are real (its diffusion casts every image to float32), and its MRI
keeps real and imaginary part in two channels: complex images and measurements cross the bridge in that form, and both
sides' methods work on them. The noise level is then per real component on both sides. A complex *tensor* in deepinv is
another matter: its noise has standard deviation sigma / sqrt(2) per real component.

Units. deepinv's denoisers are asked in the units of the image, its samplers expect values of 0 to 1. So a prior is
handed over with its intensity map inside, and for a scanner whose images are not of order one both are rescaled:
with mu from 0 to 0.04/mm, `to_deepinv(0.04 * operator)` and `prior_to_deepinv(prior, IntensityMap(0.5, 0.5))`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scoreinv._torchvision import declare_missing_operators
from scoreinv.interop._deepinv_denoisers import DenoiserPrior, PriorDenoiser
from scoreinv.interop._deepinv_layout import Layout
from scoreinv.interop._deepinv_physics import DeepinvOperator
from scoreinv.operators import Gaussian, Likelihood, LinearOperator, TransmissionPoisson
from scoreinv.priors import IntensityMap, Prior

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


def import_deepinv() -> ModuleType:
    """The deepinv module, also beside a CPU torch and a torchvision built for CUDA (see `scoreinv._torchvision`).

    Raises:
        ImportError: if it is not installed.
    """
    declare_missing_operators()
    try:
        import deepinv
    except ModuleNotFoundError as error:
        if error.name != "deepinv":
            raise
        raise ImportError(
            "deepinv is not installed; pip install 'scoreinv[deepinv]', with the torch you have pinned "
            "(pip install -c constraints.txt ...), or its dependency torchvision may replace it by another build"
        ) from None
    module: ModuleType = deepinv
    return module


def to_deepinv(operator: LinearOperator, likelihood: Likelihood | None = None) -> LinearPhysics:
    """An operator and its noise model as a `deepinv.physics.LinearPhysics`.

    Images are (batch, 1, *in_shape), or (batch, 2, *in_shape) if complex, measurements likewise; of any float dtype,
    computed in the operator's own.

    Args:
        operator: on the device where deepinv is to compute.
        likelihood: a Gaussian of one sigma and no mask; None for a physics without noise.

    Raises:
        ImportError: if deepinv is not installed.
        ValueError: if the likelihood has no counterpart in deepinv.
    """
    physics = import_deepinv().physics
    noise = physics.ZeroNoise() if likelihood is None else physics.GaussianNoise(_sigma(likelihood))
    image = Layout.ours(operator.in_shape, operator.in_dtype)
    data = Layout.ours(operator.out_shape, operator.out_dtype)

    def A(x: Tensor, **_: Any) -> Tensor:
        return data.pack(operator.forward(image.unpack(x, f"{operator} in deepinv: image"))).to(x.dtype)

    def A_adjoint(y: Tensor, **_: Any) -> Tensor:
        return image.pack(operator.adjoint(data.unpack(y, f"{operator} in deepinv: measurements"))).to(y.dtype)

    return physics.LinearPhysics(
        A=A,
        A_adjoint=A_adjoint,
        img_size=image.packed_shape,
        noise_model=noise,
        device=operator.device or torch.device("cpu"),
    )


def from_deepinv(
    physics: LinearPhysics,
    image_shape: Sequence[int],
    complex_channels: bool | None = None,
    dtype: torch.dtype = torch.float32,
) -> DeepinvOperator:
    """A linear physics of deepinv as an operator, its adjoint put to the test.

    Args:
        physics: its noise model is left behind; see `likelihood_from_deepinv`.
        image_shape: of one image in deepinv, (channels, *image), like its `img_size`. One channel is dropped from the
            operator's images, several stay as their first axis.
        complex_channels: whether the two channels are real and imaginary part, which makes the operator's images
            complex; None means: if the physics is deepinv's MRI.
        dtype: of the tensors that the physics is given.

    Raises:
        ImportError: if deepinv is not installed.
        TypeError: if the physics is not a `deepinv.physics.LinearPhysics`.
        ValueError: if it has no adjoint, is not linear in truth, gives a list of measurements, holds parameters for a
            batch, or does not take images of this shape.

    Warns:
        UserWarning: with the number, if the adjoint differs from the transpose by more than 1e-4.
    """
    library = import_deepinv().physics
    if not isinstance(physics, library.LinearPhysics):
        raise TypeError(
            f"from_deepinv: {type(physics).__name__} is not a deepinv.physics.LinearPhysics; expected a linear map "
            "with A and A_adjoint; no data step here is for nonlinear ones"
        )
    if complex_channels is None:
        complex_channels = isinstance(physics, library.MRI | library.MultiCoilMRI)
    return DeepinvOperator(physics, image_shape, complex_channels, dtype)


def likelihood_from_deepinv(physics: LinearPhysics, complex_tensors: bool = False) -> Gaussian:
    """The noise model of a physics; Gaussian noise of one sigma.

    Args:
        physics: whose `noise_model` is asked.
        complex_tensors: whether its measurements are tensors of complex dtype, whose noise deepinv spreads over both
            parts; not so for MRI, whose channels are real.

    Raises:
        ImportError: if deepinv is not installed.
        ValueError: if the noise is of another kind, or differs within a batch.
    """
    noise = physics.noise_model
    if not isinstance(noise, import_deepinv().physics.GaussianNoise):
        raise ValueError(
            f"likelihood_from_deepinv: noise model is {type(noise).__name__}, expected GaussianNoise; choose a "
            "scoreinv.operators.Likelihood for these data yourself"
        )
    if noise.sigma.numel() != 1:
        raise ValueError(
            f"likelihood_from_deepinv: sigma has shape {tuple(noise.sigma.shape)}, one for each item of a batch, "
            "expected a single one; reconstruct data sets of different noise one by one"
        )
    return Gaussian(float(noise.sigma) / (math.sqrt(2) if complex_tensors else 1))


def prior_from_deepinv(
    denoiser: nn.Module,
    ndim: int = 2,
    data_std: float = 0.5,
    sigma_range: tuple[float, float] = (0.0, math.inf),
    intensity: IntensityMap | None = None,
    channels: int = 1,
) -> DenoiserPrior:
    """A denoiser of deepinv, called `denoiser(x, sigma)` with x (batch, channels, *image), as a prior.

    Args:
        denoiser: of images between 0 and 1, as deepinv's are; network units are its units.
        ndim: spatial axes of its images.
        data_std: standard deviation of clean images, its units.
        sigma_range: noise levels it is good for, its units; deepinv's classical denoisers know no limit, its networks
            document the range they were trained on.
        intensity: from its units to the image's; None if they are the same.
        channels: 1, and a complex image has its parts denoised apart, or 2 for a denoiser of complex images, which
            sees them as two channels.

    Raises:
        ValueError: if ndim or channels is none of these.
    """
    return DenoiserPrior(denoiser, ndim, data_std, sigma_range, intensity, channels)


def prior_to_deepinv(
    prior: Prior, intensity: IntensityMap | None = None, complex_channels: bool = False
) -> PriorDenoiser:
    """A prior as a denoiser that deepinv's algorithms (DPS, DiffPIR, plug and play) accept.

    Args:
        prior: of 2D or 3D images; a 2D one sees volumes (batch, channels, z, y, x) slice by slice.
        intensity: from network units to those of the images it is given; None means the prior's own map.
        complex_channels: whether two channels are real and imaginary part of an image to be denoised as a complex one;
            otherwise every channel is denoised on its own.
    """
    return PriorDenoiser(prior, intensity, complex_channels)


def _sigma(likelihood: Likelihood) -> float:
    """The sigma of a Gaussian that deepinv can express; raises ValueError for all others."""
    if isinstance(likelihood, TransmissionPoisson):
        raise ValueError(
            "to_deepinv: TransmissionPoisson is exponential in A x, deepinv's physics are linear in it up to the noise "
            "and its LogPoissonNoise is for data after the logarithm; expected Gaussian, of log(photons / counts)"
        )
    if not isinstance(likelihood, Gaussian):
        raise ValueError(f"to_deepinv: {likelihood} has no counterpart in deepinv; expected Gaussian(sigma) or None")
    if likelihood.mask is not None:
        raise ValueError("to_deepinv: deepinv's noise has no mask; leave the masked data out of operator and data")
    sigma = torch.as_tensor(likelihood.sigma)
    if sigma.numel() != 1:
        raise ValueError(
            f"to_deepinv: {likelihood} has a sigma of shape {tuple(sigma.shape)}, deepinv's GaussianNoise one for all "
            "data of an item; divide operator and data by it and use Gaussian(1.0)"
        )
    return float(sigma)
