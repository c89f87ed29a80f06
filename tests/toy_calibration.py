"""A calibration of a few tiny cases."""

import torch

from scoreinv.uncertainty import Calibration, observe


def toy_calibration(test=4, acquisition=None):
    cases = [_case(seed) for seed in range(4 + test)]
    return Calibration.learn(cases[:4], cases[4:], acquisition or {"scanner": "a"}, 6)


def _case(seed):
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(6, 8, 8, generator=generator)
    truth, elsewhere = torch.randn(2, 8, 8, generator=generator)
    return observe(samples, truth, elsewhere, torch.ones(8, 8, dtype=torch.bool))
