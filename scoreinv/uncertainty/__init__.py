"""What samples of a posterior are good for: maps, regions, detection, and whether their spread can be believed."""

from scoreinv.uncertainty.calibration import Calibration, Performance
from scoreinv.uncertainty.coverage import LEVELS, Observed, calibration_error, coverage, observe, patient, sharpness
from scoreinv.uncertainty.detection import ROC, roc
from scoreinv.uncertainty.intervals import deviations, exceedance, factor, quantiles
from scoreinv.uncertainty.misfit import Misfit, misfit
from scoreinv.uncertainty.moments import Moments
from scoreinv.uncertainty.null_space import Hallucination, Split, hallucination, split, worth
from scoreinv.uncertainty.regions import Estimate, ball, contrasts, estimate, region_means
from scoreinv.uncertainty.tally import Tally

__all__ = [
    "LEVELS",
    "ROC",
    "Calibration",
    "Estimate",
    "Hallucination",
    "Misfit",
    "Moments",
    "Observed",
    "Performance",
    "Split",
    "Tally",
    "ball",
    "calibration_error",
    "contrasts",
    "coverage",
    "deviations",
    "estimate",
    "exceedance",
    "factor",
    "hallucination",
    "misfit",
    "observe",
    "patient",
    "quantiles",
    "region_means",
    "roc",
    "sharpness",
    "split",
    "worth",
]
