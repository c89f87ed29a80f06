import pytest
import torch
from toys import no_more_than, random

from scoreinv.samplers import Step
from scoreinv.samples import SampleStore

STEPS = (Step(0, 2.0, (1.5, 2.5), 3, 0.1, 0.2, 0.3), Step(1, 0.1, (), 0, 0.0, 0.0, 0.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_a_sample_comes_back_bit_by_bit_with_its_steps(tmp_path, dtype):
    image = random(2, 3, 4, dtype=dtype)
    SampleStore(tmp_path, "key").write(3, image, STEPS)
    sample = SampleStore(tmp_path, "key").read(3)
    assert torch.equal(sample.image, image)
    assert sample.image.dtype == dtype
    assert sample.steps == STEPS


def test_samples_made_from_something_else_are_not_there(tmp_path):
    SampleStore(tmp_path, "one").write(0, torch.ones(2))
    SampleStore(tmp_path, "two").write(4, torch.ones(2))
    assert SampleStore(tmp_path, "one").numbers() == [0]
    assert 4 not in SampleStore(tmp_path, "one")
    assert SampleStore(tmp_path / "none", "one").numbers() == []


@pytest.mark.parametrize("kept", [0, 4, 100, -4])
def test_damaged_samples_are_not_there(tmp_path, kept):
    store = SampleStore(tmp_path, "key")
    store.write(0, torch.ones(50))
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:kept])
    assert store.read(0) is None


def test_a_failing_write_leaves_the_sample_that_was_there(tmp_path):
    store = SampleStore(tmp_path, "key")
    store.write(0, torch.ones(2))
    with no_more_than(1000), pytest.raises(OSError, match=r"000000\.safetensors: cannot be written .*too large"):
        store.write(0, torch.zeros(1000))
    assert torch.equal(store.read(0).image, torch.ones(2))
    assert len(list(tmp_path.iterdir())) == 1


def test_whoever_asks_is_told_of_a_sample_once_it_is_there(tmp_path):
    told = []
    store = SampleStore(tmp_path, "key", written=lambda number: told.append((number, number in store)))
    store.write(5, torch.ones(2))
    assert told == [(5, True)]
