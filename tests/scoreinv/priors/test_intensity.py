"""How the scale of images is found where data tell it."""

import pytest
import torch

from scoreinv.priors import IntensityMap


def patient(hot: float = 0.0, air: int = 40) -> torch.Tensor:
    """A cube of uptake 2 in air, with a hot spot of one hundredth of its volume."""
    image = torch.zeros(air, air, air)
    image[5:25, 5:25, 5:25] = 2.0
    image[5:9, 5:9, 5:10] += hot
    return image


def test_the_mean_of_the_voxels_above_the_threshold_is_one():
    image = patient() + 0.01 * torch.rand(40, 40, 40, generator=torch.Generator().manual_seed(0))
    fitted = IntensityMap(threshold=0.5).fitted(image)
    inside = image > 0.5 * image.mean()
    assert fitted.scale == pytest.approx(float(image[inside].mean()), rel=1e-5)
    assert fitted.to_network(image)[inside].mean() == pytest.approx(1.0, rel=1e-5)


def test_air_around_the_patient_changes_nothing():
    scales = [IntensityMap(threshold=0.5).fitted(patient(air=air)).scale for air in (26, 40, 60)]
    assert scales == pytest.approx([2.0] * 3, rel=1e-5)


def test_a_hot_spot_counts_as_activity_but_does_not_hide_the_patient():
    hot = patient(hot=100.0)
    spot = 0.01 * 100.0  # mean over the patient
    assert IntensityMap(threshold=0.5).fitted(hot).scale == pytest.approx(2 + spot, rel=1e-5)


def test_scales_follow_the_unit_of_the_data():
    image = patient(3.0)
    intensity = IntensityMap(threshold=0.5)
    assert intensity.fitted(1e5 * image).scale == pytest.approx(1e5 * intensity.fitted(image).scale, rel=1e-5)
    torch.testing.assert_close(
        intensity.fitted(1e5 * image).to_network(1e5 * image), intensity.fitted(image).to_network(image)
    )


def test_empty_images_are_named():
    with pytest.raises(ValueError, match="the mean of the image's magnitudes is 0, expected more than 0"):
        IntensityMap(threshold=0.5).fitted(torch.zeros(3, 4))


def test_two_rules_are_refused():
    with pytest.raises(ValueError, match="expected one rule for the scale"):
        IntensityMap(percentile=99.5, threshold=0.5)


def test_a_fixed_scale_stays():
    intensity = IntensityMap.attenuation()
    assert intensity.fixed
    assert intensity.fitted(patient()) is intensity
    assert not IntensityMap(percentile=99.5).fixed
