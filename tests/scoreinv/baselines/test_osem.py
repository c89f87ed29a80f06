from itertools import pairwise

import pytest
import torch

from scoreinv.baselines import cgls, osem, sart, tv
from scoreinv.operators import PET, Gaussian, LinearOperator, ListModePET, PETScanner, Poisson, Sinogram, Volume

SCANNER = PETScanner(150.0, 20, 4, 10.0, (-6.0, 0.0, 6.0))
VOLUME = Volume((5, 20, 20), (3.0, 8.0, 8.0))
OPERATOR = PET(SCANNER, VOLUME, sinogram=Sinogram(31, 1))


def truth():
    axis = (torch.arange(20) - 9.5) * 8
    y, x = axis[:, None], axis
    image = (y**2 + x**2 < 64**2).float() + 3 * ((y - 20) ** 2 + (x + 16) ** 2 < 18**2).float()
    return image.expand(5, 20, 20).contiguous()


def counts(background=0.0, seed=0, scale=0.1):
    generator = torch.Generator().manual_seed(seed)
    return Poisson(background).simulate(scale * OPERATOR(truth()), generator)


def test_mlem_raises_the_likelihood_at_every_iteration():
    for background, y in ((0.0, counts()), (0.5, counts(0.5)), (0.0, counts(scale=1e-3))):
        likelihood = Poisson(background)
        values = []
        for iterations in range(1, 5):
            x = osem(OPERATOR, y, likelihood=likelihood, iterations=iterations, subsets=1)
            values.append(float(likelihood.negative_log(OPERATOR(x).double(), y.double(), 3)))
        assert all(later < earlier for earlier, later in pairwise(values))


def test_mlem_keeps_the_counts():
    y = counts()
    for iterations in (1, 3):
        x = osem(OPERATOR, y, iterations=iterations, subsets=1)
        assert float(OPERATOR(x).sum()) == pytest.approx(float(y.sum()), rel=1e-4)


def test_subsets_come_to_meet_noise_free_data():
    y = OPERATOR(truth())
    x = osem(OPERATOR, y, iterations=10, subsets=10)
    error = torch.linalg.vector_norm(OPERATOR(x) - y) / torch.linalg.vector_norm(y)
    assert float(error) < 0.01
    assert bool((x >= 0).all())


def test_subsets_reach_in_one_pass_what_mlem_reaches_in_many():
    y, likelihood = counts(), Poisson()
    fast = osem(OPERATOR, y, iterations=2, subsets=8)
    slow = osem(OPERATOR, y, iterations=8, subsets=1)
    values = [float(likelihood.negative_log(OPERATOR(x), y, 3)) for x in (fast, slow)]
    assert values[0] < values[1]


def test_list_mode_gives_the_image_of_its_histogram():
    y = counts(0.3)
    bins = torch.nonzero(y > 0)
    events = bins.repeat_interleave(y[tuple(bins.unbind(1))].long(), dim=0)
    listed = osem(
        ListModePET(OPERATOR, events), torch.ones(len(events)), likelihood=Poisson(0.3), iterations=3, subsets=1
    )
    binned = osem(OPERATOR, y, likelihood=Poisson(0.3), iterations=3, subsets=1)
    torch.testing.assert_close(listed, binned, rtol=1e-5, atol=1e-5)


def test_background_is_not_taken_for_activity():
    background = 0.5 * OPERATOR(truth()).mean()
    y = OPERATOR(truth()) + background
    with_it = osem(OPERATOR, y, likelihood=Poisson(background), iterations=10)
    assert float(with_it.sum()) == pytest.approx(float(truth().sum()), rel=0.05)


def test_masked_data_do_not_matter():
    y = OPERATOR(truth())
    mask = torch.ones_like(y)
    mask[:, 7] = 0
    broken = y.clone()
    broken[:, 7] = 1000.0
    wanted, got = (osem(OPERATOR, data, likelihood=Poisson(mask=mask), iterations=2) for data in (y, broken))
    assert torch.equal(wanted, got)


def test_voxels_without_sensitivity_stay_zero():
    normalisation = torch.ones(31, 1, 1)
    normalisation[8:23] = 0  # the middle is seen by no line
    operator = PET(SCANNER, VOLUME, normalisation=normalisation, sinogram=Sinogram(31, 1))
    x = osem(operator, operator(truth()), iterations=2, subsets=4)
    unseen = operator.sensitivity() == 0
    assert bool(unseen.any())
    assert float(x[unseen].abs().max()) == 0


def test_an_empty_scan_gives_an_empty_image():
    assert float(osem(OPERATOR, torch.zeros(OPERATOR.out_shape)).max()) == 0


def test_bad_input_is_refused():
    y = counts()
    with pytest.raises(ValueError, match="negative values"):
        osem(OPERATOR, y - 5)
    with pytest.raises(ValueError, match="NaN or Inf"):
        osem(OPERATOR, y * float("nan"))
    with pytest.raises(ValueError, match="at least the measurements everywhere"):
        osem(OPERATOR, y, likelihood=Poisson(1e6))
    rim = PET(
        SCANNER,
        Volume((5, 2, 2), (3.0, 8.0, 8.0)),
        normalisation=(torch.arange(31) == 0).float()[:, None, None],
        sinogram=Sinogram(31, 1),
    )
    with pytest.raises(ValueError, match="zero sensitivity in every voxel"):
        osem(rim, y)
    with pytest.raises(ValueError, match="counts where neither image nor background"):
        osem(
            PET(SCANNER, VOLUME, normalisation=(torch.arange(31) > 0).float()[:, None, None], sinogram=Sinogram(31, 1)),
            y + 1,
        )
    with pytest.raises(ValueError, match="subsets 99"):
        osem(OPERATOR, y, subsets=99)
    with pytest.raises(TypeError, match="expected Poisson"):
        osem(OPERATOR, y, likelihood=Gaussian(1.0))


class Identity(LinearOperator):
    def __init__(self):
        super().__init__((4,), (4,))

    def _apply(self, x):
        return x

    def _adjoint(self, y):
        return y


def test_single_voxels_are_solved_in_one_step():
    y = torch.tensor([0.0, 1.0, 5.0, 100.0])
    torch.testing.assert_close(osem(Identity(), y, iterations=1, subsets=1), y)


def test_a_few_counts_are_not_lost_in_subsets():
    y = counts(scale=1e-4)
    assert 0 < float(y.sum()) < 100
    assert float(OPERATOR(osem(OPERATOR, y)).sum()) == pytest.approx(float(y.sum()), rel=0.05)


def test_what_events_do_not_know_is_refused_and_so_are_methods_that_need_all_lines():
    events = torch.nonzero(counts())
    listed = ListModePET(OPERATOR, events)
    ones = torch.ones(len(events))
    with pytest.raises(ValueError, match="mask is of events"):
        osem(listed, ones, likelihood=Poisson(0.0, mask=ones))
    with pytest.raises(ValueError, match="run from 2 to 2, expected 1 for every event"):
        osem(listed, 2 * ones)
    with pytest.raises(ValueError, match="there are no events"):
        osem(ListModePET(OPERATOR, events[:0]), ones[:0])
    for method in (cgls, sart, tv):
        with pytest.raises(
            ValueError, match=f"{method.__name__}: .* is of events, .* expected .* osem, bsrem or solve"
        ):
            method(listed, ones)
    assert (2.0 * listed).partial
    assert (listed + listed).partial
    assert not (2.0 * OPERATOR).partial
