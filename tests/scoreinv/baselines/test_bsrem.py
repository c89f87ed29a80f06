import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from scoreinv.baselines import bsrem, osem
from scoreinv.operators import (
    PET,
    LinearOperator,
    Neighbours,
    PETScanner,
    Poisson,
    RelativeDifference,
    Sinogram,
    Volume,
)

OPERATOR = PET(PETScanner(150.0, 20, 4, 10.0, (0.0,)), Volume((1, 16, 16), (8.0, 8.0, 8.0)), sinogram=Sinogram(31, 0))


def truth():
    axis = (torch.arange(16) - 7.5) * 8
    y, x = axis[:, None], axis
    return ((y**2 + x**2 < 54**2).float() + 3 * ((y - 16) ** 2 + (x + 12) ** 2 < 18**2).float())[None]


def counts(scale=1.0, seed=0):
    """Counts of the truth at this scale of activity, on a background of half a count a line."""
    return Poisson(0.5).simulate(scale * OPERATOR(truth()), torch.Generator().manual_seed(seed))


class Matrix(LinearOperator):
    """A sparse matrix >= 0 on images (6, 7), whose rows are views."""

    def __init__(self, matrix):
        super().__init__((6, 7), (matrix.shape[0],))
        self.matrix = matrix

    def _apply(self, x):
        return x.flatten(-2) @ self.matrix.mT

    def _adjoint(self, y):
        return (y @ self.matrix).unflatten(-1, (6, 7))

    def subset(self, i, n):
        return Matrix(self.matrix[i::n])


def optimum(operator, y, background, beta, epsilon):
    """Least objective by L-BFGS-B in double precision, and the objective."""
    A, data = operator.matrix.double(), y.double()
    penalty = RelativeDifference(Neighbours.around((6, 7)), epsilon)

    def objective(flat):
        x = torch.as_tensor(flat, dtype=torch.float64).reshape(6, 7)
        mean = A @ x.flatten() + background
        slope = (A.T @ (1 - data / mean)).reshape(6, 7) + beta * penalty.gradient(x)
        return float((mean - data * mean.log()).sum() + beta * penalty.value(x)), slope.flatten().numpy()

    start = np.full(42, float(y.sum() / A.sum()))
    options = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * 42, options=options)
    return found.fun, lambda x: objective(x.double().flatten().numpy())[0]


@pytest.mark.parametrize(("strength", "level"), [(0.5, 30.0), (5.0, 5.0)])
def test_image_is_the_penalised_maximum(strength, level):
    generator = torch.Generator().manual_seed(0)
    mixing = torch.rand(168, 42, generator=generator) * (torch.rand(168, 42, generator=generator) < 0.1)
    A = Matrix(torch.eye(42).repeat(4, 1) + 0.3 * mixing)
    image = level * torch.tensor([0.3, 1.0, 4.0]).repeat(14).reshape(6, 7).sort().values
    y = Poisson(0.3).simulate(A(image), generator)
    first = osem(A, y, likelihood=Poisson(0.3), iterations=1, subsets=4)
    activity = float(first.square().sum() / first.sum())
    beta = strength / (activity * Neighbours.around((6, 7)).degree())
    least, objective = optimum(A, y, 0.3, beta, 1e-3 * activity)
    got = bsrem(A, y, likelihood=Poisson(0.3), strength=strength, iterations=200, subsets=4, relaxation=0.1)
    uniform = torch.full((6, 7), float(y.sum() / A.matrix.sum()))
    assert objective(got) - least < 1e-4 * (objective(uniform) - least)


def test_a_good_strength_beats_the_best_osem():
    y, wanted = counts(0.3), 0.3 * truth()
    images = (osem(OPERATOR, y, likelihood=Poisson(0.5), iterations=n) for n in (1, 2, 3, 5))
    best = min(float((image - wanted).norm()) for image in images)
    assert float((bsrem(OPERATOR, y, likelihood=Poisson(0.5), strength=24.0) - wanted).norm()) < 0.9 * best


def test_unit_of_the_image_does_not_matter():
    y = counts()
    one = bsrem(OPERATOR, y, likelihood=Poisson(0.5), iterations=2)
    scaled = PET(OPERATOR.scanner, OPERATOR.volume, normalisation=torch.full((1, 1, 1), 0.01), sinogram=Sinogram(31, 0))
    torch.testing.assert_close(bsrem(scaled, y, likelihood=Poisson(0.5), iterations=2), 100 * one, rtol=1e-3, atol=1e-2)


def test_more_strength_is_smoother_and_none_is_as_likely_as_osem():
    y, likelihood = counts(), Poisson(0.5)
    images = [bsrem(OPERATOR, y, likelihood=likelihood, strength=s) for s in (0.0, 3.0, 100.0)]
    roughness = [float(image.diff(dim=-1).abs().sum()) for image in images]
    assert roughness == sorted(roughness, reverse=True)
    values = [
        float(likelihood.negative_log(OPERATOR(x), y, 3))
        for x in (images[0], osem(OPERATOR, y, likelihood=likelihood, iterations=10))
    ]
    assert values[0] < values[1]


def test_anatomy_sharpens_the_edges_it_shares():
    y, wanted = counts(0.3), 0.3 * truth()
    errors = [
        float((bsrem(OPERATOR, y, likelihood=Poisson(0.5), strength=24.0, anatomy=anatomy) - wanted).norm())
        for anatomy in (5 - truth(), None)
    ]
    assert errors[0] < 0.95 * errors[1]


def test_empty_scan_gives_an_empty_image():
    assert float(bsrem(OPERATOR, torch.zeros(OPERATOR.out_shape)).max()) == 0


def test_zero_counts_and_zero_background_stay_finite():
    image = bsrem(OPERATOR, Poisson().simulate(1e-2 * OPERATOR(truth()), torch.Generator().manual_seed(0)))
    assert bool(torch.isfinite(image).all())
    assert float(image.min()) >= 0


def test_bad_settings_are_refused():
    y = counts()
    for settings in ({"strength": -1.0}, {"relaxation": 0.0}, {"strength": float("nan")}):
        with pytest.raises(ValueError, match="expected strength >= 0 and relaxation > 0"):
            bsrem(OPERATOR, y, **settings)
    with pytest.raises(ValueError, match="bsrem: iterations 0"):
        bsrem(OPERATOR, y, iterations=0)
    with pytest.raises(ValueError, match="anatomy has shape"):
        bsrem(OPERATOR, y, likelihood=Poisson(0.5), anatomy=torch.zeros(2, 16, 16))


def test_hardly_any_background_makes_no_voxel_run_away():
    # Many subsets, of few counts each, on lines that expect next to nothing.
    likelihood = Poisson(1e-3)
    for scale in (1.0, 30.0):
        y = likelihood.simulate(scale * OPERATOR(truth()), torch.Generator().manual_seed(3))
        image = bsrem(OPERATOR, y, likelihood=likelihood)
        assert float(OPERATOR(image).sum()) == pytest.approx(float(y.sum()), rel=0.1)
        assert float(image.max()) < 5 * float(osem(OPERATOR, y, likelihood=likelihood, subsets=1).max())
