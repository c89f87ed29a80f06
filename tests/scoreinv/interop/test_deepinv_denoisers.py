import pytest
import torch
from torch import nn

from scoreinv.interop import import_deepinv, prior_from_deepinv, prior_to_deepinv
from scoreinv.priors import GaussianPrior, IntensityMap

dinv = import_deepinv()
N = 16


def random(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def parts(x):
    """Complex (n, *shape) as deepinv has it, (n, 2, *shape)."""
    return torch.view_as_real(x).movedim(-1, 1)


class TestDenoisers:
    prior = GaussianPrior(0.5 + 0.1 * random(N, N), 0.05)

    def test_round_trip_of_a_prior(self):
        again = prior_from_deepinv(prior_to_deepinv(self.prior))
        z = random(3, 2, N, N)
        torch.testing.assert_close(again.denoise(z, 0.3), self.prior.denoise(z, 0.3))

    def test_round_trip_of_a_denoiser(self):
        torch.manual_seed(0)
        denoiser = dinv.models.DRUNet(1, 1, nc=(4, 4, 4, 4), nb=1, pretrained=None)
        prior = prior_from_deepinv(denoiser, intensity=IntensityMap(2.0, -1.0))
        x = random(3, 1, N, N)
        with torch.no_grad():
            torch.testing.assert_close(prior_to_deepinv(prior, IntensityMap())(x, 0.1), denoiser(x, 0.1))
            torch.testing.assert_close(prior_to_deepinv(prior)(2 * x - 1, 0.2), 2 * denoiser(x, 0.1) - 1)

    @pytest.mark.parametrize("shape", [(3,), (3, 1, 1, 1)])
    def test_every_item_has_its_own_noise_level(self, shape):
        denoiser = prior_to_deepinv(self.prior)
        x, sigmas = random(3, 1, N, N), [0.5, 0.1, 0.5]
        together = denoiser(x, torch.tensor(sigmas).reshape(shape))
        for k, sigma in enumerate(sigmas):
            torch.testing.assert_close(together[k], denoiser(x[k : k + 1], sigma)[0])

    @pytest.mark.parametrize("sigma", [0.3, torch.tensor(0.3), torch.tensor([0.3]), [0.3]])
    def test_one_level_for_all_in_any_form(self, sigma):
        x = random(3, 1, N, N)
        torch.testing.assert_close(prior_to_deepinv(self.prior)(x, sigma), self.prior.denoise(x, 0.3))

    def test_image_units(self):
        """Image = 0.02 network + 0.02, and so is the noise."""
        denoiser = prior_to_deepinv(self.prior, IntensityMap.attenuation())
        z = random(1, 1, N, N)
        torch.testing.assert_close(denoiser(0.02 * z + 0.02, 0.3 * 0.02), 0.02 * self.prior.denoise(z, 0.3) + 0.02)

    def test_no_noise_leaves_the_image_and_unknown_levels_are_clamped(self):
        prior = GaussianPrior(torch.zeros(N, N), 1.0)
        prior.sigma_min, prior.sigma_max = 0.1, 2.0
        denoiser, x = prior_to_deepinv(prior), random(1, 1, N, N)
        torch.testing.assert_close(denoiser(x, 0.0), x)
        torch.testing.assert_close(denoiser(x, 0.01), prior.denoise(x, 0.1))
        with pytest.warns(UserWarning, match="more noise than the 2 it knows"):
            torch.testing.assert_close(denoiser(x, 5.0), prior.denoise(x, 2.0))

    def test_2d_prior_sees_a_volume_slice_by_slice(self):
        x = random(2, 1, 3, N, N)
        out = prior_to_deepinv(self.prior)(x, torch.tensor([0.1, 0.2]))
        torch.testing.assert_close(out[1, 0, 2], self.prior.denoise(x[1, 0, 2], 0.2))

    def test_complex_images_of_a_prior(self):
        prior = GaussianPrior(random(N, N, dtype=torch.complex64), 0.3)
        z = random(2, N, N, dtype=torch.complex64, seed=1)
        out = prior_to_deepinv(prior, complex_channels=True)(parts(z), 0.2)
        torch.testing.assert_close(out, parts(prior.denoise(z, 0.2)))

    def test_complex_images_of_a_denoiser(self):
        z = random(2, N, N, dtype=torch.complex64)
        channelwise = prior_from_deepinv(dinv.models.MedianFilter(3)).denoise(z, 0.1)
        wrapped = dinv.models.ComplexDenoiserWrapper(dinv.models.MedianFilter(3))(z.unsqueeze(1), 0.1).squeeze(1)
        torch.testing.assert_close(channelwise, wrapped)
        torch.manual_seed(0)
        denoiser = dinv.models.DRUNet(2, 2, nc=(4, 4, 4, 4), nb=1, pretrained=None)
        with torch.no_grad():
            out = prior_from_deepinv(denoiser, channels=2).denoise(z, 0.1)
            torch.testing.assert_close(parts(out), denoiser(parts(z), 0.1))

    def test_volumes_for_a_denoiser_of_volumes(self):
        prior = prior_from_deepinv(dinv.models.TVDenoiser(n_it_max=5), ndim=3)
        z = random(2, 3, 8, 8)
        denoised = dinv.models.TVDenoiser(n_it_max=5)(z.unsqueeze(1), 0.1).squeeze(1)
        torch.testing.assert_close(prior.denoise(z, 0.1), denoised)

    def test_a_denoiser_with_a_memory_forgets(self):
        prior = prior_from_deepinv(dinv.models.TVDenoiser(n_it_max=5))
        z = random(N, N)
        first = prior.denoise(z, 0.1)
        prior.denoise(random(N, N, seed=1), 0.1)
        torch.testing.assert_close(prior.denoise(z, 0.1), first, rtol=0, atol=0)

    def test_vjp_goes_through_the_denoiser(self):
        z, v = random(N, N), random(N, N, seed=1)
        _, vjp = prior_from_deepinv(prior_to_deepinv(self.prior)).linearise(z, 0.3)
        torch.testing.assert_close(vjp(v), self.prior.linearise(z, 0.3)[1](v))

    def test_denoisers_that_do_not_fit_are_refused(self):
        with pytest.raises(ValueError, match="expected 2 or 3"):
            prior_from_deepinv(nn.Identity(), ndim=1)
        with pytest.raises(ValueError, match="complex one for its two channels"):
            prior_from_deepinv(dinv.models.MedianFilter(3), channels=2).denoise(torch.zeros(8, 8), 0.1)

        class Colours(nn.Module):
            def forward(self, x, sigma):
                return x.expand(-1, 3, -1, -1)

        with pytest.raises(ValueError, match=r"made \(1, 3, 8, 8\) of images \(1, 1, 8, 8\)"):
            prior_from_deepinv(Colours()).denoise(torch.zeros(8, 8), 0.1)

    def test_images_that_do_not_fit_are_refused(self):
        denoiser = prior_to_deepinv(GaussianPrior(torch.zeros(8, 8), 1.0))
        with pytest.raises(ValueError, match="2 noise levels for a batch of 3"):
            denoiser(torch.zeros(3, 1, 8, 8), torch.ones(2))
        with pytest.raises(ValueError, match="add the missing ones"):
            denoiser(torch.zeros(8, 8), 0.1)
        with pytest.raises(TypeError, match="two channels"):
            denoiser(torch.zeros(1, 1, 8, 8, dtype=torch.complex64), 0.1)
        with pytest.raises(ValueError, match="1 channels, expected 2"):
            prior_to_deepinv(denoiser.prior, complex_channels=True)(torch.zeros(1, 1, 8, 8), 0.1)
