from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scoreinv.operators import ConeBeamGeometry
from scoreinv.operators.detector import euler_angles, panel

SCAN = ConeBeamGeometry.circular(500.0, 800.0, (5, 8), (1.3, 0.9), np.linspace(0, 5, 7))


def test_a_circular_scans_panel_faces_its_source():
    screen = panel(SCAN, "test")
    assert screen.pixel_size == pytest.approx((1.3, 0.9), rel=1e-14)
    np.testing.assert_allclose(screen.normal, SCAN.sources / 500.0, atol=1e-14)
    np.testing.assert_allclose(screen.u * 0.9, SCAN.u_steps, atol=1e-14)
    np.testing.assert_allclose(screen.v * 1.3, SCAN.v_steps, atol=1e-14)


def test_rounding_is_forgiven_and_no_more():
    rounded = replace(SCAN, u_steps=SCAN.u_steps.astype(np.float32), v_steps=SCAN.v_steps.astype(np.float32))
    assert panel(rounded, "test").pixel_size == pytest.approx((1.3, 0.9), rel=1e-6)
    with pytest.raises(ValueError, match=r"test: view 1 has pixels \(v, u\) of 1.3 x 0.90009 mm"):
        panel(replace(SCAN, u_steps=SCAN.u_steps * (1 + 1e-4 * (np.arange(7) > 0))[:, None]), "test")
    with pytest.raises(ValueError, match=r"test: view 0 has rows and columns at 89\.99"):
        panel(replace(SCAN, v_steps=SCAN.v_steps + 1e-4 * SCAN.u_steps), "test")


@pytest.mark.parametrize("middle", [0.3, np.pi / 2])  # at a right angle two of the turns are about one line
def test_angles_make_their_rotation(middle):
    rotation = Rotation.from_euler("YXZ", [[0.4, middle, -2.0], [-3.0, middle, 1.0]])
    matrices = rotation.as_matrix()
    angles = euler_angles((matrices[..., 0], matrices[..., 1], matrices[..., 2]), "YXZ")
    np.testing.assert_allclose(Rotation.from_euler("YXZ", angles).as_matrix(), matrices, atol=1e-12)
