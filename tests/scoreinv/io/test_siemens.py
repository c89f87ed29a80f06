import numpy as np
import pytest
import torch

from scoreinv.io import histogram, read_siemens_list_mode
from scoreinv.operators import PETScanner, Sinogram

TAG, PROMPT = 1 << 31, 1 << 30


def address(plane, view, radial):
    return (plane * 252 + view) * 344 + radial


def write(path, words):
    np.asarray(words, dtype="<u4").tofile(path)
    return path


WORDS = [
    TAG | 1000,
    PROMPT | address(0, 3, 172),
    address(4083, 251, 343),
    PROMPT | address(64, 10, 0),  # rings 1 and 0
    TAG | 1250,
    TAG | (1 << 30) | 7,  # a tag, but not of time
]


def test_words_become_events(tmp_path):
    events = read_siemens_list_mode(write(tmp_path / "scan.l", WORDS))
    assert events.prompts.tolist() == [[172, 3, 0], [0, 10, 64]]
    assert events.delays.tolist() == [[343, 251, 4083]]
    assert events.seconds == 0.25
    assert events.outside == (0, 0)


def test_files_are_read_alike_in_any_chunks(tmp_path, monkeypatch):
    path = write(tmp_path / "scan.l", WORDS * 5)
    whole = read_siemens_list_mode(path)
    monkeypatch.setattr("scoreinv.io.siemens._WORDS", 4)
    parts = read_siemens_list_mode(path)
    assert torch.equal(parts.prompts, whole.prompts)
    assert torch.equal(parts.delays, whole.delays)


def test_a_smaller_sinogram_takes_its_own_bins_and_counts_the_rest(tmp_path):
    path = write(tmp_path / "scan.l", WORDS)
    trimmed = read_siemens_list_mode(path, Sinogram(200, 5))
    assert trimmed.prompts.tolist() == [[100, 3, 0]]
    assert trimmed.outside == (1, 1)
    joined = read_siemens_list_mode(path, Sinogram(344, 60, 11))
    planes = Sinogram(344, 60, 11).planes(PETScanner.biograph_mmr())
    assert (1, 0) in planes[int(joined.prompts[1, 2])]


def test_delays_may_go_into_a_sinogram_of_their_own(tmp_path):
    path, small = write(tmp_path / "scan.l", WORDS), Sinogram(200, 5)
    events = read_siemens_list_mode(path, small, Sinogram(344, 60))
    assert torch.equal(events.prompts, read_siemens_list_mode(path, small).prompts)
    assert torch.equal(events.delays, read_siemens_list_mode(path).delays)
    assert events.outside == (1, 0)


def test_histogram_counts_events():
    events = torch.tensor([[1, 0, 2], [1, 0, 2], [0, 1, 0]], dtype=torch.int16)
    counts = histogram(events, (2, 2, 3))
    assert counts[1, 0, 2] == 2
    assert counts[0, 1, 0] == 1
    assert counts.sum() == 3
    assert histogram(events[:0], (2, 2, 3)).sum() == 0
    with pytest.raises(ValueError, match="column 2 of events runs from 0 to 2, expected 0 to 1"):
        histogram(events, (2, 2, 2))


def test_bad_files_are_refused(tmp_path):
    path = write(tmp_path / "scan.l", WORDS)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match="22 bytes are no whole number of 32-bit words"):
        read_siemens_list_mode(path)
    with pytest.raises(ValueError, match="holds the address"):
        read_siemens_list_mode(write(path, [PROMPT | address(4084, 0, 0)]))
    with pytest.raises(FileNotFoundError):
        read_siemens_list_mode(tmp_path / "none.l")
    with pytest.raises(ValueError, match="is empty, expected 32-bit words"):
        read_siemens_list_mode(write(path, []))
    silent = read_siemens_list_mode(write(path, WORDS[-2:]))
    assert len(silent.prompts) == len(silent.delays) == 0
