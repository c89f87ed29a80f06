"""How a state at one noise level becomes one at the next: one formula a file."""

from scoreinv.samplers.steppers.ancestral import Ancestral
from scoreinv.samplers.steppers.base import Denoise, Stepper
from scoreinv.samplers.steppers.ddim import DDIM
from scoreinv.samplers.steppers.dpm_solver import DPMSolver2M
from scoreinv.samplers.steppers.heun import Heun
from scoreinv.samplers.steppers.predictor_corrector import PredictorCorrector
from scoreinv.samplers.steppers.reverse_sde import ReverseSDE
from scoreinv.samplers.steppers.smc import TwistedSMC

__all__ = [
    "DDIM",
    "Ancestral",
    "DPMSolver2M",
    "Denoise",
    "Heun",
    "PredictorCorrector",
    "ReverseSDE",
    "Stepper",
    "TwistedSMC",
]
