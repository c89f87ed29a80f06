import numpy as np
import pytest
import torch

from scoreinv.operators import Gaussian, Poisson, TransmissionPoisson


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


EXPECTED = torch.linspace(0.1, 6, 24).reshape(4, 6)
COUNTS = TransmissionPoisson(1000.0, 5.0).simulate(EXPECTED, generator())
MODELS = {
    "gaussian": (Gaussian(0.3), EXPECTED + 0.2),
    "gaussian of many sigmas": (Gaussian(torch.linspace(0.1, 1, 24).reshape(4, 6)), EXPECTED - 0.1),
    "transmission": (TransmissionPoisson(1000.0), COUNTS),
    "transmission with background": (TransmissionPoisson(1000.0, 5.0), COUNTS),
    "emission": (Poisson(), torch.poisson(EXPECTED, generator=generator())),
    "emission with background": (Poisson(2.0), torch.poisson(EXPECTED + 2, generator=generator())),
    "masked": (TransmissionPoisson(1000.0, mask=(torch.arange(24) % 3 > 0).reshape(4, 6)), COUNTS),
}


@pytest.mark.parametrize(("likelihood", "y"), MODELS.values(), ids=MODELS.keys())
def test_gradient_is_that_of_the_negative_log_likelihood(likelihood, y):
    expected = EXPECTED.double().requires_grad_()
    likelihood.negative_log(expected, y.double(), 2).sum().backward()
    g, w = likelihood.quadratic(expected.detach(), y.double())
    torch.testing.assert_close(g, expected.grad)
    assert bool((w >= 0).all())


@pytest.mark.parametrize(("likelihood", "y"), MODELS.values(), ids=MODELS.keys())
def test_masked_or_not_the_value_sums_over_the_data_axes_only(likelihood, y):
    both = likelihood.negative_log(torch.stack([EXPECTED, EXPECTED + 1]), y, 2)
    assert both.shape == (2,)
    torch.testing.assert_close(both[1], likelihood.negative_log(EXPECTED + 1, y, 2))


def test_gaussian_of_complex_data_counts_both_components():
    y = torch.complex(EXPECTED, -EXPECTED)
    value = Gaussian(2.0).negative_log(torch.zeros_like(y), y, 2)
    torch.testing.assert_close(value, EXPECTED.square().sum() / 4)
    noise = Gaussian(0.5).simulate(torch.zeros(100_000, dtype=torch.complex64), generator())
    assert float(noise.real.std()) == pytest.approx(0.5, rel=0.02)
    assert float(noise.imag.std()) == pytest.approx(0.5, rel=0.02)


def test_transmission_step_points_at_the_likeliest_line_integral_from_anywhere():
    y = torch.tensor([50.0, 300.0, 900.0])
    likeliest = torch.log(1000 / (y - 5))
    for start in (0.0, 2.0, 8.0):
        expected = torch.full((3,), start)
        g, w = TransmissionPoisson(1000.0, 5.0).quadratic(expected, y)
        torch.testing.assert_close(expected - g / w, likeliest, rtol=1e-4, atol=1e-4)


def test_transmission_weight_at_the_optimum_is_the_fisher_information():
    y = torch.tensor([50.0, 300.0, 900.0], dtype=torch.float64)
    _, w = TransmissionPoisson(1000.0).quadratic(torch.log(1000 / y), y)
    torch.testing.assert_close(w, y)


def test_zero_counts_are_finite():
    likelihood = TransmissionPoisson(1000.0)
    expected = torch.tensor([0.0, 5.0, 200.0])
    g, w = likelihood.quadratic(expected, torch.zeros(3))
    assert bool(torch.isfinite(g).all() & torch.isfinite(w).all())
    assert bool(torch.isfinite(likelihood.negative_log(expected, torch.zeros(3), 1)))


class TestEmission:
    def test_step_points_at_the_likeliest_expectation_from_anywhere(self):
        y = torch.tensor([7.0, 30.0, 900.0])
        for start in (0.0, 5.0, 4000.0):
            expected = torch.full((3,), start)
            g, w = Poisson(5.0).quadratic(expected, y)
            torch.testing.assert_close(expected - g / w, y - 5, rtol=1e-4, atol=1e-4)

    def test_zero_counts_zero_background_and_negative_images_are_finite(self):
        y = torch.tensor([0.0, 0.0, 3.0, 3.0, 0.0])
        expected = torch.tensor([0.0, 2.0, 0.0, -1.0, -1.0])
        g, w = Poisson().quadratic(expected, y)
        assert bool(torch.isfinite(g).all() & torch.isfinite(w).all())
        assert bool(torch.isfinite(Poisson().negative_log(expected, y, 1)))

    def test_simulated_counts_have_mean_and_variance_of_poisson(self):
        counts = Poisson(3.0).simulate(torch.full((50_000,), 4.0), generator())
        assert float(counts.mean()) == pytest.approx(7, rel=0.01)
        assert float(counts.var()) == pytest.approx(7, rel=0.03)

    def test_impossible_data_are_refused(self, caplog):
        y = torch.tensor([0.0, 2.0])
        with pytest.raises(ValueError, match="negative values"):
            Poisson().check(-y, (2,))
        with pytest.raises(ValueError, match="at least the measurements everywhere"):
            Poisson(3.0).check(y, (2,))
        with pytest.raises(ValueError, match="background must be finite counts >= 0"):
            Poisson(-1.0)
        with pytest.raises(ValueError, match="1 measurements have counts where neither"):
            Poisson().check_seen(torch.tensor([0.0, 0.0]), y)
        Poisson(mask=torch.tensor([1.0, 0.0])).check_seen(torch.tensor([1.0, 0.0]), y)
        Poisson().check(y, (2,))
        assert not caplog.records
        Poisson().check(y + 0.5, (2,))
        assert "whole numbers" in caplog.text

    def test_a_background_that_cannot_be_is_told(self, caplog):
        with pytest.raises(ValueError, match=r"hold no counts, on a background of 0\.5"):
            Poisson(0.5).check(torch.zeros(4), (4,))
        y = torch.tensor([100.0, 0.0, 0.0, 0.0])
        Poisson(20.0).check(y, (4,))
        assert not caplog.records
        Poisson(2.0).check(torch.ones(4), (4,))  # events, each of which is one count
        with pytest.raises(ValueError, match=r"is at least the measurements everywhere"):
            Poisson(2.0).check(torch.tensor([1.0, 2.0]), (2,))
        caplog.clear()
        Poisson(50.0).check(y, (4,))
        assert "the background sums to 200, more than the 100 counts" in caplog.text


def test_masked_data_pull_at_nothing_even_if_they_are_nan():
    likelihood = Gaussian(1.0, mask=torch.tensor([1.0, 0.0]))
    g, w = likelihood.quadratic(torch.ones(2), torch.tensor([0.0, float("nan")]))
    assert g.tolist() == [1, 0]
    assert w.tolist() == [1, 0]


def test_simulated_counts_have_mean_and_variance_of_poisson():
    counts = TransmissionPoisson(1000.0, 20.0).simulate(torch.full((50_000,), 2.0), generator())
    mean = 1000 * float(torch.exp(torch.tensor(-2.0))) + 20
    assert float(counts.mean()) == pytest.approx(mean, rel=0.01)
    assert float(counts.var()) == pytest.approx(mean, rel=0.03)


def test_subset_slices_what_has_views():
    sigma = torch.rand(6, 2, 2, generator=generator()) + 0.1
    part = Gaussian(sigma, mask=torch.ones(1, 2, 2)).subset(1, 3)
    torch.testing.assert_close(part.sigma, sigma[1::3])
    assert part.mask.shape == (1, 2, 2)
    assert Gaussian(0.1).subset(0, 2).sigma == 0.1


def test_subset_slices_along_the_axis_of_views():
    background = torch.rand(4, 6, 5, generator=generator())
    torch.testing.assert_close(Poisson(background).subset(1, 3, 3, axis=1).background, background[:, 1::3])
    torch.testing.assert_close(Poisson(background[0]).subset(1, 3, 3, axis=1).background, background[0, 1::3])
    assert Poisson(background[:, :1]).subset(1, 3, 3, axis=1).background.shape == (4, 1, 5)


def test_subset_leaves_alone_what_is_the_same_for_all_views():
    y = torch.rand(6, 4, 5, generator=generator())
    whole = Gaussian(torch.rand(4, 5, generator=generator()) + 0.1)
    part = whole.subset(1, 3)
    part.check(y[1::3], (2, 4, 5))
    torch.testing.assert_close(part.quadratic(torch.zeros(2, 4, 5), y[1::3])[0], whole.quadratic(0 * y, y)[0][1::3])
    assert Gaussian(torch.ones(6, 4)).subset(0, 2, ndim=2).sigma.shape == (3, 4)


class TestResidual:
    def test_of_a_gaussian_of_one_sigma_is_the_relative_error(self):
        y = EXPECTED + 0.3 * torch.randn(4, 6, generator=generator())
        error = float(torch.linalg.vector_norm(EXPECTED - y) / torch.linalg.vector_norm(y))
        assert Gaussian(0.07).residual(EXPECTED, y) == pytest.approx(error, rel=1e-5)
        turned = torch.complex(EXPECTED, y)
        assert Gaussian(0.07).residual(turned * 1j, y * 1j + 0) == pytest.approx(
            float(torch.linalg.vector_norm(turned * 1j - y * 1j) / torch.linalg.vector_norm(y)), rel=1e-5
        )

    def test_of_counts_compares_line_integrals_not_counts(self):
        counts = TransmissionPoisson(1e6).simulate(EXPECTED, generator())
        likelihood = TransmissionPoisson(1e6)
        assert likelihood.residual(EXPECTED, counts) < 0.01
        assert likelihood.residual(2 * EXPECTED, counts) > 0.3

    def test_masked_data_do_not_count(self):
        y, mask = EXPECTED.clone(), torch.ones(4, 6)
        y[0, 0], mask[0, 0] = float("nan"), 0.0
        assert Gaussian(1.0, mask).residual(EXPECTED, y) == 0
        y[0, 0] = 1e6
        assert Gaussian(1.0, mask).residual(0 * EXPECTED, y) == pytest.approx(1)


@pytest.mark.parametrize("kind", [lambda x: x.numpy(), lambda x: x.tolist(), lambda x: x])
def test_parameters_may_be_arrays_or_lists(kind):
    sigma, good = torch.linspace(0.1, 1, 24).reshape(4, 6), torch.arange(24).reshape(4, 6) % 3 > 0
    likelihood = Gaussian(kind(sigma), mask=kind(good))
    likelihood.check(EXPECTED, (4, 6))
    _, w = likelihood.quadratic(EXPECTED, EXPECTED)
    torch.testing.assert_close(w, good / sigma**2)
    assert likelihood.subset(1, 2, ndim=2).sigma.shape == (2, 6)
    assert Gaussian(2).sigma == 2
    TransmissionPoisson([[10] * 6] * 4, np.float64(2)).check(EXPECTED, (4, 6))  # whole numbers fit any precision
    Gaussian(torch.ones((), dtype=torch.float64)).check(EXPECTED, (4, 6))
    Gaussian(torch.ones(4, 6)).check(EXPECTED + 0j, (4, 6))


class TestRefusals:
    @pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), torch.tensor([1.0, 0.0])])
    def test_sigma(self, sigma):
        with pytest.raises(ValueError, match="sigma must be positive"):
            Gaussian(sigma)

    def test_sigma_of_another_shape(self):
        with pytest.raises(ValueError, match=r"sigma has shape \(3,\), expected a scalar or \(4, 6\)"):
            Gaussian(torch.ones(3)).check(EXPECTED, (4, 6))

    @pytest.mark.parametrize("mask", [[1.0, float("nan")], [1.0, float("inf")], torch.ones(2) + 0j])
    def test_mask_that_is_no_weight(self, mask):
        with pytest.raises(ValueError, match="mask must be finite weights >= 0"):
            Gaussian(1.0, mask=mask)

    @pytest.mark.parametrize(
        ("likelihood", "name"),
        [
            (lambda wide: Gaussian(wide), "Gaussian: sigma"),
            (lambda wide: Gaussian(1.0, mask=wide), "Gaussian: mask"),
            (lambda wide: TransmissionPoisson(wide), "TransmissionPoisson: photons"),
            (lambda wide: TransmissionPoisson(1.0, wide), "TransmissionPoisson: background"),
        ],
    )
    @pytest.mark.parametrize("wide", [torch.ones(4, 6, dtype=torch.float64), np.ones((4, 6))], ids=["torch", "numpy"])
    def test_parameters_of_another_precision_are_named(self, likelihood, name, wide):
        with pytest.raises(TypeError, match=f"{name} is torch.float64, expected torch.float32 as the data"):
            likelihood(wide).check(EXPECTED, (4, 6))

    def test_parameters_on_another_device_are_named(self):
        with pytest.raises(ValueError, match="sigma is on cpu, expected meta as the data"):
            Gaussian(torch.ones(4, 6)).check(EXPECTED.to("meta"), (4, 6))

    def test_array_of_another_shape(self):
        with pytest.raises(ValueError, match=r"sigma has shape \(3,\)"):
            Gaussian(np.ones(3, np.float32)).check(EXPECTED, (4, 6))

    def test_line_integrals_for_counts(self):
        with pytest.raises(ValueError, match="expected counts, not line integrals"):
            TransmissionPoisson(1000.0).check(-EXPECTED, (4, 6))

    def test_counts_out_of_nothing(self):
        with pytest.raises(ValueError, match="both 0"):
            TransmissionPoisson(0.0).check(torch.ones(2), (2,))

    def test_negative_mask(self):
        with pytest.raises(ValueError, match="mask"):
            Gaussian(1.0, mask=torch.tensor([-1.0]))


def test_repr_tells_the_settings():
    assert repr(Gaussian(0.02)) == "Gaussian(sigma=0.02)"
    assert repr(Gaussian(torch.tensor([0.5, 2.0]), torch.ones(2))) == (
        "Gaussian(mask=values from 1 to 1, sigma=values from 0.5 to 2)"
    )
    assert repr(TransmissionPoisson(1e4)) == "TransmissionPoisson(photons=10000, background=0)"


@pytest.mark.parametrize("likelihood", [Poisson(1.0), TransmissionPoisson(10.0)], ids=repr)
def test_complex_data_are_no_counts(likelihood):
    with pytest.raises(TypeError, match=r"measurements are torch.complex64, expected counts; take Gaussian"):
        likelihood.check(torch.ones(4, dtype=torch.complex64), (4,))


def test_a_mask_without_any_good_datum_is_named():
    with pytest.raises(ValueError, match="mask is 0 everywhere, expected at least one good datum"):
        Gaussian(1.0, torch.zeros(4)).check(torch.ones(4), (4,))


def test_a_model_moves_with_all_its_tensors():
    model = Poisson(background=torch.ones(2, 3), mask=torch.ones(3)).to("meta")
    assert (model.background.device.type, model.mask.device.type) == ("meta", "meta")
    assert Gaussian(0.5).to("meta").sigma == 0.5
