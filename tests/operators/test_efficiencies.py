import pytest
import torch

from scoreinv.cases import load_case
from scoreinv.config import PETSettings, resolve
from scoreinv.io import Image, write_image, write_interfile_sinogram
from scoreinv.operators import PET, PETScanner, Sinogram, Volume
from scoreinv.operators.efficiencies import check_attenuated_once, check_efficiencies

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


def measured(folder, **files):
    sections = {"grid": {"shape": VOLUME.shape, "voxel_size": VOLUME.voxel_size}, "lines": {"resolution_fwhm": None}}
    for name, data in files.items():
        write_interfile_sinogram(folder / f"{name}.hs", data, SCANNER, SINOGRAM)
    source = {name: folder / f"{name}.hs" for name in files}
    return load_case(resolve(PETSettings, {"modality": "pet", "input": source} | sections))


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


def test_a_measured_scan_says_what_is_not_corrected(tmp_path, caplog):
    measured(tmp_path, sinogram=(TRANSMISSION < 0.99).float())
    said = " ".join(record.message for record in caplog.records)
    assert "input.attenuation is not given: attenuation is not corrected" in said
    assert "input.background is not given: randoms and scatter are taken for true coincidences" in said
    caplog.clear()
    measured(tmp_path, sinogram=TRANSMISSION.round() + 2, background=torch.ones_like(TRANSMISSION))
    assert "input.background" not in " ".join(record.message for record in caplog.records)


def test_a_scan_of_no_counts_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"input: there are no counts in any line, .* is the scan empty"):
        measured(tmp_path, sinogram=torch.zeros_like(TRANSMISSION))
