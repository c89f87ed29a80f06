import numpy as np
import pytest
import torch

from scoreinv.io import Projections, read_projections, write_projections
from scoreinv.operators import ConeBeamCT, Volume
from scoreinv.training.pair_source import FIRST_PHANTOM, PairSettings, PairSource
from scoreinv.training.pairs import Pair, read_pair, write_pair
from scoreinv.training.scans import ScanSettings, simulate, truncated
from scoreinv.training.slices import rng_of

SCAN = ScanSettings(detector_shape=(8, 12), pixel_size=(40.0, 40.0), views=6)
GRID = Volume((6, 8, 8), (40.0, 30.0, 30.0), center=(5.0, 0.0, -10.0))


def ball(radius=90.0):
    axes = [first + np.arange(n) * d for first, n, d in zip(GRID.first_voxel, GRID.shape, GRID.voxel_size, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return torch.from_numpy(np.where(z**2 + y**2 + x**2 < radius**2, 0.02, 0.0)).float()


def pair(subject="anyone"):
    return Pair(ball(), GRID, SCAN.geometry(), simulate(ball(), GRID, SCAN, rng_of(0, 1)), subject)


class TestFiles:
    def test_round_trip(self, tmp_path):
        write_pair(tmp_path / "a.h5", pair())
        back = read_pair(tmp_path / "a.h5")
        torch.testing.assert_close(back.attenuation, ball(), rtol=0, atol=1.1e-5)
        assert torch.equal(back.projections, pair().projections)
        assert (back.grid, back.subject) == (GRID, "anyone")
        np.testing.assert_allclose(back.geometry.sources, SCAN.geometry().sources)

    def test_file_is_one_of_projections_too(self, tmp_path):
        write_pair(tmp_path / "a.h5", pair())
        assert read_projections(tmp_path / "a.h5").data.shape == (6, 8, 12)

    def test_projections_without_an_image_are_refused(self, tmp_path):
        write_projections(tmp_path / "a.h5", Projections(pair().projections, SCAN.geometry()))
        with pytest.raises(ValueError, match=r"lacks /image.*write_pair"):
            read_pair(tmp_path / "a.h5")

    def test_views_are_chosen_with_their_geometry(self):
        geometry, projections = pair().views(np.array([4, 0, 4]))
        assert torch.equal(projections, pair().projections[[4, 0, 4]])
        assert np.array_equal(geometry.sources, SCAN.geometry().sources[[4, 0, 4]])


class TestSimulate:
    def test_without_noise_it_is_the_operator(self):
        quiet = SCAN.model_copy(update={"photons": None})
        assert torch.equal(simulate(ball(), GRID, quiet, rng_of(0)), ConeBeamCT(SCAN.geometry(), GRID)(ball()))

    def test_noise_has_the_variance_of_counts_and_electronics(self):
        scan = SCAN.model_copy(update={"photons": 1e4, "electronic_noise": 50.0, "views": 300})
        clear = torch.zeros(GRID.shape)
        noise = simulate(clear, GRID, scan, rng_of(0, 2))
        assert float(noise.var()) == pytest.approx((1e4 + 50**2) / 1e8, rel=0.03)
        assert float(noise.mean()) == pytest.approx(0, abs=5e-4)

    def test_no_photons_left_is_finite(self):
        scan = SCAN.model_copy(update={"photons": 1.0})
        assert simulate(10 * ball(), GRID, scan, rng_of(0, 3)).isfinite().all()

    def test_truncation_is_seen(self):
        assert truncated(ball(), GRID, SCAN.geometry()) == 0
        narrow = SCAN.model_copy(update={"detector_shape": (8, 5)}).geometry()
        assert truncated(ball(), GRID, narrow) > 0.1
        assert truncated(torch.zeros(GRID.shape), GRID, narrow) == 0


PHANTOMS = {"number": 3, "shape": (4, 8, 8), "voxel_size": (40.0, 40.0, 40.0), "scan": SCAN}


class TestSource:
    def source(self, **more):
        return PairSource(PairSettings(**{"phantoms": PHANTOMS, "validation": 1} | more), 0)

    def test_phantoms_of_validation_are_never_drawn(self, monkeypatch):
        from scoreinv import phantoms

        seeds, body = [], phantoms.body
        monkeypatch.setattr(phantoms, "body", lambda seed, *rest: seeds.append(seed) or body(seed, *rest))
        source = self.source()
        source.validation()
        kept = set(seeds)
        seeds.clear()
        rng = np.random.default_rng(0)
        for _ in range(20):
            source.draw(rng)
        assert not kept & set(seeds)
        assert len(seeds) == len(set(seeds)) == 3  # each is made once
        assert min(kept | set(seeds)) >= FIRST_PHANTOM

    def test_bodies_that_are_passed_over_are_those_of_another_set(self):
        [first, second] = self.source(phantoms=PHANTOMS, validation=2).validation()
        [other] = self.source(phantoms=PHANTOMS | {"first": 1}).validation()
        assert torch.equal(other.attenuation, second.attenuation)
        assert not torch.equal(other.attenuation, first.attenuation)

    def test_files_and_phantoms_are_mixed(self, tmp_path):
        for split, name in (("train", "a"), ("train", "b"), ("validation", "c")):
            (tmp_path / split).mkdir(exist_ok=True)
            write_pair(tmp_path / split / f"{name}.h5", pair(name))
        source = self.source(folder=tmp_path)
        rng = np.random.default_rng(1)
        drawn = {source.draw(rng).subject for _ in range(40)}
        assert {"a", "b"} < drawn
        assert "c" not in drawn
        assert [found.subject for found in source.validation()] == ["c", "phantom 0"]
        half = self.source(folder=tmp_path, fraction=0.5, phantom_share=0.0)
        assert {half.draw(rng).subject for _ in range(10)} == {"a"}

    def test_no_data_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="no data"):
            PairSource(PairSettings(), 0)
        with pytest.raises(FileNotFoundError, match="does not exist"):
            PairSource(PairSettings(folder=tmp_path / "none"), 0)
        with pytest.raises(FileNotFoundError, match=r"holds no \.h5 file"):
            PairSource(PairSettings(folder=tmp_path), 0)
