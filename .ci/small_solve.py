"""A small solve with the installed package and its bundled prior; fails if anything comes from the checkout."""

import math
import sys

import numpy as np
import torch

import scoreinv
from scoreinv import load_prior, solve
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Gaussian, Volume
from scoreinv.phantoms import body

assert not scoreinv.__file__.startswith(sys.argv[1]), f"{scoreinv.__file__} is the checkout's"
volume = Volume((4, 64, 64), (6.0, 6.0, 6.0))
angles = np.arange(12) * 2 * math.pi / 12
operator = ConeBeamCT(ConeBeamGeometry.circular(800, 1200, (8, 96), (9.0, 9.0), angles), volume)
truth = 0.02 * (1 + body(5, volume.shape, volume.voxel_size) / 1000)
measurements = operator(truth) + 0.01 * torch.randn(operator.out_shape, generator=torch.Generator().manual_seed(0))
result = solve(operator, measurements, load_prior("ct-128"), likelihood=Gaussian(0.01), steps=6, samples=2)
assert result.mean.shape == volume.shape
assert bool(torch.isfinite(result.std).all())
assert float((result.mean - truth).square().mean()) < 0.25 * float(truth.square().mean())
result.save("result")
print(f"installed wheel: residual {result.residual:.3f}, everything in its place")
