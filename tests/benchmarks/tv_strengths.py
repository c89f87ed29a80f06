"""The demo's scan by TV at five strengths: the classical competitor at its best, whatever its default.

Run: python tests/benchmarks/tv_strengths.py [CONFIG]
"""

import sys

from scoreinv.baselines import tv
from scoreinv.cases import load_case
from scoreinv.config import CTSettings, load_settings
from scoreinv.metrics import psnr, ssim

STRENGTHS = (0.12, 0.25, 0.5, 1.0, 2.0)


def main() -> None:
    settings = load_settings(CTSettings, sys.argv[1]) if len(sys.argv) > 1 else CTSettings()
    case = load_case(settings)
    assert case.reference is not None, "expected a case with a reference: a phantom, a volume, or every > 1"
    print("| strength | PSNR (dB) | SSIM |")
    print("|---:|---:|---:|")
    for strength in STRENGTHS:
        image = tv(case.operator, case.measurements, likelihood=case.likelihood, strength=strength)
        print(f"| {strength:g} | {psnr(image, case.reference):.2f} | {ssim(image, case.reference):.3f} |", flush=True)


if __name__ == "__main__":
    main()
