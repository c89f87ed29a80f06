"""Tissues of the head: how they are painted as fractions of voxels, and how bright they are in MR images.

Magnitudes follow the signal equations of spin echo and inversion recovery [Bernstein et al. 2004, Handbook of MRI Pulse
Sequences] for mean relaxation times at 3 T: muscle and fat as measured by Gold et al. [2004, AJR 183:343-351]; white
and grey matter between Wansapura et al. [1999, JMRI 9:531-538] and Stanisz et al. [2005, MRM 54:507-512]; the T1 of
cerebrospinal fluid near that of Rooney et al. [2007, MRM 57:308-318]. The other values, and all proton densities, are
plausible ones beside these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scoreinv.canvas import WHOLE, Field, Surface, Window, smooth_noise
from scoreinv.phantoms import check

# Proton density (water of CSF = 1), T1 (ms), T2 (ms) at 3 T.
RELAXATION: dict[str, tuple[float, float, float]] = {
    "air": (0.0, 1000.0, 100.0),
    "skin": (0.70, 1100.0, 35.0),
    "fat": (0.90, 370.0, 133.0),
    "muscle": (0.80, 1420.0, 32.0),
    "bone": (0.06, 600.0, 10.0),
    "marrow": (0.60, 365.0, 110.0),
    "csf": (1.00, 4200.0, 1600.0),
    "grey": (0.83, 1550.0, 100.0),
    "white": (0.70, 860.0, 70.0),
    "deep grey": (0.78, 1200.0, 80.0),
    "cerebellum": (0.82, 1400.0, 95.0),
    "brainstem": (0.74, 980.0, 80.0),
    "vitreous": (0.98, 4000.0, 1200.0),
    "vessel": (0.20, 1900.0, 120.0),
    "lesion": (0.90, 1750.0, 170.0),
}
TISSUES = tuple(RELAXATION)
WEIGHTINGS = ("t1", "t2", "pd", "flair")


@dataclass
class TissueMap(Surface):
    """Tissues painted one over the other, kept as layers until their fractions are asked for."""

    layers: list[tuple[str, Field, Window]] = field(default_factory=list)

    def mix(self, share: Field, value: str, where: Window = WHOLE) -> None:
        """Lay a tissue over a share of each voxel of a window."""
        self.layers.append((value, share, where))

    def fractions(self) -> Field:
        """Fractions (tissues, z, y, x) float32; what no layer covers is air."""
        # From the front to the back, a layer fills its share of what those before it have left.
        left = np.ones(self.at[0].shape, dtype=np.float32)
        filled = np.zeros((len(TISSUES), *left.shape), dtype=np.float32)
        for tissue, share, where in reversed(self.layers):
            taken = left[where] * share
            filled[TISSUES.index(tissue)][where] += taken
            left[where] -= taken
        filled[0] += left
        return filled


@dataclass(frozen=True)
class Head:
    """Tissues of a head on a grid.

    Fields: fractions, the share of each tissue of TISSUES in each voxel, float32 (tissues, z, y, x), summing to 1;
    voxel_size, (z, y, x) in mm. Axes point to the patient's Superior, Posterior and Left.
    """

    fractions: Tensor
    voxel_size: tuple[float, float, float]

    def fraction(self, tissue: str) -> Tensor:
        """Share of one tissue in each voxel, float32 (z, y, x)."""
        if tissue not in TISSUES:
            raise ValueError(f"fraction: no tissue {tissue!r}; pass one of {', '.join(TISSUES)}")
        return self.fractions[TISSUES.index(tissue)]


def contrast(head: Head, weighting: str, seed: int) -> Tensor:
    """Magnitude image of a head, float32 (z, y, x), without noise, its 99.5th percentile at 1.

    Spin echo, "pd", "t2" and half of "t1": PD (1 - exp(-TR/T1)) exp(-TE/T2).
    With inversion, the other half of "t1" and "flair": PD |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2).
    The seed draws timing, PD, T1 and T2 of each tissue (10 %), fat suppression, flow in vessels, variation within
    tissues (a few percent) and the receiving coil's mild shading.

    Args:
        head: what is imaged.
        weighting: "t1", "t2", "pd" or "flair".
        seed: >= 0.

    Raises:
        ValueError: for an unknown weighting or a negative seed.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"contrast: no weighting {weighting!r}; pass one of {', '.join(WEIGHTINGS)}")
    shape = tuple(head.fractions.shape[1:])
    check(seed, shape, head.voxel_size)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, WEIGHTINGS.index(weighting)))))
    axes = [(np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, head.voxel_size, strict=True)]
    brightness = torch.from_numpy(signal(rng, weighting).astype(np.float32))
    image = torch.tensordot(brightness, head.fractions, dims=1)
    fine, coarse, shading = (torch.from_numpy(smooth_noise(rng, axes, s, c)) for s, c in ((3, 80), (22, 16), (90, 8)))
    image *= 1 + float(rng.uniform(0.015, 0.035)) * fine + float(rng.uniform(0.01, 0.04)) * coarse
    image *= torch.exp(float(rng.uniform(0.03, 0.12)) * shading)
    bright = torch.quantile(image.flatten()[:: max(1, image.numel() // 1_000_000)], 0.995)
    return image.clamp(min=0) / bright.clamp(min=1e-6)


def signal(rng: np.random.Generator, weighting: str) -> Field:
    """Signal of each tissue of TISSUES, arbitrary unit."""
    # Patients and scanners vary more than tissues do within them.
    jitter = rng.normal(0, 0.04, 3) + rng.normal(0, 0.02, (len(TISSUES), 3))
    table = np.array(list(RELAXATION.values())) * (1 + np.clip(jitter, -0.1, 0.1))
    density, t1, t2 = table.T
    # Saturated spins leave a vessel before they are read, or fresh ones enter it.
    density[TISSUES.index("vessel")] *= rng.uniform(0.2, 2.5 if weighting == "t1" else 1.0)
    # Fat, off resonance, is excited in part, or suppressed.
    suppressed = rng.random() < {"t1": 0.2, "t2": 0.4, "pd": 0.3, "flair": 0.5}[weighting]
    fatty = [TISSUES.index("fat"), TISSUES.index("marrow")]
    density[fatty] *= rng.uniform(0.1, 0.3) if suppressed else rng.uniform(0.3, 0.8)
    repetition, echo, inversion = timing(rng, weighting, float(t1[TISSUES.index("csf")]))
    recovery = 1 - np.exp(-repetition / t1)
    if inversion is not None:
        recovery = np.abs(1 - 2 * np.exp(-inversion / t1) + np.exp(-repetition / t1))
    return np.asarray(density * recovery * np.exp(-echo / t2))


def timing(rng: np.random.Generator, weighting: str, fluid_t1: float) -> tuple[float, float, Any]:
    """TR, TE and TI (None without inversion), ms; the TI of FLAIR is where cerebrospinal fluid gives no signal."""
    if weighting == "t1":
        if rng.random() < 0.5:
            return rng.uniform(450, 750), rng.uniform(8, 14), None
        return rng.uniform(1800, 2500), rng.uniform(3, 10), rng.uniform(950, 1200)
    if weighting == "t2":
        return rng.uniform(4000, 7000), rng.uniform(85, 115), None
    if weighting == "pd":
        return rng.uniform(3000, 5500), rng.uniform(10, 25), None
    repetition = rng.uniform(8000, 10000)
    null = fluid_t1 * np.log(2 / (1 + np.exp(-repetition / fluid_t1)))
    return repetition, rng.uniform(90, 130), null * rng.uniform(0.97, 1.03)
