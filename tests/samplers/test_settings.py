"""Settings out of their range are refused when a part is made, saying what was expected."""

import math

import pytest

from scoreinv.samplers import DDIM, Heun, PredictorCorrector, ReverseSDE, TVz, TwistedSMC
from scoreinv.samplers.guidance import DAPS, DDS, DPS, MBIR, MCG, POCS, DiffPIR, DPSShift, LoRA, PiGDM, PnPADMM


@pytest.mark.parametrize(
    ("part", "settings", "message"),
    [
        (DDS, {"iterations": 0}, "DDS: iterations is 0, expected at least 1"),
        (DDS, {"tolerance": math.nan}, "DDS: tolerance is nan, expected 0 to 1"),
        (DDS, {"gamma": 0.0}, "DDS: gamma is 0.0, expected more than 0"),
        (DDS, {"gamma": math.inf, "tune": "sure"}, "DDS: tune='sure' scales 1 / r.2, which is 0 at gamma = inf"),
        (DDS, {"tune": "gcv"}, "DDS: tune is 'gcv', expected None or one of"),
        (LoRA, {"rank": 0}, "expected rank, steps and slices of at least 1"),
        (DPS, {"strength": -1.0}, "DPS: strength is -1.0, expected at least 0"),
        (DPSShift, {"zeta": -1.0}, "DPSShift: zeta is -1.0, expected at least 0"),
        (PiGDM, {"covariance": "full"}, "PiGDM: covariance is 'full', expected 'isotropic' or 'jacobian'"),
        (PiGDM, {"iterations": 0}, "PiGDM: iterations is 0, expected at least 1"),
        (DiffPIR, {"strength": 0.0}, "DiffPIR: strength is 0.0, expected more than 0"),
        (DiffPIR, {"tolerance": 2.0}, "DiffPIR: tolerance is 2.0, expected 0 to 1"),
        (PnPADMM, {"iterations": 0}, "PnPADMM: iterations is 0, expected at least 1"),
        (DAPS, {"ode_steps": 0}, "DAPS: ode_steps is 0, expected at least 1"),
        (POCS, {"relaxation": 1.5}, "POCS: relaxation is 1.5, expected 0 to 1"),
        (MCG, {"strength": -0.1}, "MCG: strength is -0.1, expected at least 0"),
        (MCG, {"last_relaxation": -0.1}, "MCG: last_relaxation is -0.1, expected 0 to 1"),
        (MBIR, {"norm": 0.0}, "MBIR: norm is 0.0, expected more than 0"),
        (TVz, {"strength": -1.0}, "TVz: strength is -1.0, expected at least 0"),
        (TVz, {"rho": 0.0}, "TVz: rho is 0.0, expected more than 0"),
        (DDIM, {"eta": 1.5}, "DDIM: eta is 1.5"),
        (ReverseSDE, {"kind": "subvp"}, "ReverseSDE: kind is 'subvp', expected 've' or 'vp'"),
        (PredictorCorrector, {"snr": 0.0}, "PredictorCorrector: snr is 0.0"),
        (PredictorCorrector, {"snr": math.nan}, "PredictorCorrector: snr is nan"),
        (Heun, {"churn": 0.5}, "Heun: churn is 0.5, expected 0 to sqrt"),
        (Heun, {"churn_range": (2.0, 1.0)}, r"Heun: churn_range is \(2.0, 1.0\), expected 0 <= lowest"),
        (Heun, {"noise_factor": 0.0}, "Heun: noise_factor is 0.0, expected more than 0"),
        (TwistedSMC, {"particles": 0}, "TwistedSMC: particles is 0, expected at least 1"),
        (TwistedSMC, {"threshold": 2.0}, "TwistedSMC: threshold is 2.0, expected 0 to 1"),
    ],
)
def test_refusals(part, settings, message):
    with pytest.raises(ValueError, match=message):
        part(**settings)
