"""MRI baselines at several strengths, x4 and x8 with 1 % noise: the classical competitors at their best.

Eight simulated coils see an image with a smooth phase, whose 99.5th percentile is 1; the noise has a standard deviation
of 0.01 per real component of k-space. PSNR in dB of both components, over 1.

Run: python tests/benchmarks/mri_strengths.py [IMAGE.nii.gz]   (a head; its middle axial slice, else Shepp and Logan's)
"""

import sys

import torch
from torch import Tensor

from scoreinv.baselines import cg_sense, l1_wavelet, tv, zero_filled
from scoreinv.io import read_image
from scoreinv.operators import CartesianMRI, Gaussian, sampling, simulated_coils

SIGMA = 0.01


def load() -> Tensor:
    """The image, (y, x) complex."""
    if len(sys.argv) > 1:
        volume = read_image(sys.argv[1]).data.float()
        image = volume[len(volume) // 2]
    else:
        from skimage.data import shepp_logan_phantom
        from skimage.transform import resize

        image = torch.as_tensor(resize(shepp_logan_phantom(), (192, 192), anti_aliasing=True)).float()
    y, x = torch.meshgrid(*((torch.arange(n) - n // 2) / (n / 2) for n in image.shape), indexing="ij")
    return torch.polar(image / image.quantile(0.995), 0.8 * x + 0.7 * y**2 - 0.5 * x * y)


def main() -> None:
    image = load()
    maps = simulated_coils(8, tuple(image.shape))
    print("| sampling | method | strength: PSNR (dB) |")
    print("|---|---|---|")
    for name, pattern in (("Poisson disc", sampling.poisson_disc), ("random lines", sampling.random_lines)):
        for acceleration, calibration in ((4, 24), (8, 16)):
            operator = CartesianMRI(pattern(tuple(image.shape), acceleration, calibration), maps)
            likelihood = Gaussian(SIGMA)
            y = likelihood.simulate(operator.forward(image), torch.Generator().manual_seed(0)) * operator.mask

            def psnr(found: Tensor) -> str:
                return f"{-10 * torch.log10((found - image).abs().square().mean()):.2f}"

            rows = {
                "zero_filled": [psnr(zero_filled(operator, y))],
                "cg_sense, 5 iterations": [f"0.1: {psnr(cg_sense(operator, y, iterations=5))}"],
                "cg_sense, 10 iterations": [f"0.1: {psnr(cg_sense(operator, y, iterations=10))}"],
                "cg_sense": [f"{s}: {psnr(cg_sense(operator, y, regularisation=s))}" for s in (0.03, 0.1, 0.3)],
                "l1_wavelet": [
                    f"{s}: {psnr(l1_wavelet(operator, y, likelihood=likelihood, strength=s))}"
                    for s in (0.35, 0.7, 1.0, 1.4)
                ],
                "tv": [
                    f"{s}: {psnr(tv(operator, y, likelihood=likelihood, strength=s))}" for s in (0.25, 0.5, 0.75, 1.0)
                ],
                "l1_wavelet, tv; noise estimated": [psnr(l1_wavelet(operator, y)), psnr(tv(operator, y))],
            }
            for method, values in rows.items():
                print(f"| {name} x{acceleration} | {method} | {', '.join(values)} |", flush=True)


if __name__ == "__main__":
    main()
