"""An MRI scan that the baselines are compared on."""

import pytest
import torch
from torch import Tensor

from scoreinv.operators import CartesianMRI, Gaussian
from scoreinv.operators.coils import simulated_coils

Scan = tuple[CartesianMRI, Tensor, Tensor]


def head(shape: tuple[int, int] = (64, 60)) -> Tensor:
    """A few ellipses with a smooth phase."""
    y, x = torch.meshgrid(*((torch.arange(n) - n // 2) / (n / 2) for n in shape), indexing="ij")
    image = torch.zeros(shape)
    for value, cy, cx, ry, rx in ((0.8, 0, 0, 0.85, 0.75), (-0.4, 0.1, 0.25, 0.4, 0.2), (0.2, -0.3, -0.3, 0.2, 0.25)):
        image += value * ((((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2) < 1)
    return torch.polar(image, 0.6 * x + 0.5 * y**2)


def sampled(shape: tuple[int, int], share: float) -> Tensor:
    """A random share of k-space, denser towards the middle, that is fully sampled."""
    y, x = torch.meshgrid(*((torch.arange(n) - n // 2) / (n / 2) for n in shape), indexing="ij")
    density = torch.exp(-3 * (y**2 + x**2)) * torch.rand(shape, generator=torch.Generator().manual_seed(0))
    density[(y.abs() < 0.15) & (x.abs() < 0.15)] = 2
    return density >= density.flatten().kthvalue(round((1 - share) * density.numel())).values


@pytest.fixture(scope="session")
def scan() -> Scan:
    """Operator, truth and k-space of 4 coils with noise of 0.01, a fourth of it sampled."""
    truth = head()
    operator = CartesianMRI(sampled((64, 60), 0.25), simulated_coils(4, (64, 60)))
    noisy = Gaussian(0.01).simulate(operator.forward(truth), torch.Generator().manual_seed(0))
    return operator, truth, noisy * operator.mask


@pytest.fixture(scope="session")
def full_scan() -> Scan:
    """Operator, truth and k-space, all sampled, without noise."""
    operator, truth = CartesianMRI(torch.ones(64, 60), simulated_coils(4, (64, 60))), head()
    return operator, truth, operator.forward(truth)
