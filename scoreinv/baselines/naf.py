"""NAF: a network that knows the attenuation at every point, fitted to the rays of a single scan."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scoreinv.baselines.checks import check_measurements
from scoreinv.baselines.hash_grid import HashGrid
from scoreinv.baselines.ray_samples import RaySamples
from scoreinv.operators.cone_beam import ConeBeamCT, ParallelBeamCT
from scoreinv.operators.geometry import Volume
from scoreinv.operators.linear import LinearOperator

_LEVELS = 8
_COARSEST, _FINEST = 8.0, 1.0  # spacing of the lattices, smallest edges of a voxel
_WIDTH = 32  # of the network's two hidden layers
_LEARNING_RATE, _RATE_LEFT = 1e-2, 0.05  # of Adam, and the part of it that is left in the end
_SAMPLES = 3  # a voxel
_CHUNK = 2**18  # points evaluated at once


class AttenuationField(nn.Module):
    """Attenuation >= 0 at any point of a volume's box: a small network on the features of a hash grid.

    Args:
        volume: whose box it fills, and whose voxels set the finest lattice.
        scale: what 1 in the network is, 1/mm.
    """

    def __init__(self, volume: Volume, scale: float) -> None:
        super().__init__()
        edges = [n * size for n, size in zip(volume.shape, volume.voxel_size, strict=True)]
        smallest = min(volume.voxel_size)
        growth = (_FINEST / _COARSEST) ** (1 / (_LEVELS - 1))
        spacings = [smallest * _COARSEST * growth**level for level in range(_LEVELS)]
        self.grid = HashGrid([_nodes(edges, spacing) for spacing in spacings])
        self.network = nn.Sequential(
            nn.Linear(self.grid.width, _WIDTH),
            nn.LeakyReLU(),
            nn.Linear(_WIDTH, _WIDTH),
            nn.LeakyReLU(),
            nn.Linear(_WIDTH, 1),
            nn.Softplus(),
        )
        self.scale = scale

    def forward(self, points: Tensor) -> Tensor:
        """(...) 1/mm at points (..., 3), each (z, y, x) in [0, 1] of the box."""
        mu: Tensor = self.scale * self.network(self.grid(points.flatten(0, -2)))
        return mu.reshape(points.shape[:-1])


def naf(
    operator: LinearOperator,
    measurements: Tensor,
    *,
    iterations: int = 1500,
    rays: int = 1024,
    samples: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Neural attenuation field: min over its weights of the mean squared error of line integrals.

    Each iteration takes rays at random and integrates the field along the part of them within the volume's box, at one
    random point in each of equal pieces; Adam follows. Nothing but the scan is learned from.

    Args:
        operator: ConeBeamCT or ParallelBeamCT.
        measurements: line integrals (views, v, u), dimensionless.
        iterations: steps of Adam.
        rays: of each step.
        samples: points on each ray; None takes three a voxel along the usual length within the box. Edges between
            points are noise to the fit, which blurs where there are few.
        seed: of weights, rays and points; the same seed gives the same image on one machine.

    Returns:
        (z, y, x), 1/mm, >= 0: the field in the middles of the voxels, on the device of the measurements; computed on
        the CPU.

    Raises:
        TypeError: for another kind of operator, or measurements of another dtype.
        ValueError: for measurements of another shape, NaN or Inf, none above 0, or an option below 1.

    Zha, Zhang and Li 2022 (MICCAI, LNCS 13436:442), with the grid of Müller et al. 2022 as there.
    """
    if not isinstance(operator, ConeBeamCT | ParallelBeamCT):
        raise TypeError(f"naf: operator is {operator}, expected ConeBeamCT or ParallelBeamCT")
    if min(iterations, rays, 1 if samples is None else samples) < 1:
        raise ValueError(f"naf: iterations {iterations}, rays {rays}, samples {samples}; expected at least 1 of each")
    check_measurements("naf", operator, measurements)
    lines = RaySamples(operator.geometry.rays(operator.volume), operator.volume)
    measured = measurements.cpu().flatten()[lines.crossing]
    mean = float(measured.sum() / lines.lengths.sum())
    if not mean > 0:
        raise ValueError("naf: the mean of the line integrals is not above 0, expected attenuation; check their sign")
    if samples is None:
        samples = math.ceil(_SAMPLES * float(lines.lengths.median()) / min(operator.volume.voxel_size))
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        field = AttenuationField(operator.volume, mean)
        _fit(field, lines, measured, iterations, rays, samples)
    return _in_voxels(field, operator.volume).to(measurements.device)


def _fit(
    field: AttenuationField, lines: RaySamples, measured: Tensor, iterations: int, rays: int, samples: int
) -> None:
    optimiser = torch.optim.Adam(field.parameters(), _LEARNING_RATE, betas=(0.9, 0.99), eps=1e-15, fused=True)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, _RATE_LEFT ** (1 / iterations))
    for _ in range(iterations):
        chosen = torch.randint(len(measured), (rays,))
        expected = field(lines.points(chosen, samples)).mean(1) * lines.lengths[chosen]
        loss = (expected - measured[chosen]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


@torch.no_grad()
def _in_voxels(field: AttenuationField, volume: Volume) -> Tensor:
    middles = torch.meshgrid(*((torch.arange(n) + 0.5) / n for n in volume.shape), indexing="ij")
    points = torch.stack(middles, -1).flatten(0, 2)
    return torch.cat([field(part) for part in points.split(_CHUNK)]).reshape(volume.shape)


def _nodes(edges: list[float], spacing: float) -> tuple[int, int, int]:
    """Nodes (z, y, x) of the lattice of about this spacing over a box, mm."""
    z, y, x = (max(1, math.ceil(edge / spacing - 1e-6)) + 1 for edge in edges)
    return z, y, x
