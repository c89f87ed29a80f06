import math

import numpy as np
import pytest
import torch

from scoreinv.operators import ConeBeamCT, ConeBeamGeometry, FiniteDifference, LinearOperator, Stack, Volume


class Matrix(LinearOperator):
    """A dense matrix on flattened images."""

    def __init__(self, matrix, in_shape):
        super().__init__(in_shape, (len(matrix),), matrix.dtype, matrix.dtype)
        self.matrix = matrix

    def _apply(self, x):
        return x.flatten(-len(self.in_shape)) @ self.matrix.mT

    def _adjoint(self, y):
        return (y @ self.matrix.conj()).unflatten(-1, self.in_shape)


def matrix(rows, in_shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Matrix(torch.randn(rows, math.prod(in_shape), dtype=dtype, generator=generator), in_shape)


def random(shape, dtype, seed):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def dot_test(operator, batch=()):
    x = random((*batch, *operator.in_shape), operator.in_dtype, 1)
    y = random((*batch, *operator.out_shape), operator.out_dtype, 2)
    Ax, AHy = operator(x), operator.adjoint(y)
    wide = torch.complex128 if x.is_complex() or y.is_complex() else torch.float64
    left = torch.vdot(y.to(wide).flatten(), Ax.to(wide).flatten())
    right = torch.vdot(AHy.to(wide).flatten(), x.to(wide).flatten())
    return float((left - right).abs() / (torch.linalg.vector_norm(Ax) * torch.linalg.vector_norm(y)))


A, B = matrix(5, (2, 3)), matrix(5, (2, 3), seed=3)
C = matrix(4, (5,), seed=4)
Z = matrix(5, (2, 3), torch.complex64, seed=5)

ALGEBRA = {
    "matrix": A,
    "complex matrix": Z,
    "adjoint": A.H,
    "adjoint of adjoint": A.H.H,
    "sum": A + B,
    "composition": C @ A,
    "scaled": 2.5 * A,
    "scaled by a tensor": torch.tensor(2.5) * A,
    "scaled by a number of NumPy's": np.float64(2.5) * A,
    "complex factor": (1 - 2j) * Z,
    "normal map": A.H @ A,
    "stack of equals": Stack([A, B]),
    "ragged stack": Stack([A, matrix(7, (2, 3))]),
    "difference": FiniteDifference((4, 5, 3), axis=1),
    "last difference": FiniteDifference((4, 5), axis=-1, dtype=torch.complex64),
}


@pytest.mark.parametrize("operator", ALGEBRA.values(), ids=ALGEBRA.keys())
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_adjoint_identity(operator, batch):
    assert dot_test(operator, batch) < 1e-6


@pytest.mark.parametrize("operator", ALGEBRA.values(), ids=ALGEBRA.keys())
def test_normal_equals_adjoint_of_forward(operator):
    x = random(operator.in_shape, operator.in_dtype, 1)
    torch.testing.assert_close(operator.normal(x), operator.adjoint(operator(x)))


@pytest.mark.parametrize("operator", ALGEBRA.values(), ids=ALGEBRA.keys())
def test_sensitivity_is_the_adjoint_of_ones(operator):
    wanted = operator.adjoint(torch.ones(operator.out_shape, dtype=operator.out_dtype))
    torch.testing.assert_close(operator.sensitivity(), wanted)


def test_algebra_is_that_of_matrices():
    x = random((2, 3), torch.float32, 0).flatten()
    image = x.reshape(2, 3)
    torch.testing.assert_close((C @ A)(image), C.matrix @ A.matrix @ x)
    torch.testing.assert_close((A + B)(image), (A.matrix + B.matrix) @ x)
    torch.testing.assert_close((3.0 * A)(image), 3 * A.matrix @ x)
    torch.testing.assert_close((torch.tensor(3.0, dtype=torch.float64) * A)(image), 3 * A.matrix @ x)


class TestImageSpace:
    """What is known of the image survives the algebra wherever the image stays the same."""

    @pytest.fixture
    def placed(self):
        operator = matrix(5, (1, 2, 3))
        operator.unit, operator.volume = "1/mm", Volume((1, 2, 3), (2.0, 1.0, 1.0))
        return operator

    @pytest.mark.parametrize(
        "build",
        [
            lambda A: 2 * A,
            lambda A: A + matrix(5, (1, 2, 3), seed=1),
            lambda A: matrix(5, (1, 2, 3), seed=1) + A,
            lambda A: C @ A,
            lambda A: A.H @ A,
        ],
        ids=["scaled", "sum", "sum from the right", "composition", "normal map"],
    )
    def test_unit_and_volume_are_kept(self, placed, build):
        assert build(placed).unit == "1/mm"
        assert build(placed).volume == placed.volume

    def test_adjoint_has_another_image(self, placed):
        assert (placed.H.unit, placed.H.volume) == (None, None)

    def test_sum_of_different_images_is_refused(self, placed):
        other = matrix(5, (1, 2, 3))
        other.unit = "Bq/mL"
        with pytest.raises(ValueError, match="units of the image must agree, got 1/mm and Bq/mL"):
            placed + other

    def test_implausible_images_are_noticed(self):
        volume = Volume((2, 8, 8), (4.0, 4.0, 4.0))
        operator = ConeBeamCT(ConeBeamGeometry.circular(800, 1200, (2, 12), (6.0, 6.0), [0.0, 1.0]), volume)
        for built in (2 * operator, operator + operator, operator.H @ operator):
            with pytest.warns(UserWarning, match="convert HU"):
                built(torch.full(volume.shape, -1000.0))


class Twice(Matrix):
    """Moved, it is twice as large, which tells that it was."""

    def __init__(self, matrix, in_shape):
        super().__init__(matrix, in_shape)
        self.device = torch.device("cpu")

    def _moved(self, device):
        return Matrix(2 * self.matrix, self.in_shape)


@pytest.mark.parametrize(
    ("build", "larger"),
    [
        (lambda A, B: A.H, 2),
        (lambda A, B: B.H @ A, 4),
        (lambda A, B: A + B, 2),
        (lambda A, B: 3.0 * A, 2),
        (lambda A, B: Stack([A, B]), 2),
    ],
)
def test_what_is_made_of_operators_moves_all_of_them(build, larger):
    operator = build(*(Twice(matrix(5, (3, 2), seed=seed).matrix, (3, 2)) for seed in (1, 2)))
    x = random(operator.in_shape, torch.float32, 0)
    assert operator.to("cpu") is operator
    torch.testing.assert_close(operator.to("meta")(x), larger * operator(x))


def test_an_operator_of_one_device_stays_there():
    geometry = ConeBeamGeometry.circular(100.0, 150.0, (2, 3), (1.0, 1.0), np.zeros(1))
    anywhere, cpu = (ConeBeamCT(geometry, Volume((1, 2, 2), (1.0, 1.0, 1.0)), backend) for backend in ("auto", "numba"))
    assert anywhere.to("cuda") is anywhere
    assert cpu.to("cpu") is cpu
    with pytest.raises(ValueError, match="works on cpu alone, got cuda; make it with backend='auto'"):
        cpu.to("cuda")


def test_an_operator_of_any_gpu_takes_data_of_each_and_one_of_a_single_gpu_those_of_it_alone():
    of_any, second = (Matrix(A.matrix, A.in_shape) for _ in range(2))
    of_any.device, second.device = torch.device("cuda"), torch.device("cuda:1")
    assert of_any.to("cuda:1") is of_any
    assert second.to("cuda") is second
    with pytest.raises(ValueError, match="works on cuda:1 alone, got cuda:0"):
        second.to("cuda:0")
    assert [str(of_any._place(wish)) for wish in (None, "cpu", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    assert [str(A._place(wish)) for wish in (None, "cuda:1")] == ["cpu", "cuda:1"]


def test_composition_uses_the_normal_map_of_its_outer_operator():
    class Counting(Matrix):
        def _normal(self, x):
            calls.append(1)
            return super()._normal(x)

    calls = []
    (Counting(C.matrix, (5,)) @ A).normal(torch.ones(2, 3))
    assert calls == [1]


def test_norm_is_the_largest_singular_value():
    assert A.norm() == pytest.approx(float(torch.linalg.matrix_norm(A.matrix, 2)), rel=1e-3)
    assert Z.norm() == pytest.approx(float(torch.linalg.matrix_norm(Z.matrix, 2)), rel=1e-3)


@pytest.mark.parametrize("direction", ["forward", "adjoint", "normal"])
def test_gradient_is_the_adjoint(direction):
    apply = getattr(A, direction)
    x = random(A.out_shape if direction == "adjoint" else A.in_shape, torch.float32, 0).requires_grad_()
    out = apply(x)
    v = torch.ones_like(out)
    (gradient,) = torch.autograd.grad(out, x, v)
    back = {"forward": A.adjoint, "adjoint": A.forward, "normal": A.normal}[direction]
    torch.testing.assert_close(gradient, back(v))


def test_second_derivatives_exist():
    x = random(A.in_shape, torch.float32, 0).requires_grad_()
    (gradient,) = torch.autograd.grad(A(x).square().sum() / 2, x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    torch.testing.assert_close(second, A.normal(torch.ones_like(x)))


def test_complex_gradient_is_the_hermitian_adjoint():
    x = random(Z.in_shape, torch.complex64, 0).requires_grad_()
    Z(x).abs().square().sum().backward()
    torch.testing.assert_close(x.grad, 2 * Z.normal(x.detach()))


def test_stack_sees_every_frame_alone():
    stack = Stack([A, matrix(7, (2, 3), seed=8)])
    x = random((2, 2, 3), torch.float32, 0)
    frames = stack.split(stack(x))
    torch.testing.assert_close(frames[0], A(x[0]))
    torch.testing.assert_close(frames[1], stack.operators[1](x[1]))


class TestRefusals:
    @pytest.mark.parametrize(
        ("x", "error", "says"),
        [
            (torch.zeros(3, 2), ValueError, r"shape \(3, 2\), expected"),
            (torch.zeros(3), ValueError, "expected"),
            (torch.zeros(2, 3, dtype=torch.float64), TypeError, "float64, expected float32"),
            (torch.zeros(2, 3, dtype=torch.complex64), TypeError, "complex64, expected float32"),
            ([[0.0] * 3] * 2, TypeError, "torch.Tensor, got list"),
        ],
    )
    def test_wrong_image_names_expected_and_got(self, x, error, says):
        with pytest.raises(error, match=says) as raised:
            A(x)
        assert "Matrix" in str(raised.value)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("method", ["forward", "adjoint", "normal"])
    @pytest.mark.parametrize("wrong", [lambda x: x[..., :-1], lambda x: x.double(), lambda x: x[None]])
    def test_answers_of_a_users_operator_that_are_not_as_declared(self, method, wrong):
        class Wrong(LinearOperator):
            def _apply(self, x):
                return wrong(x)

            _adjoint = _apply

        with pytest.raises(
            ValueError, match=r"Wrong: _\w+ gives \(.*\) float\d\d, expected \(2, 5,?\) float32; correct it"
        ):
            getattr(Wrong((5,), (5,)), method)(torch.zeros(2, 5))

    def test_subset_without_views(self):
        with pytest.raises(NotImplementedError, match="no views"):
            A.subset(0, 2)

    def test_mismatched_algebra(self):
        with pytest.raises(ValueError, match="the left takes"):
            A @ C
        with pytest.raises(ValueError, match="must agree"):
            A + C
        with pytest.raises(TypeError, match="complex factor"):
            1j * A
        with pytest.raises(TypeError, match="the factor is Tensor, expected one number"):
            torch.ones(2) * A
        with pytest.raises(ValueError, match="operator 1"):
            Stack([A, C])
        with pytest.raises(ValueError, match="no operators"):
            Stack([])

    def test_difference_needs_an_axis_to_go_along(self):
        with pytest.raises(ValueError, match="longer than 1"):
            FiniteDifference((1, 4), axis=0)
