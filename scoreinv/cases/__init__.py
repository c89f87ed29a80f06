"""Scans to reconstruct, from files or simulated, one module a modality."""

import torch

from scoreinv.cases import ct, mri, pet
from scoreinv.cases.case import Case
from scoreinv.config import CTSettings, MRISettings, PETSettings, RunSettings


def load_case(settings: RunSettings) -> Case:
    """Read or simulate what a run is about, on the CPU, and put it where it is to be computed.

    Raises:
        ValueError: if there is no such device, or what the settings name cannot be what they say.
    """
    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device: {settings.device}, but torch finds no GPU; expected cpu, or a torch built for CUDA")
    return _load(settings).to(settings.device)


def _load(settings: RunSettings) -> Case:
    if isinstance(settings, CTSettings):
        return ct.load(settings)
    if isinstance(settings, MRISettings):
        return mri.load(settings)
    if isinstance(settings, PETSettings):
        return pet.load(settings)
    raise TypeError(f"load_case: settings are {type(settings).__name__}, expected those of a modality")


__all__ = ["Case", "load_case"]
