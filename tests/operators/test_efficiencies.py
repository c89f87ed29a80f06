import pytest
import torch
from toy_pet import SCANNER, SINOGRAM, TRANSMISSION, VOLUME, body, crystals

from scoreinv.operators import PET
from scoreinv.operators.efficiencies import check_attenuated_once, check_efficiencies


@pytest.mark.parametrize("scale", [1e-4, 1.0, 50.0])
def test_efficiencies_of_any_scale_pass(scale):
    efficiencies = scale * crystals()
    check_efficiencies("n", efficiencies)
    check_attenuated_once("n", efficiencies, TRANSMISSION)


def test_transmission_and_ideal_scanners_pass_without_a_mu_map():
    for efficiencies in (TRANSMISSION, TRANSMISSION * crystals(), torch.ones(3, 4, 5), (crystals() > 0).float()):
        check_efficiencies("n", efficiencies)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: 1 / TRANSMISSION, "as attenuation correction factors are"),
        (lambda n: 1e5 * n, "holds values up to .*e[+]05, expected efficiencies that multiply"),
        (lambda n: 0 * n, "nothing but 0"),
        (lambda n: n - 1, "negative values"),
        (lambda n: n * float("nan"), "NaN or Inf"),
    ],
)
def test_what_no_efficiencies_are_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        check_efficiencies("n", change(crystals()))


def test_the_operator_refuses_attenuation_as_its_normalisation():
    plain = {"sinogram": SINOGRAM, "normalisation": crystals()}
    with pytest.raises(ValueError, match=r"PET: normalisation is 1 on .* as attenuation correction factors are"):
        PET(SCANNER, VOLUME, **plain | {"normalisation": 1 / TRANSMISSION})
    for factors, message in (
        (TRANSMISSION, "which would count twice"),
        (2 / TRANSMISSION, "as attenuation"),
    ):
        operator = PET(SCANNER, VOLUME, attenuation=0.0096 * body(), **plain | {"normalisation": factors})
        with pytest.raises(ValueError, match=f"PET: normalisation .* {message}"):
            operator(torch.ones(VOLUME.shape))
    assert PET(SCANNER, VOLUME, attenuation=0.0096 * body(), **plain)(torch.ones(VOLUME.shape)).max() > 0


def test_what_is_no_sinogram_may_have_values_of_1_and_more():
    beds = torch.ones(1, 1, TRANSMISSION.shape[2])
    beds[..., 1:-1] = 2
    assert PET(SCANNER, VOLUME, sinogram=SINOGRAM, normalisation=beds)(torch.ones(VOLUME.shape)).max() > 0


def test_a_mouse_hardly_attenuates():
    falling = 1 - 0.3 * (1 - TRANSMISSION**0.2) / (1 - TRANSMISSION**0.2).max()
    check_attenuated_once("n", falling, TRANSMISSION**0.2)
