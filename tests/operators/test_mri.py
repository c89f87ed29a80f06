import pickle

import numpy as np
import pytest
import torch

from scoreinv.operators import CartesianMRI


def random(shape, seed=0):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def dot_test(operator, batch=()):
    """|<Ax, y> - <x, A^H y>| / (||Ax|| ||y||), summed in float64."""
    x, y = random((*batch, *operator.in_shape), 1), random((*batch, *operator.out_shape), 2)
    Ax, AHy = operator(x).to(torch.complex128), operator.adjoint(y).to(torch.complex128)
    difference = torch.vdot(y.to(torch.complex128).flatten(), Ax.flatten()) - torch.vdot(
        AHy.flatten(), x.to(torch.complex128).flatten()
    )
    return float(difference.abs() / (Ax.norm() * y.norm()))


def relative(got, wanted):
    return float(torch.linalg.vector_norm(got - wanted) / torch.linalg.vector_norm(wanted))


def bernoulli(shape, seed=3):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.4


CARTESIAN = {
    "2D, even": CartesianMRI(bernoulli((12, 8)), random((3, 12, 8), 4)),
    "2D, odd": CartesianMRI(bernoulli((9, 7)), random((2, 9, 7), 4)),
    "3D": CartesianMRI(bernoulli((5, 6, 7)), random((3, 5, 6, 7), 4)),
    "one coil": CartesianMRI(bernoulli((9, 8))),
    "lines": CartesianMRI(bernoulli((9, 1)).expand(9, 8), random((3, 9, 8), 4)),
    "weights": CartesianMRI(torch.rand(6, 5, generator=torch.Generator().manual_seed(0)), random((2, 6, 5), 4)),
    "everything": CartesianMRI(torch.ones(6, 5), random((2, 6, 5), 4)),
}
cartesian = pytest.mark.parametrize("operator", CARTESIAN.values(), ids=CARTESIAN.keys())


@cartesian
def test_cartesian_equals_the_centred_dft_by_definition(operator):
    x = random(operator.in_shape)
    wanted = (x if operator.coil_maps is None else operator.coil_maps * x).reshape(operator.out_shape).numpy()
    for axis, n in enumerate(operator.in_shape, start=1):
        place = np.arange(n) - n // 2
        dft = np.exp(-2j * np.pi * np.outer(place, place) / n) / np.sqrt(n)
        wanted = np.moveaxis(np.tensordot(dft, wanted, (1, axis)), 0, axis)
    wanted = torch.from_numpy(wanted * operator.mask.numpy()).to(torch.complex64)
    assert relative(operator(x), wanted) < 1e-6
    assert not operator(x)[:, operator.mask == 0].any()


@cartesian
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_adjoint_identity(operator, batch):
    assert dot_test(operator, batch) < 1e-6


@cartesian
@pytest.mark.parametrize("batch", [(), (2, 2)])
def test_normal_equals_adjoint_of_forward(operator, batch):
    x = random((*batch, *operator.in_shape))
    assert relative(operator.normal(x), operator.adjoint(operator(x))) < 1e-6


@cartesian
def test_operators_survive_pickling(operator):
    x = random(operator.in_shape)
    operator.normal(x)
    assert torch.equal(pickle.loads(pickle.dumps(operator))(x), operator(x))


@cartesian
def test_gradient_is_the_adjoint(operator):
    x, y = random(operator.in_shape).requires_grad_(), random(operator.out_shape, 1)
    (operator(x) - y).abs().square().sum().backward()
    assert relative(x.grad, 2 * operator.adjoint(operator(x.detach()) - y)) < 1e-6


def test_dc_lies_in_the_middle():
    k_space = CartesianMRI(torch.ones(6, 9))(torch.ones(6, 9, dtype=torch.complex64))
    assert k_space[0, 3, 4].real == pytest.approx(54**0.5)
    assert k_space.abs().sum() == pytest.approx(54**0.5, abs=1e-4)


def test_normal_of_many_coils_is_cut_into_pieces(monkeypatch):
    operator = CARTESIAN["3D"]
    x = random((2, *operator.in_shape))
    whole = operator.normal(x)
    monkeypatch.setattr("scoreinv.operators.mri.CHUNK", 1)
    assert relative(operator.normal(x), whole) < 1e-6


class TestCartesianRefusals:
    @pytest.mark.parametrize(
        ("mask", "says"),
        [
            (torch.zeros(4, 4), "samples no point"),
            (torch.ones(4), r"mask has shape \(4,\), expected \(y, x\) or \(z, y, x\)"),
            (torch.ones(2, 2, 2, 2), "expected"),
            (2 * torch.ones(4, 4), "from 0 to 1"),
            (torch.full((4, 4), torch.nan), "from 0 to 1"),
        ],
    )
    def test_masks(self, mask, says):
        with pytest.raises(ValueError, match=says):
            CartesianMRI(mask)

    @pytest.mark.parametrize(
        ("maps", "error", "says"),
        [
            (random((2, 4, 5)), ValueError, r"\(2, 4, 5\), expected \(coils, 4, 4\)"),
            (random((4, 4)), ValueError, "unsqueeze"),
            (torch.zeros(2, 4, 4, dtype=torch.complex64), ValueError, "zero everywhere"),
            (random((2, 4, 4)) * torch.nan, ValueError, "NaN"),
            (torch.ones(2, 4, 4), TypeError, "complex64"),
            (np.ones((2, 4, 4), np.complex64), TypeError, "got ndarray|are ndarray"),
        ],
    )
    def test_coil_maps(self, maps, error, says):
        with pytest.raises(error, match=says):
            CartesianMRI(torch.ones(4, 4), maps)

    def test_measurements_of_other_coils(self):
        with pytest.raises(ValueError, match=r"expected \(\*batch, 1, 4, 4\); axes are \(coils, y, x\)"):
            CartesianMRI(torch.ones(4, 4)).adjoint(random((2, 4, 4)))
