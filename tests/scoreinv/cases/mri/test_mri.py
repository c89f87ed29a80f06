import numpy as np
import pytest
import torch

from scoreinv.baselines import cg_sense
from scoreinv.cases import load_case
from scoreinv.config import MRISettings, resolve
from scoreinv.io import write_cfl, write_image
from scoreinv.metrics import psnr
from scoreinv.operators import CartesianMRI, NonCartesianMRI, Stack, sampling, simulated_coils

SMALL = {"shape": [2, 48, 48], "voxel_size": [30.0, 4.8, 4.8]}


def case(**sections):
    tree = {"input": {"phantom": SMALL}, "scan": {"acceleration": 2, "coils": 4}} | sections
    return load_case(resolve(MRISettings, tree))


@pytest.fixture
def k_space(tmp_path):
    """A measured file: (4, 48, 48) of one slice, and its image."""
    truth = torch.zeros(48, 48, dtype=torch.complex64)
    truth[10:38, 14:36] = 1.0
    truth[20:26, 20:26] = 2.0
    mask = sampling.poisson_disc((48, 48), 2, 24, seed=0)
    operator = CartesianMRI(mask, simulated_coils(4, (48, 48)))
    noise = torch.randn(4, 48, 48, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "scan.npy"
    np.save(path, ((operator(truth) + 0.01 * noise) * mask).numpy())
    return path, truth


@pytest.mark.parametrize("kind", ["radial", "spiral", "poisson_disc", "equispaced", "random_lines"])
def test_every_sampling_can_be_reconstructed(kind):
    scan = {"sampling": kind, "acceleration": 2, "calibration": 16, "coils": 4, "noise": 1e-3}
    simulated = case(scan=scan, coils={"maps": "true"})
    assert isinstance(simulated.operator, Stack)
    image = cg_sense(simulated.operator, simulated.measurements, regularisation=1e-3, iterations=40)
    assert psnr(image, simulated.reference, simulated.scale) > 28


@pytest.mark.parametrize("maps", ["espirit", "walsh"])
@pytest.mark.parametrize("kind", ["radial", "poisson_disc"])
def test_estimated_maps_explain_the_data(kind, maps):
    scan = {"sampling": kind, "acceleration": 1.5, "calibration": 20, "coils": 4, "noise": 1e-3}
    simulated = case(scan=scan, coils={"maps": maps}, input={"phantom": SMALL, "slices": [0]})
    image = cg_sense(simulated.operator, simulated.measurements, regularisation=1e-3, iterations=40)
    assert psnr(image, simulated.reference, simulated.scale) > 25


def test_noise_is_that_of_the_likelihood():
    quiet, noisy = (
        case(scan={"sampling": "radial", "acceleration": 1, "coils": 4, "noise": noise}, coils={"maps": "true"})
        for noise in (0.0, 0.02)
    )
    spread = torch.view_as_real(noisy.measurements - quiet.measurements).std()
    assert float(spread) == pytest.approx(float(noisy.likelihood.sigma.mean()), rel=0.02)


def test_acceleration_counts_lines():
    operator = case(scan={"sampling": "radial", "acceleration": 4, "coils": 4}).operator
    assert isinstance(operator.operators[0], NonCartesianMRI)
    assert operator.operators[0].out_shape == (4, 12, 96)
    mask = (
        case(scan={"sampling": "equispaced", "acceleration": 4, "calibration": 8, "coils": 4})
        .operator.operators[0]
        .mask
    )
    assert float(mask.float().mean()) == pytest.approx(1 / 4, rel=0.1)


def test_slices_of_a_volume_lie_where_they_were_scanned(tmp_path):
    volume = torch.rand(5, 32, 32) + 0.1
    write_image(tmp_path / "head.nii.gz", volume, voxel_size=(6.0, 1.0, 1.0))
    simulated = case(input={"volume": str(tmp_path / "head.nii.gz"), "slices": [1, 3]}, coils={"maps": "true"})
    torch.testing.assert_close(simulated.reference.abs(), volume[[1, 3]], rtol=1e-4, atol=1e-4)
    placed = simulated.placed(simulated.reference)
    assert placed.voxel_size == pytest.approx((12.0, 1.0, 1.0))
    torch.testing.assert_close(placed.data.abs(), volume[[1, 3]], rtol=1e-4, atol=1e-4)


class TestMeasured:
    def test_from_a_file(self, k_space):
        path, truth = k_space
        measured = case(input={"k_space": str(path)}, scan={})
        assert measured.reference is None
        image = cg_sense(measured.operator, measured.measurements)
        assert psnr(image, truth, measured.scale) > 25
        assert measured.placed(image).voxel_size == (1.0, 1.0, 1.0)

    def test_bart_files_are_the_same(self, k_space, tmp_path):
        path, _ = k_space
        write_cfl(tmp_path / "scan.cfl", torch.from_numpy(np.load(path))[:, None])
        one, other = (case(input={"k_space": str(p)}, scan={}) for p in (path, tmp_path / "scan.cfl"))
        assert torch.equal(one.measurements, other.measurements)

    def test_held_out_samples_are_seen_by_no_method(self, k_space):
        path, _truth = k_space
        whole = case(input={"k_space": str(path)}, scan={})
        measured = case(input={"k_space": str(path), "hold_out": 0.1}, scan={})
        operator, hidden = measured.held_out
        assert not bool((operator.mask & measured.operator.mask).any())
        assert torch.equal(operator.mask | measured.operator.mask, whole.operator.mask)
        torch.testing.assert_close(hidden + measured.measurements, whole.measurements)
        assert 0.03 < float(operator.mask.sum() / whole.operator.mask.sum()) < 0.12
        predicted = operator.forward(cg_sense(measured.operator, measured.measurements))
        assert float((predicted - hidden).norm() / hidden.norm()) < 0.9

    def test_held_out_samples_change_no_map_and_no_noise_level(self, k_space):
        path, _truth = k_space
        measured = case(input={"k_space": str(path), "hold_out": 0.1}, scan={})
        altered = np.load(path)
        altered[:, measured.held_out[0].mask.numpy()] *= 7
        np.save(path, altered)
        again = case(input={"k_space": str(path), "hold_out": 0.1}, scan={})
        assert torch.equal(again.operator.coil_maps, measured.operator.coil_maps)
        assert again.likelihood.sigma == measured.likelihood.sigma

    def test_noise_is_found_in_the_data(self, k_space):
        measured = case(input={"k_space": str(k_space[0])}, scan={})
        assert measured.likelihood.sigma == pytest.approx(0.01 / 2**0.5, rel=0.1)

    def test_compressed_to_virtual_coils(self, k_space):
        measured = case(input={"k_space": str(k_space[0])}, scan={}, coils={"compress": 2})
        assert measured.measurements.shape == (2, 48, 48)


def test_maps_of_the_simulation_are_compressed_with_its_coils():
    scan = {"sampling": "radial", "acceleration": 1, "coils": 8, "noise": 0.0}
    simulated = case(scan=scan, coils={"maps": "true", "compress": 4}, input={"phantom": SMALL, "slices": [0]})
    assert simulated.operator.out_shape[0] == 4
    torch.testing.assert_close(simulated.operator(simulated.reference), simulated.measurements, rtol=0, atol=1e-4)


def test_noise_of_three_percent_leaves_coil_maps(tmp_path):
    scan = {"sampling": "equispaced", "acceleration": 3, "calibration": 16, "coils": 8, "noise": 0.03}
    phantom = {"shape": [1, 96, 96], "voxel_size": [5.0, 2.4, 2.4]}
    known, found = (
        case(scan=scan, coils={"maps": maps}, input={"phantom": phantom}).operator.coil_maps
        for maps in ("true", "espirit")
    )
    seen = found.abs().sum(0) > 0
    alike = (known.conj() * found).sum(0).abs()[seen]
    assert 0.2 < float(seen.float().mean()) < 0.8
    assert float(alike.median()) > 0.97


def test_held_out_spokes():
    simulated = case(input={"phantom": SMALL, "slices": [0], "hold_out": 0.25}, coils={"maps": "true"})
    operator, hidden = simulated.held_out
    assert (len(operator.trajectory), len(simulated.operator.trajectory)) == (6, 18)
    assert hidden.shape == (4, 6, 96)


class TestRefusals:
    def problem(self, tree):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            load_case(resolve(MRISettings, tree))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_slices_that_are_not_there(self):
        tree = {"input": {"phantom": SMALL, "slices": [2]}}
        assert "input.slices: 2 of a volume of 2" in self.problem(tree)

    def test_settings_without_effect(self, k_space):
        tree = {"input": {"k_space": str(k_space[0])}, "scan": {"coils": 4}}
        assert "scan.coils has no effect" in self.problem(tree)
        tree = {"input": {"k_space": str(k_space[0])}, "coils": {"maps": "true"}}
        assert "only simulated scans know them" in self.problem(tree)

    def test_two_sources(self):
        tree = {"input": {"k_space": "a.h5", "volume": "b.nii"}}
        assert "input.k_space and input.volume are both given" in self.problem(tree)
