import pytest
import torch

from scoreinv.metrics import to_attenuation


@pytest.fixture(scope="session")
def image():
    """Attenuation, 1/mm, (3, 16, 16)."""
    return to_attenuation(200 * torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="session")
def noise():
    """Attenuation, 1/mm, (3, 16, 16)."""
    return 0.02 * torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(1))
