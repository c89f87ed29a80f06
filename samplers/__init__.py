"""How a posterior is explored: schedules, steppers, guidance, couplings, and the one loop that uses them."""

from scoreinv.samplers import guidance, schedules
from scoreinv.samplers.coupling import Coupling, LinearCoupling, RDPz, SmoothCoupling, TVz
from scoreinv.samplers.loop import Diverged, Step, start, walk
from scoreinv.samplers.noise import Noise, NoiseSource
from scoreinv.samplers.presets import METHODS, Preset
from scoreinv.samplers.state import Estimate, Problem, State
from scoreinv.samplers.steppers import (
    DDIM,
    Ancestral,
    DPMSolver2M,
    Heun,
    PredictorCorrector,
    ReverseSDE,
    Stepper,
    TwistedSMC,
)

__all__ = [
    "DDIM",
    "METHODS",
    "Ancestral",
    "Coupling",
    "DPMSolver2M",
    "Diverged",
    "Estimate",
    "Heun",
    "LinearCoupling",
    "Noise",
    "NoiseSource",
    "PredictorCorrector",
    "Preset",
    "Problem",
    "RDPz",
    "ReverseSDE",
    "SmoothCoupling",
    "State",
    "Step",
    "Stepper",
    "TVz",
    "TwistedSMC",
    "guidance",
    "schedules",
    "start",
    "walk",
]
