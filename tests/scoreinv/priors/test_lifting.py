"""Priors of slices and of tiles as priors of what is larger."""

import pytest
import torch
from torch import nn

from scoreinv.operators import Gaussian
from scoreinv.priors import GaussianPrior, IntensityMap, PerpendicularPlanes, Prior, SliceWise, Tiled


def noisy(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Convolution(Prior):
    """A linear shift-invariant denoiser with a 7 x 7 kernel."""

    ndim, data_std, name = 2, 0.5, "convolution"

    def __init__(self):
        self.kernel = noisy(1, 1, 7, 7, seed=9)
        self.largest = 0

    def denoise(self, z, sigma):
        self.largest = max(self.largest, z.shape[-1] * z.shape[-2])
        images = z.reshape(-1, 1, *z.shape[-2:])
        return nn.functional.conv2d(images, self.kernel, padding=3).reshape(z.shape)


class Scaled(Prior):
    """Multiplies by a number of its own."""

    ndim, data_std, name = 2, 0.5, "scaled"

    def __init__(self, factor, voxel_size=None):
        self.factor, self.voxel_size = factor, voxel_size

    def denoise(self, z, sigma):
        return self.factor * z


class TestTiled:
    @pytest.mark.parametrize("shape", [(2, 70, 90), (20, 65), (31, 20)])
    def test_exact_for_a_shift_invariant_denoiser(self, shape):
        prior, z = Convolution(), noisy(*shape)
        torch.testing.assert_close(Tiled(prior, 32, 12, 4).denoise(z, 0.1), prior.denoise(z, 0.1), rtol=1e-5, atol=1e-5)

    def test_vjp_is_that_of_the_whole(self):
        prior, z, v = Convolution(), noisy(70, 90), noisy(70, 90, seed=1)
        x0, vjp = Tiled(prior, 32, 12, 4).linearise(z, 0.1)
        whole, vjp_whole = prior.linearise(z, 0.1)
        torch.testing.assert_close(x0, whole, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(vjp(v), vjp_whole(v), rtol=1e-5, atol=1e-5)

    def test_never_more_than_a_tile_at_once(self):
        prior = Convolution()
        Tiled(prior, 32, 12, 4).denoise(noisy(200, 300), 0.1)
        assert prior.largest == 32 * 32

    def test_no_seams(self):
        """A denoiser of no noise leaves the image as it is, whatever the tiles."""
        z = noisy(100, 77)
        torch.testing.assert_close(Tiled(Scaled(1.0), 32, 16, 2).denoise(z, 0.0), z)

    @pytest.mark.parametrize(("tile", "overlap", "margin"), [(32, 8, 4), (32, 20, 4), (32, 12, -1)])
    def test_refuses_tiles_that_do_not_fit(self, tile, overlap, margin):
        with pytest.raises(ValueError, match="expected 2 margin < overlap <= tile / 2"):
            Tiled(Scaled(1.0), tile, overlap, margin)


PRIORS = {0: Scaled(1.0), 1: Scaled(2.0), 2: Scaled(3.0)}


class TestPerpendicularPlanes:
    def factors(self, steps, **settings):
        prior, z = PerpendicularPlanes(PRIORS, **settings), torch.ones(2, 3, 4)
        return [float(prior.at(step).denoise(z, 0.1).mean()) for step in range(steps)]

    def test_every_kth_step_belongs_to_the_other_orientations_in_turn(self):
        assert self.factors(6, axes=(0, 1), every=2) == [1, 2, 1, 2, 1, 2]
        assert self.factors(7, axes=(0, 1, 2), every=3) == [1, 1, 2, 1, 1, 3, 1]
        assert self.factors(4, axes=(2, 0), every=2) == [3, 1, 3, 1]

    def test_random_choice_has_the_asked_share_and_depends_on_the_step_alone(self):
        factors = self.factors(2000, axes=(0, 1), every=4, mode="random")
        assert sum(f == 2 for f in factors) / 2000 == pytest.approx(0.25, abs=0.03)
        assert factors == self.factors(2000, axes=(0, 1), every=4, mode="random")

    def test_average_is_the_mean_of_all(self):
        prior = PerpendicularPlanes(PRIORS, (0, 1, 2), mode="average")
        z, v = noisy(2, 3, 4), noisy(2, 3, 4, seed=1)
        x0, vjp = prior.at(5).linearise(z, 0.1)
        torch.testing.assert_close(x0, 2 * z)
        torch.testing.assert_close(vjp(v), 2 * v)

    def test_an_axis_is_seen_through_its_own_slices(self):
        """Slices across axis 1 of (z, y, x) are (z, x) images."""
        z = noisy(4, 5, 6)
        plane = GaussianPrior(noisy(4, 6, seed=1), 0.5)
        prior = PerpendicularPlanes({0: Scaled(1.0), 1: plane}, (0, 1), 2)
        expected = torch.stack([plane.denoise(z[:, k], 0.3) for k in range(5)], 1)
        torch.testing.assert_close(prior.at(1).denoise(z, 0.3), expected)

    def test_slices_of_another_spacing_are_refused(self):
        prior = Scaled(1.0, voxel_size=(1.5, 3.0))
        PerpendicularPlanes(prior, voxel_size=(2.0, 2.0, 2.0))
        message = r"across axis 1 have pixels of 5 x 2 mm, expected square ones of 1.5 to 3 mm"
        with pytest.raises(ValueError, match=message):
            PerpendicularPlanes(prior, voxel_size=(5.0, 2.0, 2.0))

    def test_priors_of_different_units_are_refused(self):
        other = Scaled(1.0)
        other.intensity = IntensityMap(0.02)
        with pytest.raises(ValueError, match="expected the same, for all see one volume"):
            PerpendicularPlanes({0: Scaled(1.0), 1: other})

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"axes": (0,)}, "expected two or three different"),
            ({"axes": (1, 1)}, "expected two or three different"),
            ({"mode": "both"}, "mode is 'both'"),
            ({"every": 1}, "every is 1"),
        ],
    )
    def test_refusals(self, settings, message):
        with pytest.raises(ValueError, match=message):
            PerpendicularPlanes(Scaled(1.0), **settings)

    def test_the_loop_asks_the_plane_of_each_step(self):
        from scoreinv.operators import LinearOperator
        from scoreinv.samplers import DDIM, NoiseSource, Problem, schedules, start, walk
        from scoreinv.samplers.guidance import DDS

        class Identity(LinearOperator):
            def _apply(self, x):
                return x.clone()

            def _adjoint(self, y):
                return y.clone()

        asked = []

        class Noting(Scaled):
            def denoise(self, z, sigma):
                asked.append(self.factor)
                return z / (1 + sigma**2)

        prior = PerpendicularPlanes({0: Noting(0), 1: Noting(1)}, every=3)
        p = Problem(Identity((4, 4, 4), (4, 4, 4)), torch.ones(4, 4, 4), Gaussian(0.1), prior)
        source = NoiseSource(0, (4, 4, 4))
        walk(p, DDS(), DDIM(), schedules.edm(6, 5.0, 0.1), source, [0], start(source, 5.0, [0]))
        assert asked == [0, 0, 1, 0, 0, 1]


def test_conditioned_slices_see_their_own_reference():
    class Told(Prior):
        ndim, data_std, name = 2, 0.5, "told"

        def __init__(self, reference):
            self.reference = reference

        def of_slices(self, indices):
            return Told(self.reference[indices])

        def denoise(self, z, sigma):
            return self.reference.expand_as(z).clone()

    reference = noisy(5, 3, 3)
    x0 = SliceWise(Told(reference), max_slices=2).denoise(torch.zeros(2, 5, 3, 3), 0.1)
    torch.testing.assert_close(x0, reference.expand(2, -1, -1, -1))
