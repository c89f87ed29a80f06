"""Scans to reconstruct, from files or simulated, one module a modality."""

import torch

from scoreinv.cases import ct, mri, pet
from scoreinv.cases.case import Case
from scoreinv.config import CTSettings, MRISettings, PETSettings, RunSettings
from scoreinv.operators._devices import on_gpu


def load_case(settings: RunSettings) -> Case:
    """Read or simulate what a run is about, on the CPU, and put it where it is to be computed.

    Raises:
        ImportError: if that is a GPU, and numba-cuda is missing.
        ValueError: if there is no such device, or what the settings name cannot be what they say.
    """
    device = torch.device(settings.device)
    if device.type == "cuda":
        _take(device)
        if not isinstance(settings, MRISettings):
            on_gpu("device", device)
    return _load(settings).to(device)


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


__all__ = ["Case", "load_case"]
