"""What a method's name stands for: guidance, stepper, schedule and coupling of each.

`dds`, `dps`, `pigdm` are this package's forms, whose strength follows from the noise of data and state. Names with a
year are the published settings, constants converted to operators of any scale; they need the published number of steps.
`dds` samples the posterior; `dds-mean` spreads less and comes nearer to the posterior's mean with a single sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from scoreinv.priors.base import Prior
from scoreinv.samplers import schedules
from scoreinv.samplers.coupling import RDPz, TVz
from scoreinv.samplers.guidance import (
    DAPS,
    DDS,
    DPS,
    MAPEM,
    MBIR,
    MCG,
    POCS,
    DiffPIR,
    DPSShift,
    Guidance,
    PiGDM,
    PnPADMM,
)
from scoreinv.samplers.steppers import DDIM, Ancestral, PredictorCorrector, Stepper, TwistedSMC

Schedule = Callable[[int, Prior], Tensor]


def edm(highest: float = 10.0, lowest: float = 0.02) -> Schedule:
    """`schedules.edm` over a range in units of the prior's data_std, as far as the prior knows it."""
    return lambda steps, prior: schedules.edm(
        steps, min(highest * prior.data_std, prior.sigma_max), max(lowest * prior.data_std, prior.sigma_min)
    )


def ve(sigma_max: float = 378.0, sigma_min: float = 0.01) -> Schedule:
    """`schedules.geometric` over a range, as far as the prior knows it."""
    return lambda steps, prior: schedules.geometric(
        steps, min(sigma_max, prior.sigma_max), max(sigma_min, prior.sigma_min)
    )


def vp(steps: int, prior: Prior) -> Tensor:
    """`schedules.vp` with linear betas, as far as the prior knows its levels."""
    return schedules.vp(steps, None, prior.sigma_max, prior.sigma_min)


STANDARD = edm()
# DiffusionMBIR's rho = 10 and threshold 0.004 of images in [0, 1], which DDS has taken over.
PUBLISHED = TVz(strength=0.016, rho=10.0)


@dataclass(frozen=True)
class Preset:
    """A sampler by parts.

    Attributes:
        guidance, stepper: its parts.
        schedule: from number of steps and prior to noise levels.
        coupling: for volumes of cubes under a prior of slices, in place of the default.
    """

    guidance: Guidance
    stepper: Stepper
    schedule: Schedule = STANDARD
    coupling: TVz | RDPz | None = None


METHODS = {
    "dds": Preset(DDS(iterations=15, tolerance=1e-2), DDIM(eta=1.0)),
    "dds-mean": Preset(DDS(iterations=15, tolerance=1e-2), DDIM(eta=1.0, split="dds"), edm(2.0)),
    "dps": Preset(DPS(), DDIM(eta=1.0)),
    "pigdm": Preset(PiGDM("jacobian"), DDIM(eta=1.0)),
    "mcg": Preset(MCG(), Ancestral()),
    "diffpir": Preset(DiffPIR(), DDIM(eta=math.sqrt(0.1), split="dds")),
    "daps": Preset(DAPS(), DDIM(eta=1.0, split="dds")),
    "pocs": Preset(POCS(), PredictorCorrector()),
    "mbir": Preset(MBIR(), PredictorCorrector(), coupling=PUBLISHED),
    # Chosen on procedural heads and bodies: less slack and evening out leave lesions flat (3 and 0.32: a tenth less
    # contrast, 0.3 dB better at few counts), more of both blur heads; so do fewer sub-iterations, and more fit noise.
    "map-em": Preset(MAPEM(16, slack=4.0), DDIM(eta=1.0, split="dds"), edm(2.0), TVz(0.48)),
    "pnp": Preset(PnPADMM(), DDIM(), edm(1.0)),
    "smc": Preset(DPS(), TwistedSMC()),
    "dps-2023": Preset(DPSShift(), Ancestral(), vp),
    # The published gamma = 1 goes with an operator of norm 1 for MRI, of ||A^T A|| about 400 for CT.
    "dds-2024": Preset(DDS(5, gamma=400.0, keep_noise=True), DDIM(0.85, "dds"), vp),
    "dds-2024-mri": Preset(DDS(5, gamma=1.0, keep_noise=True), DDIM(0.85, "dds"), vp),
    "dds-2024-3d": Preset(DDS(5, gamma=400.0, keep_noise=True), DDIM(0.85, "dds"), vp, PUBLISHED),
    "pigdm-2023": Preset(PiGDM("isotropic"), DDIM(eta=1.0), vp),
    "mcg-2022": Preset(MCG(last_relaxation=0.6), PredictorCorrector(), ve()),
    "score-mri-2022": Preset(POCS(), PredictorCorrector(), ve()),
    "mbir-2023": Preset(MBIR(), PredictorCorrector(), ve(), PUBLISHED),
}
