import math

import numpy as np
import pytest
import torch

from scoreinv.cases import load_case
from scoreinv.cases.ct import _binned, _grid, circular_geometry, noise_level, simulate
from scoreinv.config import CTSettings, resolve
from scoreinv.config.ct import Grid, Scan
from scoreinv.io import Image, Projections, read_image, write_image, write_projections, write_rtk
from scoreinv.metrics import to_attenuation
from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, Gaussian, ParallelBeamGeometry, Volume
from scoreinv.run import run


class TestInput:
    def test_volume_file(self, tmp_path):
        hu = torch.full((3, 16, 16), -1000.0)
        hu[:, 4:12, 4:12] = 40.0
        write_image(tmp_path / "ct.nii.gz", hu, voxel_size=(4.0, 3.0, 3.0))
        case = load_case(resolve(CTSettings, {"input": {"volume": str(tmp_path / "ct.nii.gz")}, "scan": {"views": 5}}))
        assert case.operator.volume == Volume((3, 16, 16), (4.0, 3.0, 3.0))
        assert tuple(case.measurements.shape) == case.operator.out_shape
        torch.testing.assert_close(case.reference, to_attenuation(hu))

    def test_volume_on_another_grid_stays_where_it_is_in_the_patient(self, tmp_path):
        hu = torch.full((8, 30, 30), -1000.0)
        hu[2:6, 10:24, 6:20] = 40.0
        flipped = np.diag([1.0, -1.0, -1.0])
        write_image(tmp_path / "ct.mha", Image(hu, (4.0, 3.0, 3.0), (10.0, -20.0, 30.0), flipped))
        tree = {"input": {"volume": str(tmp_path / "ct.mha")}, "scan": {"views": 2}}

        def middle(case):  # of the body, in the patient
            image = case.placed(case.reference)
            where = (image.data > 0.01).nonzero().double().mean(0).numpy()
            return image.origin + image.direction @ (where * image.voxel_size)

        own = load_case(resolve(CTSettings, tree))
        coarse = load_case(resolve(CTSettings, tree | {"grid": {"shape": [6, 20, 20], "voxel_size": [8.0, 6.0, 6.0]}}))
        assert coarse.operator.volume == Volume((6, 20, 20), (8.0, 6.0, 6.0))
        np.testing.assert_allclose(middle(coarse), middle(own), atol=1e-4)
        mass, expected = (float(case.reference.sum()) * np.prod(case.voxel_size) for case in (coarse, own))
        assert mass == pytest.approx(expected, rel=0.03)
        only_size = load_case(resolve(CTSettings, tree | {"grid": {"voxel_size": [2.0, 3.0, 3.0]}}))
        assert only_size.operator.in_shape == (16, 30, 30)

    def test_padding_below_air_is_air_before_it_is_averaged(self, tmp_path):
        hu = torch.full((4, 8, 8), 40.0)
        hu[..., 3:] = -3024.0
        write_image(tmp_path / "ct.mha", hu, voxel_size=(2.0, 2.0, 2.0))
        tree = {
            "input": {"volume": str(tmp_path / "ct.mha")},
            "grid": {"voxel_size": [4.0, 4.0, 4.0]},
            "scan": {"views": 2},
        }
        reference = load_case(resolve(CTSettings, tree)).reference
        borders = reference[..., 1]  # made of tissue and of padding
        assert (borders > 0.2 * to_attenuation(torch.tensor(40.0))).all()

    def test_measured_projections_keep_every_second_view(self, tmp_path):
        volume = Volume((6, 16, 16), (4.0, 4.0, 4.0))
        angles = np.linspace(0, 2 * np.pi, 30, endpoint=False)
        geometry = ConeBeamGeometry.circular(300, 450, (6, 24), (6.0, 6.0), angles)
        truth = torch.zeros(volume.shape)
        truth[1:5, 5:11, 5:11] = 0.02
        lines = ConeBeamCT(geometry, volume)(truth)
        lines = lines + 0.01 * torch.randn(lines.shape, generator=torch.Generator().manual_seed(0))
        write_projections(tmp_path / "scan.h5", Projections(lines, geometry))
        tree = {"input": {"projections": str(tmp_path / "scan.h5"), "every": 2}, "methods": ["fdk"]}
        case = load_case(resolve(CTSettings, tree))
        torch.testing.assert_close(case.measurements, lines[::2])
        assert case.operator.out_shape == (15, 6, 24)
        assert case.operator.volume.voxel_size == pytest.approx((4, 4, 4))
        assert case.reference.shape == case.operator.in_shape
        metrics = run(resolve(CTSettings, tree), tmp_path / "out", progress=False, say=lambda line: None)
        assert metrics["fdk"]["psnr"] > 25

    def test_a_stack_of_rtk_is_the_scan_of_our_own_file(self, tmp_path):
        geometry = ConeBeamGeometry.circular(300, 450, (4, 24), (6.0, 5.0), np.linspace(0, 6, 12), (3.0, -20.0))
        projections = Projections(torch.rand(geometry.shape), geometry)
        write_projections(tmp_path / "scan.h5", projections)
        write_rtk(projections, tmp_path / "stack.mha", tmp_path / "geometry.xml")
        ours, rtks = (
            load_case(resolve(CTSettings, {"input": {key: str(tmp_path / name) for key, name in files.items()}}))
            for files in ({"projections": "scan.h5"}, {"projections": "stack.mha", "geometry": "geometry.xml"})
        )
        assert torch.equal(rtks.measurements, ours.measurements)
        assert rtks.operator.volume.shape == ours.operator.volume.shape
        assert rtks.operator.volume.voxel_size == pytest.approx(ours.operator.volume.voxel_size)
        x = torch.rand(ours.operator.in_shape)
        torch.testing.assert_close(rtks.operator(x), ours.operator(x))

    def test_counts_are_not_taken_for_line_integrals(self, tmp_path):
        geometry = ConeBeamGeometry.circular(300, 450, (4, 24), (6.0, 6.0), np.linspace(0, 6, 12))
        write_projections(tmp_path / "scan.h5", Projections(1e5 * torch.rand(geometry.shape), geometry))
        settings = resolve(CTSettings, {"input": {"projections": str(tmp_path / "scan.h5")}})
        with pytest.raises(ValueError, match=r"scan\.h5: half of the line integrals are above .*; of counts take -log"):
            load_case(settings)

    def test_all_measured_views_leave_no_reference(self, tmp_path):
        geometry = ConeBeamGeometry.circular(300, 450, (4, 24), (6.0, 6.0), np.linspace(0, 6, 12))
        write_projections(tmp_path / "scan.h5", Projections(torch.rand(geometry.shape), geometry))
        tree = {
            "input": {"projections": str(tmp_path / "scan.h5")},
            "grid": {"shape": [2, 8, 8], "voxel_size": [8, 8, 8]},
            "methods": ["fdk"],
        }
        metrics = run(resolve(CTSettings, tree), tmp_path / "out", progress=False, say=lambda line: None)
        assert set(metrics["fdk"]) == {"seconds", "memory"}
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            "config.yaml",
            "metrics.json",
            "figure.png",
            "fdk.nii.gz",
        }
        assert read_image(tmp_path / "out" / "fdk.nii.gz").data.shape == (2, 8, 8)

    @pytest.mark.parametrize("kind", ["counts", "line_integrals"])
    @pytest.mark.parametrize("columns", [1, 2])
    def test_measured_counts_say_how_noisy_they_are(self, tmp_path, kind, columns):
        geometry = ConeBeamGeometry.circular(300, 450, (4, 24), (6.0, 6.0), np.linspace(0, 6, 12))
        clean = torch.linspace(0, 4, 24).expand(geometry.shape)
        counts = torch.poisson(2000 * torch.exp(-clean), generator=torch.Generator().manual_seed(0)).clamp(min=1)
        data = counts if kind == "counts" else -torch.log(counts / 2000)
        write_projections(tmp_path / "scan.h5", Projections(data, geometry, kind, 2000.0))
        tree = {"input": {"projections": str(tmp_path / "scan.h5"), "every": 2, "bin": columns}}
        case = load_case(resolve(CTSettings, tree))
        case.likelihood.check(case.measurements, case.operator.out_shape)
        z = (case.measurements - clean[::2].unflatten(-1, (-1, columns)).mean(-1)) / case.likelihood.sigma
        assert float(z.std()) == pytest.approx(1, abs=0.06)
        assert case.likelihood.mask is None
        if columns == 1:
            torch.testing.assert_close(case.likelihood.sigma, counts[::2].rsqrt(), rtol=1e-4, atol=0)

    @pytest.mark.parametrize("columns", [1, 2])
    def test_dead_pixels_are_masked_and_finite(self, tmp_path, columns):
        geometry = ConeBeamGeometry.circular(300, 450, (4, 24), (6.0, 6.0), np.linspace(0, 6, 12))
        photons = torch.full((4, 24), 100.0)
        photons[1, 4] = photons[2, 6] = photons[2, 7] = 0
        counts = (photons * math.exp(-1)).expand(geometry.shape).contiguous()
        counts[2, 3] = 0  # opaque, not dead
        write_projections(tmp_path / "scan.h5", Projections(counts, geometry, "counts", photons))
        tree = {"input": {"projections": str(tmp_path / "scan.h5"), "every": 2, "bin": columns}, "methods": ["tv"]}
        case = load_case(resolve(CTSettings, tree))
        assert bool(torch.isfinite(case.measurements).all())
        assert int((~case.likelihood.mask).sum()) == 6 * (3 if columns == 1 else 1)
        good = case.likelihood.mask.clone()
        assert bool(good[1, 3].all())
        good[1, 3] = False
        torch.testing.assert_close(case.measurements[good], torch.ones(int(good.sum())))

    def test_displaced_detector_has_the_voxels_of_a_centred_one(self):
        for offset in (0.0, 60.0):
            geometry = ConeBeamGeometry.circular(400, 600, (4, 24), (1.5, 1.5), [0.3, 1.0], (0.0, offset))
            assert _grid(geometry, Grid()).voxel_size == pytest.approx((1, 1, 1))

    def test_more_views_skipped_than_there_are_is_one_line(self, tmp_path):
        geometry = ConeBeamGeometry.circular(300, 450, (2, 16), (6.0, 6.0), np.linspace(0, 6, 4))
        write_projections(tmp_path / "scan.h5", Projections(torch.rand(geometry.shape), geometry))
        tree = {"input": {"projections": str(tmp_path / "scan.h5"), "every": 9}}
        with pytest.raises(ValueError, match="views") as caught:
            load_case(resolve(CTSettings, tree))
        assert "\n" not in str(caught.value)


class TestBinning:
    @pytest.mark.parametrize("columns", [12, 14])
    @pytest.mark.parametrize("kind", [ConeBeamGeometry, ParallelBeamGeometry])
    def test_rays_stay_where_they_are(self, kind, columns):
        angles = np.linspace(0, 3, 5)
        if kind is ConeBeamGeometry:
            geometry = kind.circular(300, 450, (2, columns), (3.0, 2.0), angles, (0.0, 7.0))
        else:
            geometry = kind.circular((2, columns), (3.0, 2.0), angles, (0.0, 7.0))
        binned, lines = _binned(geometry, torch.arange(float(columns)).expand(5, 2, columns), 4)
        assert binned.detector_shape == (2, 3)
        # The middle of every new pixel is the mean of the middles of those it is made of.
        torch.testing.assert_close(lines, torch.tensor([1.5, 5.5, 9.5]).expand(5, 2, 3))
        for k, column in enumerate((1.5, 5.5, 9.5)):
            np.testing.assert_allclose(pixel(binned, k), pixel(geometry, column), atol=1e-9)

    def test_one_changes_nothing(self):
        geometry = ConeBeamGeometry.circular(300, 450, (2, 8), (3.0, 2.0), [0.0])
        lines = torch.rand(1, 2, 8)
        assert _binned(geometry, lines, 1) == (geometry, lines)

    def test_more_columns_than_there_are(self):
        geometry = ConeBeamGeometry.circular(300, 450, (2, 8), (3.0, 2.0), [0.0])
        with pytest.raises(ValueError, match="9 columns are to be averaged, expected at most the detector's 8"):
            _binned(geometry, torch.rand(1, 2, 8), 9)


def pixel(geometry, column):
    """Middle of a pixel of the first row, (views, 3)."""
    rows, columns = geometry.detector_shape
    v, u = -(rows - 1) / 2, column - (columns - 1) / 2
    return geometry.detector_centers + v * geometry.v_steps + u * geometry.u_steps


class TestSimulation:
    @pytest.mark.parametrize("shape", [(8, 32, 32), (3, 50, 20), (40, 16, 16)])
    def test_detector_covers_the_volume(self, shape):
        volume = Volume(shape, (4.0, 2.0, 3.0))
        geometry = circular_geometry(volume, Scan(source_to_isocenter=300, source_to_detector=500, views=13))
        pixels = geometry.project(volume.corners)
        edges = np.asarray(geometry.detector_shape)
        assert (pixels >= -0.5).all()
        assert (pixels <= edges - 0.5).all()
        # and not by much more than it must: the farthest corner falls into the outermost pixels
        assert np.abs(pixels - (edges - 1) / 2).max((0, 1)) == pytest.approx(edges / 2, abs=1.0)

    def test_an_offset_detector_sees_the_middle_aside(self):
        volume = Volume((4, 8, 8), (4.0, 4.0, 4.0))
        scan = Scan(views=5, detector_shape=(5, 8), pixel_size=(2.0, 3.0), detector_offset=(4.0, 9.0))
        middles = circular_geometry(volume, scan).project(np.zeros((1, 3)))[:, 0]
        np.testing.assert_allclose(middles, [[2 - 2, 3.5 - 3]] * 5, atol=1e-9)

    def test_a_detector_beside_the_axis_is_refused(self):
        scan = Scan(views=5, detector_shape=(5, 8), pixel_size=(2.0, 3.0), detector_offset=(0.0, 12.0))
        with pytest.raises(ValueError, match=r"12 mm along u, expected less than half the detector, 12 mm: it misses"):
            circular_geometry(Volume((4, 8, 8), (4.0, 4.0, 4.0)), scan)

    def test_given_detector_is_kept(self):
        volume = Volume((4, 8, 8), (4.0, 4.0, 4.0))
        geometry = circular_geometry(volume, Scan(views=3, detector_shape=(5, 7), pixel_size=(2.0, 3.0)))
        assert geometry.shape == (3, 5, 7)
        assert np.linalg.norm(geometry.u_steps[0]) == pytest.approx(3)

    def test_source_within_the_volume_is_one_line(self):
        volume = Volume((4, 100, 100), (4.0, 10.0, 10.0))
        with pytest.raises(ValueError, match="source_to_isocenter is 300 mm") as caught:
            circular_geometry(volume, Scan(source_to_isocenter=300, source_to_detector=500, views=8))
        assert "\n" not in str(caught.value)

    def test_noise_has_the_spread_its_likelihood_says(self):
        hu = torch.zeros(4, 16, 16)
        scan = Scan(views=40, photons=1e4)
        noisy, clean = (simulate(hu, (8.0, 8.0, 8.0), s) for s in (scan, scan.model_copy(update={"photons": None})))
        assert isinstance(noisy.likelihood, Gaussian)
        z = (noisy.measurements - clean.measurements) / noisy.likelihood.sigma
        assert float(z.std()) == pytest.approx(1, abs=0.03)

    def test_seed_decides_the_noise(self):
        scans = [simulate(torch.zeros(2, 8, 8), (8.0, 8.0, 8.0), Scan(views=3, seed=seed)) for seed in (1, 1, 2)]
        assert torch.equal(scans[0].measurements, scans[1].measurements)
        assert not torch.equal(scans[0].measurements, scans[2].measurements)


class TestNoiseLevel:
    def test_white_noise(self):
        noise = torch.randn(20, 10, 100, generator=torch.Generator().manual_seed(0))
        assert noise_level(0.03 * noise) == pytest.approx(0.03, rel=0.02)

    def test_smooth_objects_and_edges_do_not_count(self):
        noise = 0.03 * torch.randn(20, 10, 100, generator=torch.Generator().manual_seed(0))
        profile = torch.sin(torch.linspace(0, 3, 100))
        profile[40:60] += 2
        assert noise_level(profile + noise) == pytest.approx(0.03, rel=0.1)

    def test_rows_too_short_to_tell(self):
        with pytest.raises(ValueError, match="rows have 2 columns, expected at least 3"):
            noise_level(torch.zeros(2, 4, 2))

    def test_noiseless_data_keep_a_positive_level(self):
        assert noise_level(torch.zeros(2, 2, 8)) > 0
