"""`solve` with counts of an emitter: what cannot be meant is refused, in one sentence."""

import math

import pytest
import torch

from scoreinv import solve
from scoreinv.operators import PET, ListModePET, PETScanner, Poisson, Sinogram, Volume
from scoreinv.priors import GaussianPrior, IntensityMap
from scoreinv.samplers.guidance import MAPEM

SCANNER, SINOGRAM, VOLUME = PETScanner.demo(2), Sinogram(61, 1), Volume((3, 8, 8), (5, 20, 20))
OPERATOR = PET(SCANNER, VOLUME, sinogram=SINOGRAM)
SMALL, RIM = Volume((3, 2, 2), (5, 20, 20)), (torch.arange(61) == 0).float()[:, None, None]  # which miss each other
PRIOR = GaussianPrior(torch.ones(VOLUME.shape), 0.25)
COUNTS = torch.poisson(0.05 * OPERATOR.forward(torch.ones(VOLUME.shape)), torch.Generator().manual_seed(0))


def solved(operator=OPERATOR, counts=COUNTS, prior=PRIOR, method="map-em", **options):
    return solve(operator, counts, prior, method=method, steps=3, progress=False, **options).image


@pytest.mark.parametrize("method", ["map-em", "dds", "dps"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": COUNTS - 1}, "Poisson: measurements have negative values"),
        ({"likelihood": Poisson(1e4)}, "is at least the measurements everywhere"),
        ({"counts": 0 * COUNTS, "likelihood": Poisson(0.1)}, "hold no counts, on a background of 0.1"),
        ({"operator": PET(SCANNER, SMALL, normalisation=RIM, sinogram=SINOGRAM)}, "no counts of any image"),
        (
            {
                "operator": PET(
                    SCANNER, VOLUME, normalisation=(torch.arange(61) > 30).float()[:, None, None], sinogram=SINOGRAM
                )
            },
            "measurements have counts where neither image nor background can give any",
        ),
        (
            {"operator": ListModePET(OPERATOR, torch.zeros(0, 3, dtype=torch.int64)), "counts": torch.ones(0)},
            "there are no events, expected at least one",
        ),
        (
            {"operator": ListModePET(OPERATOR, torch.nonzero(COUNTS)), "counts": COUNTS[COUNTS > 0] + 1},
            r"run from 2 to .*, expected 1 for every event, torch\.ones\(events\)",
        ),
    ],
)
def test_impossible_counts_are_refused(method, change, message):
    with pytest.raises(ValueError, match=message):
        solved(**change, method=method)


def test_a_prior_of_attenuation_is_refused():
    prior = GaussianPrior(torch.ones(VOLUME.shape), 0.25)
    prior.intensity = IntensityMap.attenuation()
    with pytest.raises(ValueError, match="sees activity; choose one of PET such as pet-128"):
        solved(prior=prior)


def test_counts_that_are_not_whole_are_mentioned(caplog):
    assert torch.isfinite(solved(counts=0.5 * COUNTS)).all()
    assert "measurements are not whole numbers" in caplog.text


@pytest.mark.parametrize("method", ["map-em", "dds"])
def test_an_empty_scan_pulls_a_prior_of_known_scale_down_and_tells_none_to_another(method):
    empty = solved(counts=0 * COUNTS, method=method)
    assert float(empty.mean()) < float(solved(method=method).mean()) < 1.5
    unscaled = PRIOR.scaled(IntensityMap(percentile=99))
    with pytest.raises(ValueError, match="expected"):
        solved(counts=0 * COUNTS, method=method, prior=unscaled)


def test_dead_lines_without_counts_do_not_matter():
    alive = (torch.arange(61) > 30).float()[:, None, None]
    operator = PET(SCANNER, VOLUME, normalisation=alive, sinogram=SINOGRAM)
    assert torch.isfinite(solved(operator, COUNTS * alive)).all()


def test_the_residual_of_events_is_unknown():
    events = torch.nonzero(COUNTS)
    operator = ListModePET(PET(SCANNER, VOLUME, normalisation=torch.tensor([0.003]), sinogram=SINOGRAM), events)
    result = solve(operator, torch.ones(len(events)), PRIOR, method="map-em", steps=2, progress=False)
    assert math.isnan(result.residual)


def test_events_are_counts_and_for_map_em_alone():
    events = torch.nonzero(COUNTS)
    binned = PET(SCANNER, VOLUME, normalisation=torch.tensor([0.003]), sinogram=SINOGRAM)  # an activity of about 1
    operator = ListModePET(binned, events)
    whole = MAPEM(subsets=1)  # subsets of events are not those of views
    listed = solved(operator, torch.ones(len(events)), guidance=whole)
    binned = solved(binned, (COUNTS > 0).float(), guidance=whole)
    assert float((listed - binned).norm() / binned.norm()) < 1e-5
    assert math.isnan(
        solve(operator, torch.ones(len(events)), PRIOR, method="map-em", steps=3, progress=False).residual
    )
    for method in ("dds", "dps"):
        with pytest.raises(ValueError, match="expected method='map-em' for list mode"):
            solved(operator, torch.ones(len(events)), method=method)
