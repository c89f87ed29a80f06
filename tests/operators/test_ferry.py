"""Which transfers and computations may run at the same time, and which must not."""

import pytest
import torch
from simulated_streams import Streams

from scoreinv.operators._ferry import Ferry

SUMS, PIECES = 3, 4


class Traced(torch.Tensor):
    """A tensor whose copies are known by its name: what is put off is the GPU's, the rest the CPU's."""

    @staticmethod
    def named(label, streams):
        x = torch.zeros(2).as_subclass(Traced)
        x.label, x.streams = label, streams
        return x

    def to(self, device, non_blocking):
        assert non_blocking
        self.streams.queue(f"there {self.label}")
        return self.clone()

    def copy_(self, source, non_blocking=False):
        if non_blocking:
            self.streams.queue(f"back {self.label}")
        elif self.label.startswith("into"):
            self.streams.do(f"write {self.label}")
        return super().copy_(source)


@pytest.fixture
def streams(monkeypatch):
    """After some sums of some pieces each."""
    streams = Streams(monkeypatch)
    monkeypatch.setattr("scoreinv.operators._ferry.page_locked", lambda like: Traced.named(like.label, streams))
    with Ferry("cuda") as ferry:
        for t in range(SUMS):
            pieces = [Traced.named(f"{t}.{i}", streams) for i in range(PIECES)]
            for i, _ in enumerate(ferry.there(pieces)):
                streams.queue(f"compute {t}.{i}")
            ferry.back(Traced.named(f"{t}", streams), Traced.named(f"into {t}", streams))
    return streams


def pieces():
    return [f"{t}.{i}" for t in range(SUMS) for i in range(PIECES)]


def test_a_piece_is_there_before_it_is_computed_with(streams):
    for name in pieces():
        assert f"there {name}" in streams.begun[f"compute {name}"]


def test_a_piece_arrives_while_the_one_before_is_computed_with(streams):
    for before, name in zip(pieces(), pieces()[1:], strict=False):
        assert f"compute {before}" not in streams.begun[f"there {name}"]


def test_no_more_than_two_pieces_are_on_the_gpu(streams):
    for before, name in zip(pieces(), pieces()[2:], strict=False):
        assert f"compute {before}" in streams.begun[f"there {name}"]


def test_memory_is_kept_until_it_was_read(streams):
    assert [over is streams.computing for _, over in streams.read] == [True] * SUMS * PIECES


def test_a_result_comes_when_it_is_done_and_the_next_one_is_being_computed(streams):
    for t in range(SUMS):
        assert f"compute {t}.{PIECES - 1}" in streams.begun[f"back {t}"]
        assert f"back {t}" in streams.begun[f"write into {t}"]
    for t in range(1, SUMS):
        for i in range(PIECES):
            assert f"back {t - 1}" not in streams.begun[f"there {t}.{i}"]
            assert f"back {t - 1}" not in streams.begun[f"compute {t}.{i}"]
        assert f"compute {t}.{PIECES - 1}" not in streams.begun[f"write into {t - 1}"]


def test_after_an_error_nothing_is_written(monkeypatch):
    Streams(monkeypatch)
    into = torch.zeros(2)

    def failing():
        ferry.back(torch.ones(2), into)
        raise ValueError("oops")

    with pytest.raises(ValueError, match="oops"), Ferry("cuda") as ferry:
        failing()
    assert not into.any()
