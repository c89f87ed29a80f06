"""A small PET scanner, a body of water in it, and what becomes of both in a sinogram."""

import torch

from scoreinv.operators import PET, PETScanner, Sinogram, Volume

SCANNER = PETScanner(150.0, 80, 1, 11.0, (6.0, 0.0, -6.0))
SINOGRAM = Sinogram(61, 1)
VOLUME = Volume((5, 20, 20), (3.0, 8.0, 8.0))


def body():
    axis = (torch.arange(20) - 9.5) * 8
    return (axis[:, None] ** 2 + (axis / 1.2) ** 2 < 50**2).float().expand(5, 20, 20).contiguous()


TRANSMISSION = PET(SCANNER, VOLUME, attenuation=0.0096 * body(), sinogram=SINOGRAM).transmission


def crystals(seed=0):
    """Efficiencies of a scanner: of single crystals, of the angle of incidence, and a dead block."""
    spread = torch.rand(TRANSMISSION.shape, generator=torch.Generator().manual_seed(seed))
    geometry = 1 - 0.3 * ((torch.arange(61) - 30) / 30).square()
    efficiencies = (0.7 + 0.6 * spread) * geometry[:, None, None]
    efficiencies[:, 10:15] = 0
    return efficiencies
