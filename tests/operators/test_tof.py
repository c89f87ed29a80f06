import pytest

from scoreinv.operators import TOF


def test_a_resolution_in_nanoseconds_is_refused():
    with pytest.raises(ValueError, match=r"fwhm is 0\.4 ps, expected at least 10, .*; multiply nanoseconds by 1000"):
        TOF.from_times(13, 0.312, 0.4)


def test_tof_from_times_is_half_the_speed_of_light():
    tof = TOF.from_times(13, 100.0, 400.0)
    assert (tof.bin_width, tof.fwhm) == pytest.approx((14.99, 59.96), abs=0.01)
