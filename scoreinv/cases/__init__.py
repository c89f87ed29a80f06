"""Scans to reconstruct, from files or simulated, one module a modality."""

from dataclasses import replace

import torch

from scoreinv.cases import ct, mri, pet
from scoreinv.cases.case import Case
from scoreinv.config import CTSettings, MRISettings, PETSettings, RunSettings
from scoreinv.operators import PET, ConeBeamCT, ConeBeamGeometry, LinearOperator, ParallelBeamCT, Volume
from scoreinv.operators._devices import on_gpu
from scoreinv.operators.tigre_projector import import_tigre


def load_case(settings: RunSettings) -> Case:
    """Read or simulate what a run is about, on the CPU, and put it where it is to be computed.

    Data of a backend that takes those of the CPU alone stay there, and the prior alone goes to a GPU.

    Raises:
        ImportError: if that is a GPU, and numba-cuda is missing, or for a backend or a method's program that is not
            installed.
        ValueError: if there is no such device, no GPU for a backend or a method that needs one, or what the settings
            name cannot be what they say.
    """
    check_here(settings)
    device, backend, case = torch.device(settings.device), _backend(settings), _load(settings)
    if backend is not None and backend != "auto":
        case = replace(case, operator=_by(backend, case.operator))
        if case.operator.device is not None and device.type != case.operator.device.type:
            return replace(case, prior_device=device)
    return case.to(device)


def check_here(settings: RunSettings) -> None:
    """Raise as `load_case` does for a device, a backend or a method's program that is not here; nothing is read."""
    device, backend = torch.device(settings.device), _backend(settings)
    if device.type == "cuda":
        _take(device)
        if backend == "auto":
            on_gpu("device", device)
    if backend is not None and backend != "auto":
        geometry = ConeBeamGeometry.circular(2.0, 3.0, (1, 1), (1.0, 1.0), [0.0])
        _by(backend, ConeBeamCT(geometry, Volume((1, 1, 1), (1.0, 1.0, 1.0))))
    for method in settings.methods:
        if method.startswith("tigre_"):
            try:
                import_tigre(f"methods: {method}", "fdk, sart or asd_pocs")
            except RuntimeError as error:
                raise ValueError(str(error)) from None


def _backend(settings: RunSettings) -> str | None:
    """Of line integrals; None where there are none."""
    return settings.backend if isinstance(settings, CTSettings | PETSettings) else None


def _by(backend: str, operator: LinearOperator) -> LinearOperator:
    if not isinstance(operator, ConeBeamCT | ParallelBeamCT | PET):
        raise ValueError(
            f"backend: {backend}, but the lines of {operator} are followed by numba's kernels where the data are; "
            "expected auto, or lines.histogram=true"
        )
    try:
        return operator.with_backend(backend)
    except RuntimeError as error:
        raise ValueError(f"backend: {error}") from None


def _take(device: torch.device) -> None:
    """Make the GPU that of this process; "cuda" is the one it has already, in a batch that of its rank."""
    number = torch.cuda.device_count()
    if (device.index or 0) >= number:
        known = f"cuda:0 to cuda:{number - 1}" if number else "a torch built for CUDA"
        raise ValueError(f"device: {device}, but torch finds {number} GPUs; expected cpu, or {known}")
    if device.index is not None:
        torch.cuda.set_device(device)


def _load(settings: RunSettings) -> Case:
    if isinstance(settings, CTSettings):
        return ct.load(settings)
    if isinstance(settings, MRISettings):
        return mri.load(settings)
    if isinstance(settings, PETSettings):
        return pet.load(settings)
    raise TypeError(f"load_case: settings are {type(settings).__name__}, expected those of a modality")


__all__ = ["Case", "check_here", "load_case"]
