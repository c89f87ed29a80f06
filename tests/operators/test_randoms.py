import pytest
import torch

from scoreinv.operators import LinesOfResponse, PETScanner, Sinogram, crystal_rates

LINES = LinesOfResponse(PETScanner.demo(4), Sinogram(61, 2))


def delays_of(rates, seed=0):
    counts = torch.poisson(LINES.products(rates), generator=torch.Generator().manual_seed(seed))
    bins = torch.nonzero(counts)
    return bins.repeat_interleave(counts[tuple(bins.unbind(1))].long(), dim=0)


def test_rates_of_crystals_are_found():
    truth = 0.5 + torch.rand(4, 224, generator=torch.Generator().manual_seed(1))
    truth[:, ::8] = 0
    found = crystal_rates(LINES, delays_of(truth))
    assert float((found - truth).norm() / truth.norm()) < 0.12  # some 100 to 250 counts a crystal
    assert float(found[:, ::8].abs().max()) == 0


def test_randoms_have_the_counts_of_the_delays_and_less_noise():
    truth = torch.ones(4, 224) * 0.3
    delays = delays_of(truth)
    randoms = LINES.products(crystal_rates(LINES, delays))
    assert float(randoms.sum()) == pytest.approx(len(delays), rel=1e-3)
    assert float((randoms - 0.09).std()) < 0.5 * 0.09**0.5


def test_a_span_does_not_tell_the_rings():
    lines = LinesOfResponse(PETScanner.demo(4), Sinogram(61, 2, 3))
    with pytest.raises(ValueError, match="span is 3"):
        crystal_rates(lines, torch.zeros(3, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="there are no delays"):
        crystal_rates(LINES, torch.zeros(0, 3, dtype=torch.int64))


def test_delays_outside_the_lines_are_refused():
    with pytest.raises(ValueError, match="column 0 of events runs from -1 to -1, expected 0 to 60"):
        crystal_rates(LINES, torch.tensor([[-1, 0, 0]]))
    with pytest.raises(TypeError, match="expected whole numbers"):
        crystal_rates(LINES, torch.ones(3, 3))
