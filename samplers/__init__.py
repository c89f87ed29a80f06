"""How a posterior is explored: schedules, steppers, guidance, couplings, and the one loop that uses them."""

from scoreinv.samplers import guidance, schedules
from scoreinv.samplers.coupling import Coupling, TVz
from scoreinv.samplers.loop import Diverged, Step, start, walk
from scoreinv.samplers.noise import NoiseSource
from scoreinv.samplers.state import Estimate, Problem, State
from scoreinv.samplers.steppers import DDIM, Stepper

__all__ = [
    "DDIM",
    "Coupling",
    "Diverged",
    "Estimate",
    "NoiseSource",
    "Problem",
    "State",
    "Step",
    "Stepper",
    "TVz",
    "guidance",
    "schedules",
    "start",
    "walk",
]
