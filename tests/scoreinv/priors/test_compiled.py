"""A network compiled by torch, here to the operations that it was made of: no compiler of C++ is needed."""

from functools import partial

import pytest
import torch
from toys import unet

from scoreinv.cases.ct import simulate
from scoreinv.config.ct import CTSampling, Scan
from scoreinv.priors import GaussianPrior, NetworkPrior, SliceWise
from scoreinv.run import posterior


@pytest.fixture
def calls(monkeypatch):
    """Shapes that a compiled network was asked about."""
    seen = []
    compiler = partial(torch.compile, backend="eager")

    def compiling(network):
        made = compiler(network)

        def counted(x, label):
            seen.append(tuple(x.shape))
            return made(x, label)

        return counted

    monkeypatch.setattr(torch, "compile", compiling)
    return seen


def test_the_answers_stay_whatever_the_chunks(calls):
    prior = NetworkPrior(unet(), multiple=2, precision="fp32")
    z = torch.randn(5, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            SliceWise(prior.compiled(), max_slices=2).denoise(z, 0.5), SliceWise(prior).denoise(z, 0.5)
        )
    assert [shape[0] for shape in calls] == [2, 2, 1]


def test_a_network_that_is_differentiated_is_not_compiled(calls):
    prior = NetworkPrior(unet(), multiple=2, precision="fp32")
    z, v = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    (x0, vjp), (wanted, wanted_vjp) = prior.compiled().linearise(z, 0.5), prior.linearise(z, 0.5)
    assert not calls
    assert torch.equal(x0, wanted)
    for _ in range(2):  # more than once, as solvers ask
        assert torch.equal(vjp(v), wanted_vjp(v))


def test_a_prior_without_a_network_cannot_be_compiled():
    case = simulate(torch.zeros(2, 16, 16), (16.0, 16.0, 16.0), Scan(views=3))
    prior = GaussianPrior(torch.zeros(16, 16), 1.0)
    with pytest.raises(ValueError, match=r"sampling.compile: GaussianPrior.* has no network"):
        posterior("dds", case, prior, CTSampling(compile=True, steps=1))


@pytest.mark.parametrize("asked", [True, False])
def test_a_configuration_asks_for_it(calls, asked):
    case = simulate(torch.zeros(2, 16, 16), (16.0, 16.0, 16.0), Scan(views=3))
    drawn = posterior("dds", case, NetworkPrior(unet(), multiple=2), CTSampling(compile=asked, steps=1))
    with torch.no_grad():
        drawn.problem.prior.denoise(torch.zeros(2, 16, 16), 0.5)
    assert bool(calls) == asked
