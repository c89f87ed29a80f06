from dataclasses import replace

import numpy as np
import pytest
import torch

from scoreinv.operators import LinesOfResponse, PETScanner, Sinogram, herman_meyer, mmr_efficiencies

SCANNER = PETScanner.demo(6)


def test_every_pair_of_crystals_across_the_ring_has_one_line():
    first, second = LinesOfResponse(SCANNER).crystals
    n = SCANNER.crystals
    pairs = np.sort(np.stack([first.ravel(), second.ravel()]), axis=0)
    assert len(np.unique(pairs[0] * n + pairs[1])) == n // 2 * (n - 1) == n * (n - 1) // 2
    assert (pairs[0] != pairs[1]).all()


def test_central_bins_join_opposite_crystals_and_the_first_view_is_vertical():
    scanner = PETScanner(100.0, 4, 3, 20.0, (0.0,))
    lines = LinesOfResponse(scanner, Sinogram(5))
    first, second = lines.crystals
    assert ((second[2] - first[2]) % 12 == 6).all()
    start, end = lines.ends
    np.testing.assert_allclose(start[2, 1], (-100, 0), atol=1e-12)  # (y, x): the middle crystal of the side on top
    np.testing.assert_allclose(end[2, 1], (100, 0), atol=1e-12)
    assert start[2, 2, 1] > 0  # numbers run towards +x


def test_crystals_stand_on_a_regular_polygon():
    positions = SCANNER.positions()
    sides = positions.reshape(SCANNER.sides, -1, 2)
    np.testing.assert_allclose(np.linalg.norm(sides.mean(1), axis=1), SCANNER.radius)
    np.testing.assert_allclose(np.linalg.norm(np.diff(sides, axis=1), axis=-1), SCANNER.crystal_size)


@pytest.mark.parametrize(("span", "reach"), [(1, 5), (1, 2), (3, 4), (3, 5), (5, 5)])
def test_planes_share_out_all_pairs_of_rings(span, reach):
    planes = Sinogram(max_ring_difference=reach, span=span).planes(SCANNER)
    pairs = [pair for plane in planes for pair in plane]
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) == {(a, b) for a in range(6) for b in range(6) if abs(a - b) <= reach}
    for plane in planes:
        assert len({a + b for a, b in plane}) == 1


def test_the_mmr_addresses_as_many_sinograms_as_its_list_mode():
    scanner = PETScanner.biograph_mmr()
    assert len(Sinogram(344, 60).planes(scanner)) == 4084
    assert len(Sinogram(344, 60, 11).planes(scanner)) == 837
    assert Sinogram(344, 60).planes(scanner)[64][0] == (1, 0)
    assert scanner.crystals == 504
    assert mmr_efficiencies().mean() == pytest.approx(8 / 9)
    y, x = scanner.positions()[0]
    assert np.degrees(np.arctan2(x, -y)) == pytest.approx(0, abs=0.01)  # crystal 0 on top, but for the flat side


def test_rotation_turns_the_top_towards_positive_x():
    turned = replace(SCANNER, rotation=2 * np.pi / SCANNER.sides).positions()
    np.testing.assert_allclose(turned, np.roll(SCANNER.positions(), -SCANNER.crystals_per_side, 0), atol=1e-9)


def test_subsets_of_views_partition_the_lines():
    lines = LinesOfResponse(SCANNER, Sinogram(11))
    parts = [lines.subset(i, 3) for i in range(3)]
    np.testing.assert_array_equal(np.sort(np.concatenate([part.views for part in parts])), lines.views)
    np.testing.assert_array_equal(parts[1].ends[0], lines.ends[0][:, 1::3])
    np.testing.assert_array_equal(lines.subset(1, 2).subset(1, 3).views, lines.views[1::2][1::3])


def test_segments_join_the_two_crystals_of_a_line():
    lines = LinesOfResponse(SCANNER, Sinogram(7, 2, 3))
    found = lines.segments(slice(2, 6))
    radial, view, plane = (index.ravel() for index in np.indices(found[0].shape[:3]))
    for got, wanted in zip(found, lines.points(radial, view + 2, plane), strict=True):
        np.testing.assert_array_equal(got.reshape(-1, 3), wanted)


def test_products_of_crystals_follow_the_lines():
    lines = LinesOfResponse(SCANNER, Sinogram(7, 2, 3))
    values = torch.rand(SCANNER.rings, SCANNER.crystals, generator=torch.Generator().manual_seed(0))
    got = lines.products(values)
    planes = lines.sinogram.planes(SCANNER)
    index = max(range(len(planes)), key=lambda plane: len(planes[plane]))
    i, j = (int(ends[3, 5]) for ends in lines.crystals)
    wanted = sum(float(values[a, i] * values[b, j]) for a, b in planes[index])
    assert len(planes[index]) > 1
    assert float(got[3, 5, index]) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("subsets", [1, 2, 7, 12, 28])
def test_herman_meyer_is_a_permutation_whose_neighbours_lie_apart(subsets):
    order = herman_meyer(subsets)
    assert sorted(order) == list(range(subsets))
    if subsets == 12:
        assert order == [0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": -1.0}, "radius is -1, expected a positive length"),
        ({"crystal_size": 40.0}, "do not fit on a side"),
        ({"sides": 3, "crystals_per_side": 1}, "expected an even number"),
        ({"sides": 2.5}, "sides is 2.5"),
        ({"ring_positions": (0.0, 5.0, 4.0)}, "ascending or descending"),
        ({"rotation": float("nan")}, "rotation is nan, expected an angle in rad"),
        ({"ring_positions": ()}, "one a ring"),
    ],
)
def test_impossible_scanners_are_refused(change, message):
    fields = {"radius": 180.0, "sides": 28, "crystals_per_side": 8, "crystal_size": 4.8, "ring_positions": (0.0, 5.0)}
    with pytest.raises(ValueError, match=message):
        PETScanner(**(fields | change))


def test_sinograms_larger_than_the_scanner_are_refused():
    with pytest.raises(ValueError, match="radial_bins is 224, expected at most 223"):
        LinesOfResponse(SCANNER, Sinogram(224))
    with pytest.raises(ValueError, match="max_ring_difference is 6, expected at most 5"):
        LinesOfResponse(SCANNER, Sinogram(max_ring_difference=6))
    with pytest.raises(ValueError, match="span is 2, expected an odd number"):
        Sinogram(span=2)


def test_bins_are_counted_in_whole_numbers():
    for name, value in (("radial_bins", 30.5), ("radial_bins", "31"), ("max_ring_difference", -1), ("span", None)):
        with pytest.raises(ValueError, match=f"Sinogram: {name} is .*, expected a whole number >="):
            Sinogram(**{name: value})
    whole = Sinogram(31.0, np.int64(2), 3.0)
    assert whole == Sinogram(31, 2, 3)
    assert all(type(n) is int for n in (whole.radial_bins, whole.max_ring_difference, whole.span))
