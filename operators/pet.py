"""PET: expected coincidences of an activity image, sorted into a sinogram."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from functools import cached_property, partial

import torch
from torch import Tensor

from scoreinv.operators._devices import DEVICES, device_of
from scoreinv.operators.blur import GaussianBlur
from scoreinv.operators.efficiencies import check_attenuated_once, check_no_corrections
from scoreinv.operators.geometry import Volume
from scoreinv.operators.line_transform import LineTransform
from scoreinv.operators.linear import LinearOperator
from scoreinv.operators.lines import LinesOfResponse
from scoreinv.operators.scanner import PETScanner, Sinogram
from scoreinv.operators.streamed import StreamedTransform
from scoreinv.operators.tof import TOF

_DENSEST_BODY = 0.03  # 1/mm at 511 keV; bone has 0.017, and water 0.0096 or, in 1/cm, 0.096
_WIDEST = 1.5  # grid, in diameters of the ring; a voxel for every radial bin makes up to 1.2
_ELEMENTS = 1 << 24  # of measurements at a time for the sensitivity


class PET(LinearOperator):
    """PET: activity (z, y, x) -> expected counts (radial, views, planes[, tof]), without background.

    y = m n a P G x, with G the resolution, P the line integrals in mm (`LineTransform`), a = exp(-P mu) the attenuation
    of a line, n the normalisation, and m the number of pairs of rings that share its plane. Counts have the unit of the
    activity times mm; a scale from activity to counts belongs to the normalisation. Randoms and scatter are the
    likelihood's: `Poisson(background)`.

    Args:
        scanner: where the crystals are.
        volume: the grid of the image.
        attenuation: mu-map (z, y, x) on the same grid, 1/mm; None for none. Its line integrals are taken once, when
            first needed.
        normalisation: efficiencies n >= 0 that multiply, 0 for dead lines; broadcast to (radial, views, planes). Of
            sinograms with a span, the mean over the pairs of a plane.
        resolution_fwhm: of G, mm; one number, or (z, y, x); None for none.
        tof: time-of-flight bins; None for none.
        backend: what computes the line integrals: "numba" on the CPU, "cuda" on an NVIDIA GPU, "auto" by these two,
            where the data are; "streamed" on a GPU for data on the CPU, piece by piece, where they are too large for
            it; or "parallelproj".
        sinogram: which pairs of crystals are lines; all by default.

    Raises:
        ImportError: for backend "parallelproj" without it, or on a GPU without numba-cuda.
        RuntimeError: for backend "cuda" or "streamed" without a GPU.
        TypeError: if attenuation or normalisation are not float32, or tof is no `TOF`.
        ValueError: for an unknown backend, a sinogram larger than the scanner's, shapes that disagree, values that are
            negative, NaN or Inf, a normalisation without a line or of attenuation, a mu-map that can only be in 1/cm,
            or time-of-flight bins that can only be in ps.

    The subset of views and the order of numbers in a sinogram are those of `LinesOfResponse`.
    """

    volume: Volume
    view_axis = 1
    counts = True

    def __init__(
        self,
        scanner: PETScanner,
        volume: Volume,
        attenuation: Tensor | None = None,
        normalisation: Tensor | None = None,
        resolution_fwhm: float | Sequence[float] | None = None,
        tof: TOF | None = None,
        backend: str = "auto",
        sinogram: Sinogram | None = None,
    ) -> None:
        if tof is not None and not isinstance(tof, TOF):
            raise TypeError(
                f"PET: tof is {tof!r}, expected a TOF with its bins; of times in ps TOF.from_times(bins, bin_width, "
                "fwhm) makes one"
            )
        if tof is not None:
            tof.check(2 * scanner.radius)
        widest = max(n * size for n, size in zip(volume.shape[1:], volume.voxel_size[1:], strict=True))
        if widest > _WIDEST * 2 * scanner.radius:
            warnings.warn(
                f"PET: the grid is {widest:.4g} mm wide, the ring {2 * scanner.radius:.4g} mm; nothing is seen outside "
                "of it; are voxel sizes in mm?",
                UserWarning,
                stacklevel=2,
            )
        self.scanner, self.volume, self.tof, self.backend = scanner, volume, tof, backend
        self.lines = LinesOfResponse(scanner, Sinogram() if sinogram is None else sinogram)
        self.attenuation = None if attenuation is None else _checked_attenuation(attenuation, volume)
        self.normalisation = None if normalisation is None else _checked_normalisation(normalisation, self.lines.shape)
        self.blur = None if resolution_fwhm is None else GaussianBlur(volume, resolution_fwhm)
        self._transform = _transform(self.lines, volume, tof, backend)
        self._factors_on: dict[torch.device, Tensor] = {}
        super().__init__(volume.shape, self._transform.out_shape, device=self._transform.device)

    @cached_property
    def factors(self) -> Tensor:
        """m n a of every line, (radial, views, planes), on the CPU."""
        factors = self.lines.multiplicity
        if self.normalisation is not None:
            factors = factors * self.normalisation.cpu()
        if self.attenuation is not None:
            if self.normalisation is not None and self.normalisation.shape == self.lines.shape:
                check_attenuated_once("PET: normalisation", self.normalisation.cpu(), self.transmission)
            factors = factors * self.transmission
        return factors.expand(self.lines.shape)

    @cached_property
    def transmission(self) -> Tensor:
        """a = exp(-P mu) of every line, (radial, views, planes), on the CPU; 1 without attenuation."""
        if self.attenuation is None:
            return torch.ones(()).expand(self.lines.shape)
        integrals = self._transform if self.tof is None else _transform(self.lines, self.volume, None, self.backend)
        return torch.exp(-integrals.forward(self.attenuation.to(self.device or self.attenuation.device))).cpu()

    def normalised(self, normalisation: Tensor) -> PET:
        """The same operator with other efficiencies n; line integrals of the mu-map are not taken again.

        Args:
            normalisation: as of the operator.

        Raises:
            TypeError, ValueError: as the operator.
        """
        other = copy.copy(self)
        other.normalisation = _checked_normalisation(normalisation, self.lines.shape)
        vars(other).pop("factors", None)
        other._factors_on, other._norm = {}, None
        return other

    def with_backend(self, backend: str) -> PET:
        """The same operator, its line integrals by another backend. Raises as the operator."""
        other = copy.copy(self)
        other.backend, other._norm = backend, None
        other._transform = _transform(self.lines, self.volume, self.tof, backend)
        other.device = other._transform.device
        return other

    def subset(self, i: int, n: int) -> PET:
        """The operator of views i, i + n, i + 2n, ..., of measurements `y[:, i::n]`."""
        part = copy.copy(self)
        part.lines = self.lines.subset(i, n)
        part.factors, part.transmission = self.factors[:, i::n], self.transmission[:, i::n]
        part._factors_on = {device: factors[:, i::n] for device, factors in self._factors_on.items()}
        part._transform = _transform(part.lines, self.volume, self.tof, self.backend)
        part.out_shape = part._transform.out_shape
        part._norm = None
        return part

    def sensitivity(self, device: torch.device | str | None = None) -> Tensor:
        """A^T 1, (z, y, x): the chance that a decay in a voxel is counted, up to scale. A few views at a time."""
        parts = min(self.out_shape[1], -(-math.prod(self.out_shape) // _ELEMENTS))
        device = self._place(device)
        result = torch.zeros(self.in_shape, device=device)
        for i in range(parts):
            part = self.subset(i, parts) if parts > 1 else self
            result += part.adjoint(torch.ones(part.out_shape, device=device))
        return result

    def _apply(self, x: Tensor) -> Tensor:
        return self._scaled(self._transform.forward(x if self.blur is None else self.blur.forward(x)))

    def _adjoint(self, y: Tensor) -> Tensor:
        x = self._transform.adjoint(self._scaled(y))
        return x if self.blur is None else self.blur.adjoint(x)

    def _scaled(self, y: Tensor) -> Tensor:
        if y.device not in self._factors_on:  # moved once
            self._factors_on[y.device] = self.factors.to(y.device)
        factors = self._factors_on[y.device]
        return y * (factors if self.tof is None else factors[..., None])

    def _hint(self, what: str, shape: tuple[int, ...]) -> str:
        if what == "image":
            return "; axes are (z, y, x), resample the image or build the Volume for it"
        axes = "(radial, views, planes)" if self.tof is None else "(radial, views, planes, tof)"
        return f"; axes are {axes}, pass the Sinogram they were sorted by"


def _transform(lines: LinesOfResponse, volume: Volume, tof: TOF | None, backend: str) -> LinearOperator:
    if backend not in DEVICES:
        raise ValueError(f"PET: backend is {backend!r}, expected one of {', '.join(map(repr, DEVICES))}")
    if backend == "parallelproj":
        from scoreinv.operators._parallelproj import ParallelprojTransform

        return ParallelprojTransform("PET", lines, volume, PET.view_axis, tof)
    device = device_of("PET", backend)
    if backend == "streamed":
        out_shape = lines.shape if tof is None else (*lines.shape, tof.bins)
        return StreamedTransform(partial(_part, lines, tof), volume, out_shape, PET.view_axis)
    return LineTransform(lines, volume, tof, device)


def _part(lines: LinesOfResponse, tof: TOF | None, slab: Volume, i: int, n: int) -> LinearOperator:
    return LineTransform(lines.subset(i, n), slab, tof)


def _checked_attenuation(attenuation: Tensor, volume: Volume) -> Tensor:
    _check_tensor(attenuation, "attenuation")
    if tuple(attenuation.shape) != volume.shape:
        raise ValueError(
            f"PET: attenuation has shape {tuple(attenuation.shape)}, expected (z, y, x) = {volume.shape}, a mu-map in "
            "1/mm on the grid of the image; attenuation factors of lines go into normalisation"
        )
    _check_values(attenuation, "attenuation")
    # The mean weighted by the values themselves: faint air around the patient does not hide what is in it.
    total = float(attenuation.double().sum())
    typical = float(attenuation.double().square().sum()) / total if total else 0.0
    if typical > _DENSEST_BODY:
        raise ValueError(
            f"PET: attenuation is about {typical:.3g} in the patient, expected 1/mm at 511 keV, about 0.01; divide a "
            "mu-map in 1/cm by 10"
        )
    return attenuation


def _checked_normalisation(normalisation: Tensor, shape: tuple[int, int, int]) -> Tensor:
    _check_tensor(normalisation, "normalisation")
    aligned = zip(normalisation.shape[::-1], shape[::-1], strict=False)
    if normalisation.ndim > 3 or any(n not in (1, m) for n, m in aligned):
        raise ValueError(
            f"PET: normalisation has shape {tuple(normalisation.shape)}, expected one that broadcasts to (radial, "
            f"views, planes) = {shape}"
        )
    _check_values(normalisation, "normalisation")
    if not bool(normalisation.any()):
        raise ValueError("PET: normalisation is 0 everywhere, expected efficiencies > 0 of all lines that are not dead")
    if normalisation.shape == shape:
        check_no_corrections("PET: normalisation", normalisation)
    return normalisation


def _check_tensor(values: object, what: str) -> None:
    if not isinstance(values, Tensor):
        raise TypeError(f"PET: {what} is {type(values).__name__}, expected a tensor; use torch.from_numpy of an array")


def _check_values(values: Tensor, what: str) -> None:
    if values.dtype != torch.float32:
        raise TypeError(f"PET: {what} is {values.dtype}, expected torch.float32; convert with .float()")
    if not bool((torch.isfinite(values) & (values >= 0)).all()):
        raise ValueError(f"PET: {what} holds negative values, NaN or Inf, expected finite values >= 0")
