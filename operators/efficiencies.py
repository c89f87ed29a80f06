"""Whether efficiencies of lines are what they are taken for.

They multiply what is expected. Files that are mistaken for them hold attenuation factors: those of transmission,
exp(-P mu), multiply as well, and are efficiencies unless a mu-map says the same again; those of correction, exp(P mu),
divide. Beside the patient both are 1. From values alone only the latter can be told, since nothing else is 1 on many
lines and greater on all others. Where there is a mu-map, its line integrals tell both: what a scanner's crystals detect
knows nothing of the patient.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MOST = 1e3
_BESIDE = 0.01  # of all lines miss the patient, at least
_NOTICEABLE = 1.5  # exp(P mu) of some line through any patient, at least
_ALIKE = 0.5  # slope of log n along P mu: 1 in correction factors, -1 in transmission, near 0 in efficiencies
_TOGETHER = 0.7  # correlation of the two, far above that of efficiencies
_THICK = 1.0  # P mu of some line through a patient, at least
_VIEWS = 16  # that are looked at


def check_efficiencies(name: str, efficiencies: Tensor) -> None:
    """Raise ValueError, in the name of a file, for values that no efficiencies in a file have.

    Args:
        name: for the message.
        efficiencies: n, (radial, views, planes).
    """
    if not bool((torch.isfinite(efficiencies) & (efficiencies >= 0)).all()) or not bool(efficiencies.any()):
        raise ValueError(
            f"{name} holds negative values, NaN or Inf, or nothing but 0; expected efficiencies that multiply, 0 for "
            "dead lines alone"
        )
    greatest = float(efficiencies.max())
    if greatest > _MOST:
        raise ValueError(
            f"{name} holds values up to {greatest:.4g}, expected efficiencies that multiply, about 1; is it a sinogram "
            "of something else, or of factors that divide?"
        )
    check_no_corrections(name, efficiencies)


def check_no_corrections(name: str, efficiencies: Tensor) -> None:
    """Raise ValueError, in the name of their source, for attenuation correction factors in place of efficiencies.

    Args:
        name: for the message.
        efficiencies: n >= 0, (radial, views, planes).
    """
    least, greatest = float(efficiencies.min()), float(efficiencies.max())
    beside = int(((efficiencies - 1).abs() < 1e-4).count_nonzero()) / efficiencies.numel()
    if least > 1 - 1e-4 and greatest > _NOTICEABLE and beside > _BESIDE:
        raise ValueError(
            f"{name} is 1 on {beside:.0%} of lines and up to {greatest:.4g} on all others, as attenuation correction "
            "factors are; expected efficiencies that multiply: pass 1 / factors, or the mu-map as attenuation"
        )


def check_attenuated_once(name: str, efficiencies: Tensor, transmission: Tensor) -> None:
    """Raise ValueError, in the name of their source, if efficiencies follow the attenuation of the patient.

    Args:
        name: for the message.
        efficiencies: n >= 0, (radial, views, planes).
        transmission: exp(-P mu) of the same lines, from the mu-map.
    """
    every = max(1, efficiencies.shape[1] // _VIEWS)
    some, seen_through = efficiencies[:, ::every], transmission[:, ::every]
    seen = (some > 0) & (seen_through > 0)
    n, integrals = some[seen].double().log(), -seen_through[seen].double().log()
    n, integrals = n - n.mean(), integrals - integrals.mean()
    together, spread = float((n * integrals).sum()), float(integrals.square().sum())
    slope = together / max(spread, 1e-12)
    # Of a mouse what crystals see at an angle may fall as much.
    if not len(n) or float(integrals.max() - integrals.min()) < _THICK:
        return
    if abs(together) < _TOGETHER * (spread * float(n.square().sum())) ** 0.5:
        return
    if slope > _ALIKE:
        raise ValueError(
            f"{name} grows with the attenuation of the mu-map (log n = {slope:.2f} P mu), as attenuation correction "
            "factors do; expected efficiencies that multiply, without attenuation"
        )
    if slope < -_ALIKE:
        raise ValueError(
            f"{name} falls with the attenuation of the mu-map (log n = {slope:.2f} P mu), which would count twice; "
            "expected efficiencies without attenuation, or no mu-map"
        )
