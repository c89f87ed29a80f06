import pytest
import torch

from scoreinv.cases import load_case
from scoreinv.cases.efficiencies import check_attenuated_once, check_efficiencies
from scoreinv.config import PETSettings, resolve
from scoreinv.io import Image, write_image, write_interfile_sinogram
from scoreinv.operators import PET, PETScanner, Sinogram, Volume

SCANNER = PETScanner(150.0, 80, 1, 11.0, (6.0, 0.0, -6.0))
SINOGRAM = Sinogram(61, 1)
VOLUME = Volume((5, 20, 20), (3.0, 8.0, 8.0))


def body():
    axis = (torch.arange(20) - 9.5) * 8
    return (axis[:, None] ** 2 + (axis / 1.2) ** 2 < 50**2).float().expand(5, 20, 20).contiguous()


TRANSMISSION = PET(SCANNER, VOLUME, attenuation=0.0096 * body(), sinogram=SINOGRAM).transmission


def crystals(seed=0):
    """Efficiencies of a scanner: of single crystals, of the angle of incidence, and a dead block."""
    spread = torch.rand(TRANSMISSION.shape, generator=torch.Generator().manual_seed(seed))
    geometry = 1 - 0.3 * ((torch.arange(61) - 30) / 30).square()
    efficiencies = (0.7 + 0.6 * spread) * geometry[:, None, None]
    efficiencies[:, 10:15] = 0
    return efficiencies


@pytest.mark.parametrize("scale", [1e-4, 1.0, 50.0])
def test_efficiencies_of_any_scale_pass(scale):
    efficiencies = scale * crystals()
    check_efficiencies("n", efficiencies)
    seen = efficiencies > 0
    check_attenuated_once("n", efficiencies[seen], -TRANSMISSION[seen].log())


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


@pytest.mark.parametrize(
    ("power", "message"), [(1, "falls with the attenuation .* would count twice"), (-1, "grows with the attenuation")]
)
@pytest.mark.parametrize("alone", [True, False])
def test_attenuation_beside_a_mu_map_is_refused(tmp_path, power, message, alone):
    factors = TRANSMISSION**power if alone else crystals() * TRANSMISSION**power
    if alone and power == -1:
        factors = 2 * factors  # so that values alone do not tell
    write_image(tmp_path / "mu.nii.gz", Image(0.0096 * body(), VOLUME.voxel_size, tuple(VOLUME.first_voxel)))
    for name, data in (("prompts", TRANSMISSION.round() + 1), ("factors", factors)):
        write_interfile_sinogram(tmp_path / f"{name}.hs", data, SCANNER, SINOGRAM)
    files = {key: tmp_path / name for key, name in (("sinogram", "prompts.hs"), ("efficiencies", "factors.hs"))}
    sections = {"grid": {"shape": VOLUME.shape, "voxel_size": VOLUME.voxel_size}, "lines": {"resolution_fwhm": None}}
    files["attenuation"] = tmp_path / "mu.nii.gz"
    with pytest.raises(ValueError, match=rf"factors\.hs {message}"):
        load_case(resolve(PETSettings, {"modality": "pet", "input": files} | sections))
