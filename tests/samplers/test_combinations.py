"""Parts that fit together whatever they are: steppers, guidances, priors, couplings; real and complex, 2D and 3D."""

import itertools

import pytest
import torch
from torch import nn
from toys import Columns, random, unet

from scoreinv.operators import Gaussian, Poisson
from scoreinv.priors import (
    EDM,
    VE,
    VP,
    GaussianMixturePrior,
    GaussianPrior,
    NetworkPrior,
    PerpendicularPlanes,
    SliceWise,
    Tiled,
)
from scoreinv.priors.vp import linear_betas
from scoreinv.samplers import (
    DDIM,
    Ancestral,
    DPMSolver2M,
    Heun,
    NoiseSource,
    PredictorCorrector,
    Problem,
    ReverseSDE,
    TVz,
    TwistedSMC,
    guidance,
    schedules,
    start,
    steppers,
    walk,
)
from scoreinv.samplers.guidance import DAPS, DDS, DPS, MAPEM, MBIR, MCG, POCS, DiffPIR, DPSShift, LoRA, PiGDM, PnPADMM

GUIDANCES = [DDS(), DPS(), DPSShift(), MCG(), DiffPIR(), PiGDM(), PiGDM("jacobian", 3), DAPS(2), POCS(), MBIR()]
GUIDANCES += [PnPADMM()]
TUNED = [DDS(tune="discrepancy"), DDS(tune="sure"), DDS(gamma=1.0), DDS(adapt=LoRA(steps=1))]
STEPPERS = [
    DDIM(),
    DDIM(0.85, "dds"),
    Ancestral(),
    ReverseSDE("ve"),
    ReverseSDE("vp"),
    PredictorCorrector(),
    Heun(0.2),
    DPMSolver2M(),
]
ZEROS = torch.zeros(16, 16)
BETAS = tuple(linear_betas().tolist())


class Convolution(nn.Module):
    """The smallest network that sees neighbours and the noise level."""

    def __init__(self, channels):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, label):
        return self.layer(x) / (1 + label.abs()).reshape(-1, 1, 1, 1)


def network(parametrisation=None, channels=1):
    return NetworkPrior(Convolution(channels), parametrisation=parametrisation, channels=channels, precision="fp32")


def planes(prior, mode="alternate"):
    return PerpendicularPlanes(prior, mode=mode)


# Images of (16, 16) or (4, 16, 16), complex where the name says so.
PRIORS = {
    "gaussian": lambda: GaussianPrior(ZEROS, 0.25),
    "mixture": lambda: GaussianMixturePrior(torch.ones(2), torch.stack([ZEROS, ZEROS + 1]), [0.1, 0.2]),
    "complex gaussian": lambda: GaussianPrior(ZEROS.to(torch.complex64), 0.25),
    "edm": lambda: network(EDM()),
    "unet": lambda: NetworkPrior(unet(), precision="fp32"),
    "vp": lambda: network(VP(BETAS, "v_prediction")),
    "continuous vp": lambda: network(VP((0.1, 20.0), continuous=True)),
    "ve": lambda: network(VE()),
    "complex, two channels": lambda: network(EDM(), channels=2),
    "complex, part by part": lambda: network(VP(BETAS)),
    "tiled": lambda: Tiled(network(EDM()), 12, 5, 2),
    "volume": lambda: SliceWise(GaussianPrior(ZEROS, 0.25)),
    "volume, network": lambda: SliceWise(network(VE()), max_slices=3),
    "volume, tiled": lambda: SliceWise(Tiled(network(VP(BETAS)), 12, 5, 2)),
    "volume, planes": lambda: planes(network(EDM())),
    "volume, mean of planes": lambda: planes(network(VP(BETAS, "sample")), "average"),
    "complex volume, planes": lambda: planes(network(EDM(), channels=2), "random"),
}
# Every guidance with every stepper, every prior in turn; and every prior with every guidance, every stepper in turn.
COMBINATIONS = {
    (GUIDANCES.index(g), STEPPERS.index(s), p)
    for (g, s), p in zip(itertools.product(GUIDANCES, STEPPERS), itertools.cycle(PRIORS), strict=False)
} | {
    (GUIDANCES.index(g), STEPPERS.index(s), p)
    for (p, g), s in zip(itertools.product(PRIORS, GUIDANCES), itertools.cycle(STEPPERS), strict=False)
}


def samples_of(guidance, stepper, kind, shape=None):
    """Walk three levels with two samples, and what an image of theirs should be like: (samples, image)."""
    shape = shape or ((4, 16, 16) if "volume" in kind else (16, 16))
    dtype = torch.complex64 if "complex" in kind else torch.float32
    A = Columns(shape, (*shape[:-1], shape[-1] // 2), dtype, dtype)
    coupling = TVz() if "volume" in kind and guidance.couples else None
    y, likelihood = A(0.5 * random(*shape, dtype=dtype)), Gaussian(0.05)
    if isinstance(guidance, MAPEM):
        y, likelihood = y.abs().mul(20).round(), Poisson(0.1)
    p = Problem(A, y, likelihood, PRIORS[kind](), coupling)
    source = NoiseSource(0, shape, dtype)
    state = walk(p, guidance, stepper, schedules.edm(3, 5.0, 0.05), source, [0, 1], start(source, 5.0, [0, 1]))
    return state.z, torch.empty(shape, dtype=dtype)


def are_images(samples, image):
    """Whether two samples came back finite, in the image's shape and dtype, each its own."""
    alike = samples.shape == (2, *image.shape) and samples.dtype == image.dtype
    return alike and bool(torch.isfinite(samples).all()) and not torch.equal(*samples)


@pytest.mark.parametrize(("g", "s", "kind"), sorted(COMBINATIONS), ids=lambda v: v if isinstance(v, str) else None)
def test_any_stepper_guidance_and_prior_run_together(g, s, kind):
    assert are_images(*samples_of(GUIDANCES[g], STEPPERS[s], kind))


@pytest.mark.parametrize("stepper", STEPPERS, ids=repr)
@pytest.mark.parametrize("kind", ["gaussian", "unet", "vp", "tiled", "volume, network", "volume, planes"])
def test_counts_run_with_any_stepper_and_real_prior(stepper, kind):
    assert are_images(*samples_of(MAPEM(2), stepper, kind))


@pytest.mark.parametrize("guidance", TUNED[:3], ids=repr)
@pytest.mark.parametrize("kind", PRIORS)
def test_tuning_runs_with_any_prior(guidance, kind):
    assert are_images(*samples_of(guidance, DDIM(1.0), kind))


@pytest.mark.parametrize("stepper", STEPPERS, ids=repr)
@pytest.mark.parametrize("kind", ["unet", "complex, two channels", "volume, network", "volume, planes"])
def test_adaptation_runs_with_any_network_and_stepper(stepper, kind):
    assert are_images(*samples_of(TUNED[3], stepper, kind))


@pytest.mark.parametrize("kind", ["gaussian", "tiled", "volume, mean of planes"])
def test_adaptation_refuses_what_is_not_one_network(kind):
    with pytest.raises(ValueError, match="has no network to adapt"):
        samples_of(TUNED[3], DDIM(), kind)


@pytest.mark.parametrize("guidance", [*GUIDANCES, *TUNED], ids=repr)
@pytest.mark.parametrize("kind", ["edm", "ve", "complex, two channels"])
def test_smc_runs_or_says_why_not(guidance, kind):
    if type(guidance) in (DDS, DPS, DiffPIR, PiGDM) and guidance not in (TUNED[0], TUNED[1], TUNED[3]):
        assert are_images(*samples_of(guidance, TwistedSMC(3), kind, (4, 4)))
    else:
        with pytest.raises(ValueError, match="TwistedSMC: "):
            samples_of(guidance, TwistedSMC(3), kind, (4, 4))


@pytest.mark.parametrize("guidance", GUIDANCES, ids=repr)
def test_a_sample_does_not_see_its_company(guidance):
    A = Columns((16, 16), (16, 8))
    p = Problem(A, A(random(16, 16, dtype=torch.float32)), Gaussian(0.1), GaussianPrior(ZEROS, 0.5))
    source, sigmas = NoiseSource(0, (16, 16)), schedules.edm(4, 5.0, 0.05)

    def samples(numbers):
        return walk(p, guidance, DDIM(1.0), sigmas, source, numbers, start(source, 5.0, numbers)).z

    torch.testing.assert_close(samples([2, 0, 1])[1], samples([0])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("guidance", GUIDANCES, ids=repr)
def test_rescaling_operator_data_and_noise_changes_nothing(guidance):
    A = Columns((16, 16), (16, 8))
    y = A(random(16, 16, dtype=torch.float32))
    source, sigmas, prior = NoiseSource(0, (16, 16)), schedules.edm(4, 5.0, 0.05), GaussianPrior(ZEROS, 0.5)
    results = [
        walk(
            Problem(c * A, c * y, Gaussian(c * 0.1), prior),
            guidance,
            DDIM(),
            sigmas,
            source,
            [0],
            start(source, 5.0, [0]),
        ).z
        for c in (1.0, 500.0)
    ]
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)


def test_every_guidance_and_stepper_is_tried():
    assert {type(g).__name__ for g in [*GUIDANCES, MAPEM()]} == set(guidance.__all__) - {"Guidance", "LoRA"}
    assert {type(s).__name__ for s in STEPPERS} == set(steppers.__all__) - {"Denoise", "Stepper", "TwistedSMC"}
