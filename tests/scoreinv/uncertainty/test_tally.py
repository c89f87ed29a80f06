import pytest
import torch
from toys import no_more_than, random

from scoreinv.samplers import Step
from scoreinv.uncertainty import Split, Tally

STEP = Step(0, 2.0, (1.5,), 3, 0.1, 0.2, 0.3)


def tally(images, start=None):
    counted = start or Tally()
    for image in images:
        parts = Split(0.6 * image, 0.4 * image, 2)
        counted.add(image, image.real[None] > 0, {"number": float(image.real.sum())}, [STEP], parts)
    return counted


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_a_tally_that_goes_on_equals_one_that_was_never_ended(tmp_path, dtype):
    images = [random(3, 4, dtype=dtype, seed=k) for k in range(5)]
    whole = tally(images)
    tally(images[:2]).save(tmp_path / "tally.pt", "key")
    again = tally(images[2:], Tally.load(tmp_path / "tally.pt", "key"))
    assert again.count == 5
    assert torch.equal(again.moments.mean, whole.moments.mean)
    assert torch.equal(again.unmeasured.std, whole.unmeasured.std)
    assert torch.equal(again.above, whole.above)
    assert (again.rows, again.steps) == (whole.rows, whole.steps)


def test_counts_and_moments_are_those_of_the_images():
    images = torch.stack([random(3, 4, seed=k) for k in range(5)])
    counted = tally(images)
    torch.testing.assert_close(counted.moments.std, images.std(0))
    assert torch.equal(counted.above[0], (images > 0).sum(0).int())
    assert counted.measured_share == pytest.approx(0.36 / (0.36 + 0.16))


def test_of_something_else_or_damaged_nothing_comes_back(tmp_path):
    path = tmp_path / "tally.pt"
    assert Tally.load(path, "key") is None
    tally([random(3, 4)]).save(path, "key")
    assert Tally.load(path, "other") is None
    path.write_bytes(path.read_bytes()[:100])
    assert Tally.load(path, "key") is None


def test_a_failing_write_leaves_the_tally_that_was_there(tmp_path):
    path = tmp_path / "tally.pt"
    tally([random(3, 4)]).save(path, "key")
    with no_more_than(1000), pytest.raises(OSError, match="too large"):
        tally([random(30, 40)]).save(path, "key")
    assert Tally.load(path, "key").count == 1
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_not_asked_for_has_no_share():
    counted = Tally()
    counted.add(torch.ones(2, 2), torch.ones(0, 2, 2), {})
    assert counted.measured_share is None
