"""Learned factors and their record."""

import json

import numpy as np
import pytest

from scoreinv.uncertainty import Calibration, Observed, coverage, factor
from scoreinv.uncertainty.calibration import find, path_beside
from scoreinv.uncertainty.conformal import learned_factor, standard_error

SAMPLES = 10
ACQUISITION = {"method": "dds", "scan": {"views": 24, "photons": None}}


def observed(cases, spread, seed):
    """Cases whose spread is too small by a factor that varies, errors with long tails."""
    generator = np.random.default_rng(seed)
    scales = spread * np.exp(0.3 * generator.normal(size=cases))
    return [
        Observed(
            np.abs(scale * generator.standard_t(4, 3000)), 1.0, float(generator.integers(0, SAMPLES + 1)) / SAMPLES
        )
        for scale in scales
    ]


def calibrated(spread=3.0):
    return Calibration.learn(observed(60, spread, 0), observed(60, spread, 1), ACQUISITION, SAMPLES)


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_learned_factors_cover_held_out_cases(spread):
    found = calibrated(spread)
    before, after = (each.coverage[found.levels.index(0.9)] for each in (found.before, found.after))
    assert not 0.85 < before < 0.95
    assert 0.88 <= after <= 0.92
    assert found.after.calibration_error < 0.02 < found.before.calibration_error


def test_cases_of_few_voxels_weigh_as_much_as_those_of_many():
    cases = [Observed(np.full(10_000, 1.0), 1.0, 0.5), Observed(np.full(10, 2.0), 1.0, 0.5)]
    assert learned_factor(cases, 0.45) == 1.0
    assert learned_factor(cases, 0.55) == 2.0
    assert coverage(cases, [1.0]).mean() == 0.5
    assert standard_error(cases, 1.0) == pytest.approx(0.5)


def test_voxels_without_spread_are_not_calibrated_away():
    cases = [Observed(np.array([1.0, np.inf]), 1.0, 0.5)] * 2
    with pytest.raises(ValueError, match="50% of the voxels have no spread"):
        learned_factor(cases, 0.9)


def test_a_record_is_read_back_as_it_was_written(tmp_path):
    found = calibrated()
    found.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == found


def test_a_calibration_is_found_for_its_acquisition_alone(tmp_path):
    found = calibrated()
    found.save(path_beside(tmp_path, ACQUISITION))
    assert find(tmp_path, ACQUISITION, SAMPLES) == find(tmp_path, ACQUISITION, 2 * SAMPLES) == found
    assert find(tmp_path, ACQUISITION, SAMPLES - 1) is None
    assert find(tmp_path, ACQUISITION | {"method": "dps"}, SAMPLES) is None


def test_a_damaged_calibration_beside_a_prior_is_said_and_leaves_results_uncalibrated(tmp_path, caplog):
    path = path_beside(tmp_path, ACQUISITION)
    calibrated().save(path)
    path.write_text(path.read_text()[:100])
    assert find(tmp_path, ACQUISITION, SAMPLES) is None
    assert "stays uncalibrated" in caplog.text
    assert "calibrate again" in caplog.text


def test_factors_come_without_test_cases_too():
    found = Calibration.learn(observed(20, 1.0, 0), [], ACQUISITION, SAMPLES)
    assert found.before is None
    assert found.label()["coverage_90"] is None
    with pytest.raises(ValueError, match=r"nothing was learned for 0\.99"):
        found.factor(0.99)


@pytest.mark.parametrize("change", [{"version": 2}, {"format": "other"}, {"surprise": 1}])
def test_other_files_are_refused(tmp_path, change):
    path = tmp_path / "calibration.json"
    calibrated().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match="calibrate again"):
        Calibration.load(path)


def test_theory_needs_wider_intervals_of_few_samples():
    assert factor(0.9, 3) > factor(0.9, 10) > factor(0.9, 1000) > 1.64
