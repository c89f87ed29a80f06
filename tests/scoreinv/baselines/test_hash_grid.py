"""Features of lattices, against trilinear interpolation written out."""

import itertools

import pytest
import torch
from torch import Tensor

from scoreinv.baselines.hash_grid import HashGrid

SHAPE = (3, 4, 5)


def points(n: int = 12) -> Tensor:
    inner = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    return torch.cat([inner, torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)))])  # and the corners


def interpolated(value, at: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    """Of values at nodes, value(z, y, x) -> (features,), one point and corner after another."""
    out = []
    for point in at:
        place = point * (torch.tensor(SHAPE) - 1)
        low = [min(int(p), n - 2) for p, n in zip(place, SHAPE, strict=True)]
        total = torch.zeros(2)
        for step in itertools.product([0, 1], repeat=3):
            node = [a + s for a, s in zip(low, step, strict=True)]
            weight = torch.stack([1 - abs(p - k) for p, k in zip(place, node, strict=True)]).prod()
            total = total + weight * value(*node)
        out.append(total)
    return torch.stack(out)


def entry(z: int, y: int, x: int, entries: int) -> int:
    return ((z * 805459861) ^ (y * 2654435761) ^ x) % entries


def test_a_lattice_with_an_entry_a_node_is_interpolated_trilinearly() -> None:
    grid = HashGrid([SHAPE])
    [level] = grid.levels
    assert level.shape == (2, *SHAPE)
    torch.testing.assert_close(grid(points()), interpolated(lambda z, y, x: level[:, z, y, x], points()))


def test_a_finer_lattice_reads_the_entries_of_its_hash() -> None:
    grid = HashGrid([SHAPE], entries=16)
    [level] = grid.levels
    assert level.shape == (2, 16)
    torch.testing.assert_close(grid(points()), interpolated(lambda z, y, x: level[:, entry(z, y, x, 16)], points()))


@pytest.mark.parametrize("entries", [16, 1000])
def test_gradients_are_those_of_finite_differences(entries: int) -> None:
    torch.manual_seed(0)
    grid = HashGrid([SHAPE], entries=entries).double()
    level, at = grid.levels[0], points(6).double()
    pull = torch.randn(len(at), 2, dtype=torch.float64)
    (grid(at) * pull).sum().backward()
    change = torch.randn_like(level)
    with torch.no_grad():
        before = (grid(at) * pull).sum()
        level.add_(1e-3 * change)  # linear in the entries: any step will do
        torch.testing.assert_close(((grid(at) * pull).sum() - before) / 1e-3, (level.grad * change).sum())


def test_levels_lie_side_by_side() -> None:
    grid = HashGrid([(2, 2, 2), SHAPE], features=3, entries=16)
    assert grid.width == 6
    assert grid(points()).shape == (20, 6)


def test_a_lattice_of_one_node_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^HashGrid: shapes is .*expected at least 2 nodes along every axis$"):
        HashGrid([(1, 4, 4)])
