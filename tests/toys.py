"""Small operators and networks, and a small disk, that tests share."""

import resource
from contextlib import contextmanager

import torch

from scoreinv.operators import LinearOperator
from scoreinv.priors.architectures import build_network

UNET = {
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "norm_num_groups": 4,
    "attention_head_dim": 8,
}


def unet(channels=1):
    """A network of `UNET`, always with the same weights."""
    torch.manual_seed(0)
    return build_network(UNET | {"in_channels": channels, "out_channels": channels}).eval()


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@contextmanager
def no_more_than(size):
    """No file grows beyond so many bytes: to whoever writes, a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Dense(LinearOperator):
    """A matrix."""

    def __init__(self, matrix):
        super().__init__((matrix.shape[1],), (matrix.shape[0],), matrix.dtype, matrix.dtype)
        self.matrix = matrix

    def _apply(self, x):
        return x @ self.matrix.mT

    def _adjoint(self, y):
        return y @ self.matrix.conj()


class Columns(LinearOperator):
    """Every second column, times a phase if complex."""

    def _apply(self, x):
        return self._phase(x.dtype) * x[..., ::2]

    def _adjoint(self, y):
        x = y.new_zeros(*y.shape[:-1], self.in_shape[-1])
        x[..., ::2] = self._phase(y.dtype).conj() * y
        return x

    def _phase(self, dtype):
        return torch.tensor(0.6 + 0.8j if dtype.is_complex else 1.0, dtype=dtype)


class Rows(LinearOperator):
    """A matrix >= 0 whose rows are views."""

    counts = True

    def __init__(self, matrix):
        super().__init__((matrix.shape[1],), (matrix.shape[0],))
        self.matrix = matrix

    def _apply(self, x):
        return x @ self.matrix.mT

    def _adjoint(self, y):
        return y @ self.matrix

    def subset(self, i, n):
        return Rows(self.matrix[i::n])
