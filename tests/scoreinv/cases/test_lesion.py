import pytest
import torch

from scoreinv.cases.lesion import with_lesion
from scoreinv.config.sampling import Lesion

SIZE = (4.0, 2.0, 2.0)


def patient():
    """A box of tissue of 100 in nothing."""
    image = torch.zeros(20, 40, 40)
    image[3:17, 5:35, 5:35] = 100
    return image


def test_it_adds_its_contrast_within_its_radius_and_lies_in_tissue():
    image, lesion = patient(), Lesion(contrast=30.0, radius=8.0, seed=3)
    added = with_lesion(image, SIZE, lesion, image > 50) - image
    assert float(added.max()) == pytest.approx(30)
    volume = float(added.sum()) / 30 * 4 * 2 * 2
    assert volume == pytest.approx(4 / 3 * torch.pi * 8**3, rel=0.15)
    assert bool((image[added != 0] == 100).all())


def test_contrast_is_a_share_of_what_surrounds_it_where_no_tissue_is_named():
    image = patient()
    added = with_lesion(image, SIZE, Lesion(contrast=0.5, radius=6.0)) - image
    assert float(added.max()) == pytest.approx(50)


def test_the_seed_moves_it():
    image = patient()
    first, again, other = (with_lesion(image, SIZE, Lesion(contrast=0.5, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_one_or_if_absent_the_patient_stays():
    image = patient()
    assert torch.equal(with_lesion(image, SIZE, None), image)
    assert torch.equal(with_lesion(image, SIZE, Lesion(contrast=0.5, present=False)), image)


def test_a_slice_goes_on_beyond_itself():
    image = patient()[10:11]
    assert float((with_lesion(image, SIZE, Lesion(contrast=0.5)) - image).max()) == pytest.approx(50)


def test_one_that_no_voxel_lies_about_is_refused():
    with pytest.raises(ValueError, match=r"lesion\.radius: 2 mm, no voxel of \[100.0, 30.0, 30.0\] mm lies about it"):
        with_lesion(patient(), (100.0, 30.0, 30.0), Lesion(contrast=0.5, radius=2.0))


def test_one_too_large_for_the_patient_says_what_fits():
    with pytest.raises(ValueError, match=r"lesion\.radius: 40 mm, expected at most 24 mm"):
        with_lesion(patient(), SIZE, Lesion(contrast=0.5, radius=40.0))
