"""The adjoint, weighted by density."""

import torch

from scoreinv.baselines import zero_filled
from scoreinv.operators import NonCartesianMRI, Stack
from scoreinv.operators.coils import simulated_coils
from scoreinv.operators.density import pipe_menon
from scoreinv.operators.trajectories import radial


def test_cartesian_data_need_no_density(scan):
    operator, _, y = scan
    assert torch.equal(zero_filled(operator, y), operator.adjoint(y))


def test_frames_of_a_stack_are_weighted_each_for_itself() -> None:
    trajectory = radial(24, 40)
    frames = [NonCartesianMRI(trajectory[i::2], (20, 20), simulated_coils(3, (20, 20))) for i in range(2)]
    y = torch.randn(2, 3, 12, 40, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    image = zero_filled(Stack(frames), y)
    for i, frame in enumerate(frames):
        density = pipe_menon(trajectory[i::2], (20, 20))
        torch.testing.assert_close(image[i], zero_filled(frame, y[i], density=density))


def test_a_batch_is_its_items(scan):
    operator, _, y = scan
    both = zero_filled(operator, torch.stack([y, 2 * y]))
    torch.testing.assert_close(both[1], 2 * zero_filled(operator, y))
