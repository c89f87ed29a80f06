import pytest
import torch
from toys import random, unet

from scoreinv.operators import CartesianMRI, Gaussian
from scoreinv.priors import IntensityMap, NetworkPrior
from scoreinv.samples import SampleStore
from scoreinv.solve import prepare, sampled


@pytest.fixture(scope="module")
def scan():
    operator = CartesianMRI(torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) < 0.5)
    y = operator.forward(random(16, 16, dtype=torch.complex64))
    prior = NetworkPrior(unet(2), data_std=0.5, channels=2, intensity=IntensityMap(), multiple=2)
    return {"operator": operator, "measurements": y, "prior": prior, "likelihood": Gaussian(0.1), "steps": 3}


def solved(scan, store, **changes):
    options = {"samples": 5, "progress": False, "store": store} | changes
    return sampled(prepare(**scan, max_slices=2), **options)


class TestKeptSamples:
    @pytest.mark.parametrize("lost", [[], [0], [3], [0, 1, 2], [0, 1, 2, 3, 4]])
    def test_whatever_was_lost_the_result_is_the_uninterrupted_one(self, scan, tmp_path, lost):
        store = SampleStore(tmp_path, "key")
        whole = solved(scan, None)
        first = solved(scan, store)
        for number in lost:
            (tmp_path / f"{number:06d}.safetensors").unlink()
        again = solved(scan, store)
        for result in (first, again):
            assert torch.equal(result.samples, whole.samples)
            assert torch.equal(result.std, whole.std)
            assert [step.misfit for step in result.diagnostics] == [step.misfit for step in whole.diagnostics]
            assert result.config == whole.config

    def test_nothing_is_drawn_twice(self, scan, tmp_path):
        store, drawn = SampleStore(tmp_path, "key"), []
        solved(scan, store, samples=4)
        more = solved(scan, store, samples=6, callback=lambda step, state: drawn.append(len(state.z)))
        assert drawn == [2, 2, 2]
        assert torch.equal(more.samples, solved(scan, None, samples=6).samples)

    def test_a_kept_sample_is_what_comes_back(self, scan, tmp_path):
        store = SampleStore(tmp_path, "key")
        store.write(1, torch.full((16, 16), 7.0 + 1j))
        assert torch.equal(solved(scan, store).samples[1], torch.full((16, 16), 7.0 + 1j))


def test_samples_come_one_after_the_other(scan):
    posterior = prepare(**scan, max_slices=2)
    stream = posterior.samples(10**9)
    for expected, image in enumerate(solved(scan, None).samples):
        number, sample = next(stream)
        assert number == expected
        assert torch.equal(sample.image, image)


def test_a_gpu_that_is_too_small_says_what_needs_less(scan, monkeypatch):
    def exhausted(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")

    monkeypatch.setattr(scan["prior"], "denoise", exhausted)
    with pytest.raises(torch.OutOfMemoryError, match=r"images of shape \(16, 16\); lower max_slices.*streamed.*3 GiB"):
        solved(scan, None)
