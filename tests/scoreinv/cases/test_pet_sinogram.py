"""Measured sinograms: what is said and refused of their files."""

import pytest
import torch
from toy_pet import SCANNER, SINOGRAM, TRANSMISSION, VOLUME, body, crystals

from scoreinv.cases import load_case
from scoreinv.config import PETSettings, resolve
from scoreinv.io import Image, write_image, write_interfile_sinogram


def measured(folder, attenuation=None, **files):
    sections = {"grid": {"shape": VOLUME.shape, "voxel_size": VOLUME.voxel_size}, "lines": {"resolution_fwhm": None}}
    for name, data in files.items():
        write_interfile_sinogram(folder / f"{name}.hs", data, SCANNER, SINOGRAM)
    source = {name: folder / f"{name}.hs" for name in files} | {"attenuation": attenuation}
    return load_case(resolve(PETSettings, {"modality": "pet", "input": source} | sections))


@pytest.mark.parametrize(
    ("power", "message"), [(1, "falls with the attenuation .* would count twice"), (-1, "grows with the attenuation")]
)
@pytest.mark.parametrize("alone", [True, False])
def test_attenuation_beside_a_mu_map_is_refused(tmp_path, power, message, alone):
    factors = TRANSMISSION**power if alone else crystals() * TRANSMISSION**power
    if alone and power == -1:
        factors = 2 * factors  # so that values alone do not tell
    mu = tmp_path / "mu.nii.gz"
    write_image(mu, Image(0.0096 * body(), VOLUME.voxel_size, tuple(VOLUME.first_voxel)))
    with pytest.raises(ValueError, match=rf"input\.efficiencies: .*\.hs: PET: normalisation {message}"):
        measured(tmp_path, mu, sinogram=TRANSMISSION.round() + 1, efficiencies=factors)


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
