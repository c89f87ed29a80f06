import itertools
import math

import pytest
import torch

from scoreinv.operators.neighbours import Neighbours, pair


def weights(neighbours):
    """{(j, k): w} of every pair, as flat indices."""
    numbers = torch.arange(math.prod(neighbours.shape)).reshape(neighbours.shape)
    found = {}
    for offset, w in neighbours:
        j, k = pair(numbers, offset)
        for a, b, value in zip(j.flatten(), k.flatten(), torch.as_tensor(w).expand_as(j).flatten(), strict=True):
            assert (int(a), int(b)) not in found
            assert (int(b), int(a)) not in found
            found[int(a), int(b)] = float(value)
    return found


@pytest.mark.parametrize(("shape", "size"), [((3, 4), (2.0, 1.5)), ((3, 2, 4), (4.0, 2.0, 2.0)), ((5,), (1.0,))])
def test_every_pair_of_touching_voxels_comes_once_with_its_distance(shape, size):
    found = weights(Neighbours.around(shape, size))
    voxels = list(itertools.product(*map(range, shape)))
    wanted = {}
    for (m, a), (n, b) in itertools.combinations(enumerate(voxels), 2):
        if max(abs(p - q) for p, q in zip(a, b, strict=True)) == 1:
            distance = math.hypot(*((p - q) * s for p, q, s in zip(a, b, size, strict=True)))
            wanted[m, n] = size[-1] / distance
    assert found.keys() == wanted.keys()
    assert all(found[key] == pytest.approx(wanted[key]) for key in wanted)


def test_along_an_axis_only_the_next_voxels_are_neighbours():
    assert weights(Neighbours.along((2, 3), -1)) == {(0, 1): 1, (1, 2): 1, (3, 4): 1, (4, 5): 1}


def test_each_voxel_keeps_the_neighbours_most_like_it():
    anatomy = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    everywhere = weights(Neighbours.around((4, 3, 5)))
    found = weights(Neighbours.around((4, 3, 5)).alike(anatomy, 5))
    value, keeps = anatomy.flatten(), set()
    for j in range(60):
        near = [k for pair in everywhere if j in pair for k in pair if k != j]
        keeps |= {(j, k) for k in sorted(near, key=lambda k: abs(float(value[k] - value[j])))[:5]}
    for j, k in everywhere:
        share = ((j, k) in keeps) + ((k, j) in keeps)
        assert found[j, k] == pytest.approx(everywhere[j, k] * share / 2)


def test_no_voxel_inside_keeps_a_pair_across_an_edge_of_the_anatomy():
    anatomy = torch.zeros(6, 6)
    anatomy[:, 3:] = 1
    found = weights(Neighbours.around((6, 6)).alike(anatomy, 3))
    across = [found[j, k] for j, k in found if (j % 6 == 2 and k % 6 == 3) or (j % 6 == 3 and k % 6 == 2)]
    assert len(across) == 16
    assert max(across) == 0


def test_slabs_of_large_images_agree_with_the_whole(monkeypatch):
    anatomy = torch.randn(7, 4, 5, generator=torch.Generator().manual_seed(0))
    whole = Neighbours.around((7, 4, 5)).alike(anatomy, 4)
    monkeypatch.setattr("scoreinv.operators.neighbours._RANKED", 26 * 20 * 2)
    for (_, wanted), (_, got) in zip(whole, Neighbours.around((7, 4, 5)).alike(anatomy, 4), strict=True):
        assert torch.equal(wanted, got)


def test_bad_settings_are_refused():
    around = Neighbours.around((3, 4))
    with pytest.raises(ValueError, match="expected 2 lengths in mm"):
        Neighbours.around((3, 4), (1.0, 0.0))
    with pytest.raises(ValueError, match="axis is 2, expected one of the 2"):
        Neighbours.along((3, 4), 2)
    with pytest.raises(ValueError, match=r"anatomy has shape \(4, 3\), expected \(3, 4\)"):
        around.alike(torch.zeros(4, 3), 2)
    with pytest.raises(ValueError, match="anatomy holds NaN"):
        around.alike(torch.full((3, 4), math.nan), 2)
    for anatomy, kind in ((torch.zeros(3, 4).numpy(), "ndarray"), (torch.zeros(3, 4, dtype=torch.cfloat), "complex64")):
        with pytest.raises(TypeError, match=f"anatomy is .*{kind}, expected a real tensor"):
            around.alike(anatomy, 2)
    with pytest.raises(ValueError, match="count is 9, expected 1 to 8"):
        around.alike(torch.zeros(3, 4), 9)


def test_degree_is_what_the_weights_of_a_voxel_sum_to():
    anatomy = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    for neighbours in (Neighbours.around((3, 4)), Neighbours.around((3, 4)).alike(anatomy, 3)):
        assert neighbours.degree() == pytest.approx(2 * sum(weights(neighbours).values()) / 12)
