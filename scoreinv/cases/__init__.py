"""Scans to reconstruct, from files or simulated, one module a modality."""

from scoreinv.cases import ct, mri, pet
from scoreinv.cases.case import Case
from scoreinv.config import CTSettings, MRISettings, PETSettings, RunSettings


def load_case(settings: RunSettings) -> Case:
    """Read or simulate what a run is about."""
    if isinstance(settings, CTSettings):
        return ct.load(settings)
    if isinstance(settings, MRISettings):
        return mri.load(settings)
    if isinstance(settings, PETSettings):
        return pet.load(settings)
    raise TypeError(f"load_case: settings are {type(settings).__name__}, expected those of a modality")


__all__ = ["Case", "load_case"]
