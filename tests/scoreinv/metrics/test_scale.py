import torch

from scoreinv.metrics import magnitudes, psnr, to_attenuation, to_hu


def test_water_and_air():
    torch.testing.assert_close(to_hu(torch.tensor([0.0, 0.02])), torch.tensor([-1000.0, 0.0]))


def test_hu_round_trip(image):
    torch.testing.assert_close(to_attenuation(to_hu(image)), image)


def test_magnitudes_do_not_see_the_phase(image):
    turned = image * torch.exp(torch.tensor(0.7j))
    assert psnr(turned, image, magnitudes(image)) > 120
