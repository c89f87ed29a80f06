import numpy as np
import pytest
import torch

from scoreinv.io import histogram, read_interfile_sinogram, read_siemens_list_mode
from scoreinv.operators import LinesOfResponse, PETScanner, Sinogram, crystal_rates

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


def test_histogram_counts_events():
    events = torch.tensor([[1, 0, 2], [1, 0, 2], [0, 1, 0]], dtype=torch.int16)
    counts = histogram(events, (2, 2, 3))
    assert counts[1, 0, 2] == 2
    assert counts[0, 1, 0] == 1
    assert counts.sum() == 3
    assert histogram(events[:0], (2, 2, 3)).sum() == 0


def test_bad_files_are_refused(tmp_path):
    path = write(tmp_path / "scan.l", WORDS)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match="22 bytes are no whole number of 32-bit words"):
        read_siemens_list_mode(path)
    with pytest.raises(ValueError, match="holds the address"):
        read_siemens_list_mode(write(path, [PROMPT | address(4084, 0, 0)]))
    with pytest.raises(FileNotFoundError):
        read_siemens_list_mode(tmp_path / "none.l")
    empty = read_siemens_list_mode(write(path, []))
    assert len(empty.prompts) == len(empty.delays) == 0


HEADER = """!INTERFILE :=
name of data file := scan.s
!GENERAL IMAGE DATA :=
imagedata byte order := LITTLEENDIAN
!number format := float
!number of bytes per pixel := 4
number of dimensions := 4
matrix axis label [4] := segment
!matrix size [4] := 3
matrix axis label [3] := view
!matrix size [3] := 6
matrix axis label [2] := axial coordinate
!matrix size [2] := { 2,3,2 }
matrix axis label [1] := tangential coordinate
!matrix size [1] := 5
minimum ring difference per segment := { -1,0,1 }
maximum ring difference per segment := { -1,0,1 }
number of rings := 3
number of detectors per ring := 12
inner ring diameter (cm) := 20
average depth of interaction (cm) := 0.5
distance between rings (cm) := 0.4
; a comment := with a sign
data offset in bytes[1] := 0
!END OF INTERFILE :=
"""


class TestInterfile:
    def write(self, folder, header=HEADER, values=None, kind="<f4"):
        np.asarray(np.arange(210) if values is None else values, dtype=kind).tofile(folder / "scan.s")
        (folder / "scan.hs").write_text(header)
        return folder / "scan.hs"

    def test_segments_find_their_planes(self, tmp_path):
        read = read_interfile_sinogram(self.write(tmp_path))
        assert read.data.shape == LinesOfResponse(read.scanner, read.sinogram).shape == (5, 6, 7)
        planes = read.sinogram.planes(read.scanner)
        # In the file: segment -1 with its two planes, view by view, then segment 0 with three.
        assert read.data[4, 2, planes.index([(2, 1)])] == (2 * 2 + 1) * 5 + 4
        assert read.data[3, 5, planes.index([(1, 1)])] == 60 + (5 * 3 + 1) * 5 + 3
        assert read.data[0, 1, planes.index([(0, 1)])] == 150 + (1 * 2) * 5
        assert read.scanner.radius == 105
        assert read.scanner.ring_positions == (4.0, 0.0, -4.0)

    def test_the_other_order_of_axes_and_other_numbers_give_the_same(self, tmp_path):
        wanted = read_interfile_sinogram(self.write(tmp_path)).data
        blocks = np.split(np.arange(210), [60, 150])
        turned = [block.reshape(6, n, 5).swapaxes(0, 1).ravel() for block, n in zip(blocks, (2, 3, 2), strict=True)]
        header = HEADER.replace("[3]", "[x]").replace("[2]", "[3]").replace("[x]", "[2]")
        header = header.replace("float", "signed integer").replace("pixel := 4", "pixel := 2").replace("LITTLE", "BIG")
        got = read_interfile_sinogram(self.write(tmp_path, header, np.concatenate(turned), ">i2")).data
        assert torch.equal(got, wanted)

    def test_a_span_is_found(self, tmp_path):
        header = HEADER.replace("[4] := 3", "[4] := 1").replace("{ 2,3,2 }", "{ 5 }")
        header = header.replace("{ -1,0,1 }", "{ -1 }", 1).replace("{ -1,0,1 }", "{ 1 }")
        read = read_interfile_sinogram(self.write(tmp_path, header, np.arange(150)))
        assert read.sinogram == Sinogram(5, 1, 3)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("[3] := 6", "[3] := 7", "7 views, expected 6"),
            ("{ 2,3,2 }", "{ 2,3,3 }", "expected \\[2, 3, 2\\] of 3 rings"),
            ("{ 2,3,2 }", "{ 2,3 }", "expected as many of each"),
            ("[1] := 5", "[1] := 6", "has 840 bytes of numbers, expected 1008"),
            ("float", "double", "numbers are 'double'"),
            ("number of rings := 3", "number of ring := 3", "has no key 'number of rings'"),
            ("distance between rings (cm) := 0.4", "distance between rings (cm) := far", "expected a number"),
            ("{ 2,3,2 }", "many", "expected whole numbers"),
            ("dimensions := 4", "dimensions := 5", "without time of flight"),
            ("; a comment := with a sign", "applied corrections := {arc correction}", "without arc correction"),
            ("; a comment := with a sign", "patient orientation := feet_in", "expected head_in"),
        ],
    )
    def test_headers_that_contradict_themselves_are_refused(self, tmp_path, old, new, message):
        assert old in HEADER
        with pytest.raises(ValueError, match=message):
            read_interfile_sinogram(self.write(tmp_path, HEADER.replace(old, new)))

    def test_missing_numbers_are_named(self, tmp_path):
        path = self.write(tmp_path)
        (tmp_path / "scan.s").unlink()
        with pytest.raises(FileNotFoundError, match=r"scan\.s: no such file"):
            read_interfile_sinogram(path)


class TestRandoms:
    LINES = LinesOfResponse(PETScanner.demo(4), Sinogram(61, 2))

    def delays(self, rates, seed=0):
        counts = torch.poisson(self.LINES.products(rates), generator=torch.Generator().manual_seed(seed))
        bins = torch.nonzero(counts)
        return bins.repeat_interleave(counts[tuple(bins.unbind(1))].long(), dim=0)

    def test_rates_of_crystals_are_found(self):
        truth = 0.5 + torch.rand(4, 224, generator=torch.Generator().manual_seed(1))
        truth[:, ::8] = 0
        found = crystal_rates(self.LINES, self.delays(truth))
        assert float((found - truth).norm() / truth.norm()) < 0.12  # some 100 to 250 counts a crystal
        assert float(found[:, ::8].abs().max()) == 0

    def test_randoms_have_the_counts_of_the_delays_and_less_noise(self):
        truth = torch.ones(4, 224) * 0.3
        delays = self.delays(truth)
        randoms = self.LINES.products(crystal_rates(self.LINES, delays))
        assert float(randoms.sum()) == pytest.approx(len(delays), rel=1e-3)
        assert float((randoms - 0.09).std()) < 0.5 * 0.09**0.5

    def test_a_span_does_not_tell_the_rings(self):
        lines = LinesOfResponse(PETScanner.demo(4), Sinogram(61, 2, 3))
        with pytest.raises(ValueError, match="span is 3"):
            crystal_rates(lines, torch.zeros(3, 3, dtype=torch.int64))
        with pytest.raises(ValueError, match="with events"):
            crystal_rates(self.LINES, torch.zeros(0, 3, dtype=torch.int64))
