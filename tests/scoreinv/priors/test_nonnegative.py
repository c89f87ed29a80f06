import torch
from toys import random

from scoreinv.priors import GaussianPrior, IntensityMap, NonNegative, SliceWise

PRIOR = GaussianPrior(torch.zeros(4, 5), 0.25)


def z():
    return random(3, 4, 5, dtype=torch.float32)


def test_estimates_below_zero_are_zero_and_others_unchanged():
    alone, got = PRIOR.denoise(z(), 0.3), NonNegative(PRIOR).denoise(z(), 0.3)
    torch.testing.assert_close(got, torch.where(alone > 0, alone, 0.0))


def test_zero_is_that_of_the_image():
    prior = NonNegative(PRIOR.scaled(IntensityMap(2.0, 0.4)))
    image = prior.intensity.to_image(prior.denoise(z(), 0.3))
    assert float(image.min()) == 0
    torch.testing.assert_close(image, prior.intensity.to_image(PRIOR.denoise(z(), 0.3)).clamp(min=0))


def test_jacobian_is_that_of_the_prior():
    v = random(3, 4, 5, seed=1, dtype=torch.float32)
    x0, vjp = NonNegative(PRIOR).linearise(z(), 0.3)
    assert float(x0.min()) == 0
    torch.testing.assert_close(vjp(v), PRIOR.linearise(z(), 0.3)[1](v))


def test_lifting_and_scaling_go_through():
    prior = NonNegative(SliceWise(PRIOR)).scaled(IntensityMap(3.0))
    assert prior.intensity.scale == 3
    assert prior.error(0.3) == PRIOR.error(0.3)
    assert float(prior.at(1).denoise(z(), 0.3).min()) == 0
