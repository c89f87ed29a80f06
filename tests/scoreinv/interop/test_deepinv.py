import math
import sys

import pytest
import torch

from scoreinv import solve
from scoreinv.interop import (
    from_deepinv,
    import_deepinv,
    likelihood_from_deepinv,
    prior_from_deepinv,
    prior_to_deepinv,
    to_deepinv,
)
from scoreinv.operators import FiniteDifference, Gaussian, LinearOperator, TransmissionPoisson
from scoreinv.priors import GaussianPrior

dinv = import_deepinv()
N = 16


def random(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


class Matrix(LinearOperator):
    """A dense matrix on flattened images, between any two dtypes."""

    def __init__(self, rows, in_shape, in_dtype=torch.float32, out_dtype=torch.float32):
        super().__init__(in_shape, (rows,), in_dtype, out_dtype)
        self.matrix = random(rows, math.prod(in_shape), dtype=out_dtype) / math.sqrt(rows)

    def _apply(self, x):
        return x.flatten(-len(self.in_shape)).to(self.matrix) @ self.matrix.mT

    def _adjoint(self, y):
        x = (y @ self.matrix.conj()).unflatten(-1, self.in_shape)
        return x if self.in_dtype.is_complex else x.real


OPERATORS = {
    "image": Matrix(12, (4, 5)),
    "volume": FiniteDifference((3, 4, 5), axis=0),
    "complex": Matrix(12, (4, 5), torch.complex64, torch.complex64),
    "real image, complex data": Matrix(12, (4, 5), torch.float32, torch.complex64),
}


@pytest.fixture(params=OPERATORS.values(), ids=OPERATORS.keys())
def operator(request):
    return request.param


def parts(x):
    """(n, *shape) as deepinv's MRI has it: (n, 1, *shape), or (n, 2, *shape) if complex."""
    return torch.view_as_real(x).movedim(-1, 1) if x.is_complex() else x.unsqueeze(1)


class TestOursInDeepinv:
    def test_same_values(self, operator):
        physics = to_deepinv(operator)
        assert isinstance(physics, dinv.physics.LinearPhysics)
        x, y = random(2, *operator.in_shape, dtype=operator.in_dtype), random(2, *operator.out_shape, seed=1)
        y = y.to(operator.out_dtype)
        torch.testing.assert_close(physics.A(parts(x)), parts(operator(x)))
        torch.testing.assert_close(physics.A_adjoint(parts(y)), parts(operator.adjoint(y)))

    def test_deepinvs_own_adjointness_test_passes(self, operator):
        assert float(to_deepinv(operator).adjointness_test(num_samples=3)) < 1e-5

    def test_deepinvs_least_squares_solves(self, operator):
        """prox_l2 rests on A, A_adjoint, their batches and inner products."""
        physics = to_deepinv(operator)
        x = parts(random(2, *operator.in_shape, dtype=operator.in_dtype))
        y = physics.A(x)
        z = torch.zeros_like(x)
        p = physics.prox_l2(z, y, gamma=2.0, max_iter=100, tol=1e-6)
        torch.testing.assert_close(p - z + 2 * physics.A_adjoint(physics.A(p) - y), z, rtol=0, atol=1e-3)

    def test_gradient_is_the_adjoint(self, operator):
        physics = to_deepinv(operator)
        x = parts(random(2, *operator.in_shape, dtype=operator.in_dtype)).requires_grad_()
        y = physics.A(x)
        v = random(*y.shape, seed=1)
        torch.testing.assert_close(torch.autograd.grad(y, x, v)[0], physics.A_adjoint(v))

    def test_round_trip(self, operator):
        physics = to_deepinv(operator)
        again = from_deepinv(physics, physics.img_size, complex_channels=operator.in_dtype.is_complex)
        assert again.mismatch < 1e-6
        assert (again.in_shape, again.in_dtype) == (operator.in_shape, operator.in_dtype)
        x = random(2, 3, *operator.in_shape, dtype=operator.in_dtype)
        y = again(x)
        if y.dtype == operator.out_dtype:
            torch.testing.assert_close(y, operator(x))
            torch.testing.assert_close(again.adjoint(y), operator.adjoint(y))
        else:  # complex data of a real image stay two channels
            torch.testing.assert_close(y, torch.view_as_real(operator(x)).movedim(-1, -2))

    def test_any_precision_is_computed_in_the_operators_own(self, operator):
        physics = to_deepinv(operator)
        x = parts(random(2, *operator.in_shape, dtype=operator.in_dtype))
        y = physics.A(x.double())
        assert y.dtype == torch.float64
        torch.testing.assert_close(y.float(), physics.A(x))

    def test_noise_is_the_likelihoods(self, operator):
        likelihood = Gaussian(0.3)
        physics = to_deepinv(operator, likelihood)
        assert likelihood_from_deepinv(physics).sigma == pytest.approx(0.3)
        x = random(5000, *operator.in_shape, dtype=operator.in_dtype)
        theirs = physics(parts(x)) - physics.A(parts(x))
        expected = operator(x)
        ours = parts(likelihood.simulate(expected, torch.Generator().manual_seed(0)) - expected)
        assert float(theirs.std()) == pytest.approx(float(ours.std()), rel=0.02)

    def test_without_likelihood_there_is_no_noise(self, operator):
        physics = to_deepinv(operator)
        x = parts(random(1, *operator.in_shape, dtype=operator.in_dtype))
        torch.testing.assert_close(physics(x), physics.A(x), rtol=0, atol=0)


def mask():
    return (random(N, N, seed=7) > -0.3).float()


def coil_maps():
    return random(1, 3, N, N, dtype=torch.complex64, seed=3)


# physics, deepinv's image shape, our image shape and dtype
PHYSICS = {
    "blur": (lambda: dinv.physics.Blur(torch.ones(1, 1, 3, 3) / 9, padding="circular"), (1, N, N), (N, N)),
    "inpainting": (lambda: dinv.physics.Inpainting((1, N, N), mask()), (1, N, N), (N, N)),
    "colours": (lambda: dinv.physics.Inpainting((3, N, N), mask()), (3, N, N), (3, N, N)),
    "vector of data": (lambda: dinv.physics.CompressedSensing(20, (1, N, N)), (1, N, N), (N, N)),
    "tomography": (lambda: dinv.physics.Tomography(8, N, normalize=False), (1, N, N), (N, N)),
    "mri": (lambda: dinv.physics.MRI(mask()), (2, N, N), (N, N)),
    "multi-coil mri": (lambda: dinv.physics.MultiCoilMRI(mask(), coil_maps()), (2, N, N), (N, N)),
}


class TestDeepinvsHere:
    @pytest.mark.parametrize(("make", "theirs", "ours"), PHYSICS.values(), ids=PHYSICS.keys())
    def test_same_values_and_a_true_adjoint(self, make, theirs, ours):
        physics = make()
        operator = from_deepinv(physics, theirs)
        assert operator.in_shape == ours
        assert operator.mismatch < 1e-5
        dtype = torch.complex64 if theirs[0] == 2 else torch.float32
        assert operator.in_dtype == operator.out_dtype == dtype
        x = random(4, *ours, dtype=dtype)
        y = physics.A(parts(x) if theirs[0] != 3 else x)
        torch.testing.assert_close(operator(x), operator._data.unpack(y, "data"))
        z = operator(x.reshape(2, 2, *ours))
        torch.testing.assert_close(z.reshape(4, *operator.out_shape), operator(x), msg="batches")

    def test_an_adjoint_that_is_none_is_reported_with_its_number(self):
        physics = dinv.physics.Tomography(8, N, normalize=False, adjoint_via_backprop=False)
        expected = float(physics.adjointness_test(img_size=(1, N, N), num_samples=200))
        with pytest.warns(UserWarning, match=r"Tomography differs .* by about 0\.\d+ .*stall") as warned:
            operator = from_deepinv(physics, (1, N, N))
        assert f"about {operator.mismatch:.1g} " in str(warned[0].message)
        assert 0.4 * expected < operator.mismatch < 2.5 * expected
        assert warned[0].filename == __file__

    @pytest.mark.parametrize("size", [4, 64])
    @pytest.mark.parametrize("excess", [0.5, 1e-3])
    def test_mismatch_does_not_depend_on_the_size(self, excess, size):
        physics = dinv.physics.LinearPhysics(A=lambda x: x.flip(-1), A_adjoint=lambda y: (1 + excess) * y.flip(-1))
        with pytest.warns(UserWarning, match="differs from the transpose"):
            operator = from_deepinv(physics, (1, size, size))
        assert 0.4 * excess < operator.mismatch < 2.5 * excess
        mended = dinv.physics.LinearPhysics(A=physics.A, img_size=(1, size, size))  # as the warning advises
        assert from_deepinv(mended, (1, size, size)).mismatch < 1e-6

    def test_complex_tensors(self):
        B = random(20, N * N, dtype=torch.complex64)
        physics = dinv.physics.LinearPhysics(
            A=lambda x: x.flatten(1).to(B) @ B.mT, A_adjoint=lambda y: (y @ B.conj()).unflatten(1, (1, N, N))
        )
        operator = from_deepinv(physics, (1, N, N))  # of real images
        assert (operator.in_dtype, operator.out_dtype) == (torch.float32, torch.complex64)
        assert operator.mismatch < 1e-6
        operator = from_deepinv(physics, (1, N, N), dtype=torch.complex64)
        assert (operator.in_dtype, operator.out_dtype) == (torch.complex64, torch.complex64)
        assert operator.mismatch < 1e-6

    def test_adjoint_by_automatic_differentiation(self):
        operator = from_deepinv(dinv.physics.LinearPhysics(A=lambda x: x.cumsum(-1), img_size=(1, N, N)), (1, N, N))
        assert operator.mismatch < 1e-5
        y = random(3, N, N)
        torch.testing.assert_close(operator.adjoint(y), y.flip(-1).cumsum(-1).flip(-1))

    def test_noise(self):
        physics = dinv.physics.Denoising(dinv.physics.GaussianNoise(0.2))
        assert likelihood_from_deepinv(physics).sigma == pytest.approx(0.2)
        noise = physics.noise_model(torch.zeros(1, 1, 200, 200, dtype=torch.complex64))
        likelihood = likelihood_from_deepinv(physics, complex_tensors=True)
        assert likelihood.sigma == pytest.approx(float(noise.real.std()), rel=0.02)


def picture():
    y, x = torch.meshgrid(torch.linspace(-1, 1, N), torch.linspace(-1, 1, N), indexing="ij")
    return 0.2 + 0.6 * ((x**2 + y**2) < 0.5).float()


class TestDeepinvsAlgorithms:
    """Our operator, our likelihood and our prior in deepinv's samplers."""

    operator = 0.5 * Matrix(N * N, (N, N))
    prior = GaussianPrior(torch.full((N, N), 0.5), 0.09)

    def residual(self, make):
        physics = to_deepinv(self.operator, Gaussian(0.01))
        torch.manual_seed(0)
        y = physics(picture()[None, None].expand(2, -1, -1, -1))
        x = make(prior_to_deepinv(self.prior))(y, physics)
        assert x.shape == (2, 1, N, N)
        start = physics.A(torch.full_like(x, 0.5)) - y
        return float(torch.linalg.vector_norm(physics.A(x) - y) / torch.linalg.vector_norm(start))

    def test_diffpir(self):
        data_fidelity = dinv.optim.data_fidelity.L2()
        assert self.residual(lambda denoiser: dinv.sampling.DiffPIR(denoiser, data_fidelity, max_iter=20)) < 0.3

    def test_dps(self):
        assert self.residual(lambda denoiser: dinv.sampling.DPS(denoiser, num_steps=30, weight=300.0)) < 0.4

    def test_plug_and_play(self):
        def make(denoiser):
            return dinv.optim.PGD(
                data_fidelity=dinv.optim.data_fidelity.L2(),
                prior=dinv.optim.prior.PnP(denoiser),
                stepsize=1.0,
                sigma_denoiser=0.02,
                max_iter=30,
            )

        assert self.residual(make) < 0.3


class TestSolve:
    """A physics and a denoiser of deepinv in our loop."""

    @pytest.mark.parametrize("name", ["blur", "inpainting", "tomography"])
    def test_real(self, name):
        make, shape, _ = PHYSICS[name]
        physics = make()
        physics.noise_model = dinv.physics.GaussianNoise(0.01)
        operator, likelihood = from_deepinv(physics, shape), likelihood_from_deepinv(physics)
        torch.manual_seed(0)
        y = physics(picture()[None, None])[0, 0]
        prior = prior_from_deepinv(dinv.models.TVDenoiser(n_it_max=10), data_std=0.3, sigma_range=(0.01, 1.0))
        result = solve(operator, y, prior, likelihood=likelihood, steps=6, progress=False)
        assert result.residual < 0.05
        again = solve(operator, y, prior, likelihood=likelihood, steps=6, progress=False)
        torch.testing.assert_close(again.mean, result.mean, rtol=0, atol=0)

    @pytest.mark.parametrize("name", ["mri", "multi-coil mri"])
    def test_complex(self, name):
        make, shape, _ = PHYSICS[name]
        physics = make()
        physics.noise_model = dinv.physics.GaussianNoise(0.01)
        physics.update(mask=torch.ones(N, N))
        operator = from_deepinv(physics, shape)
        truth = random(N, N, dtype=torch.complex64)
        torch.manual_seed(0)
        y = physics(parts(truth[None]))[0]
        y = torch.view_as_complex(y.movedim(0, -1).contiguous())
        prior = GaussianPrior(torch.zeros(N, N, dtype=torch.complex64), 1.0)
        likelihood = likelihood_from_deepinv(physics)
        mean = solve(operator, y, prior, likelihood=likelihood, steps=20, progress=False).mean
        assert float((mean - truth).abs().mean()) < 0.05


class TestRefusals:
    def test_deepinv_absent(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "deepinv", None)
        with pytest.raises(ImportError, match=r"pip install 'scoreinv\[deepinv\]'.*torch"):
            import_deepinv()

    @pytest.mark.parametrize(
        ("likelihood", "says"),
        [
            (TransmissionPoisson(1e4), "exponential in A x"),
            (Gaussian(torch.ones(12)), r"shape \(12,\).*Gaussian\(1.0\)"),
            (Gaussian(1.0, mask=torch.ones(12)), "has no mask"),
        ],
    )
    def test_noise_without_counterpart(self, likelihood, says):
        with pytest.raises(ValueError, match=says):
            to_deepinv(OPERATORS["image"], likelihood)

    def test_wrong_arrays_for_an_operator_of_ours(self):
        physics = to_deepinv(OPERATORS["complex"])
        with pytest.raises(ValueError, match=r"image of shape \(1, 1, 4, 5\), expected \(batch, 2, 4, 5\)"):
            physics.A(torch.zeros(1, 1, 4, 5))
        with pytest.raises(TypeError, match="two channels"):
            physics.A(torch.zeros(1, 2, 4, 5, dtype=torch.complex64))

    @pytest.mark.parametrize(
        ("make", "shape", "says"),
        [
            (lambda: dinv.physics.LinearPhysics(A=lambda x: x), (1, 8, 8), "no adjoint"),
            (lambda: dinv.physics.LinearPhysics(A=lambda x: x + 1, A_adjoint=lambda y: y), (1, 8, 8), "not linear"),
            (lambda: dinv.physics.Denoising().stack(dinv.physics.Denoising()), (1, 8, 8), "TensorList"),
            (lambda: dinv.physics.MRI(torch.ones(3, 2, 8, 8)), (2, 8, 8), "3 measurements of one image"),
            (lambda: dinv.physics.MRI(torch.ones(8, 8)), (1, 8, 8), r"\(2, ...\) for real and imaginary"),
            (lambda: dinv.physics.Tomography(8, 8, normalize=False), (8, 8), "expected image_shape = "),
        ],
        ids=["no adjoint", "affine", "list", "batch", "channels", "shape"],
    )
    def test_physics_that_is_no_operator(self, make, shape, says):
        with pytest.raises(ValueError, match=says):
            from_deepinv(make(), shape)

    def test_real_part_is_not_linear_in_complex_images(self):
        physics = dinv.physics.LinearPhysics(A=lambda x: x * torch.tensor([1.0, 0.0]).reshape(2, 1, 1), A_adjoint=None)
        with pytest.raises(ValueError, match="not linear"):
            from_deepinv(physics, (2, 8, 8), complex_channels=True)

    def test_nonlinear_physics(self):
        with pytest.raises(TypeError, match=r"Haze is not a deepinv.physics.LinearPhysics"):
            from_deepinv(dinv.physics.Haze(), (1, 8, 8))

    @pytest.mark.parametrize(
        ("noise", "says"),
        [
            (lambda: dinv.physics.PoissonNoise(), "PoissonNoise, expected GaussianNoise"),
            (lambda: dinv.physics.ZeroNoise(), "ZeroNoise"),
            (lambda: dinv.physics.GaussianNoise(torch.tensor([0.1, 0.2])), "one by one"),
        ],
    )
    def test_noise_of_another_kind(self, noise, says):
        with pytest.raises(ValueError, match=says):
            likelihood_from_deepinv(dinv.physics.Denoising(noise()))
