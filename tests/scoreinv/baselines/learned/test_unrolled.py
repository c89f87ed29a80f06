import pytest
import torch
from toy_networks import data, scan, small_network
from toys import Dense, random

from scoreinv.baselines.learned import Unrolled, reconstruct
from scoreinv.operators import CartesianMRI


class Picture(Dense):
    """A matrix that acts on images (y, x)."""

    def __init__(self, matrix, shape):
        super().__init__(matrix)
        self.in_shape = shape

    def _apply(self, x):
        return super()._apply(x.flatten(-2))

    def _adjoint(self, y):
        return super()._adjoint(y).unflatten(-1, self.in_shape)


def silent(**arguments):
    """A network whose U-Nets answer nothing."""
    torch.manual_seed(0)
    network = Unrolled(width=2, levels=1, **arguments).eval()
    for unet in network.unets:
        torch.nn.init.zeros_(unet.answer.weight)
        torch.nn.init.zeros_(unet.answer.bias)
    return network


def test_data_steps_are_those_of_the_proximal_point_method():
    matrix = random(30, 12, dtype=torch.float32)
    operator, y = Picture(matrix, (3, 4)), random(30, seed=1, dtype=torch.float32)
    network = silent(iterations=3, gradients=12, scale=1.0)
    back = matrix.T @ y
    square = (matrix @ back).square().sum() / back.square().sum()
    z = torch.zeros(12)
    for weight in network.log_weights.exp():
        normal = matrix.T @ matrix / square + weight * torch.eye(12)
        z = torch.linalg.solve(normal, matrix.T @ y / square + weight * z)
    torch.testing.assert_close(reconstruct(network, operator, y).flatten(), z.detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("complex", [False, True])
def test_rescaling_the_data_rescales_the_image(complex):
    torch.manual_seed(0)
    network = Unrolled(iterations=2, gradients=3, width=4, levels=2, complex=complex).eval()
    mask = torch.rand(8, 9, generator=torch.Generator().manual_seed(2)) > 0.4
    operator = CartesianMRI(mask) if complex else scan(views=4)
    y = torch.randn(operator.out_shape, dtype=operator.out_dtype, generator=torch.Generator().manual_seed(1))
    image = reconstruct(network, operator, y)
    assert image.dtype == operator.in_dtype
    torch.testing.assert_close(reconstruct(network, operator, 1e3 * y), 1e3 * image, rtol=1e-3, atol=1e-2)


def test_gradient_through_the_solver_is_that_of_finite_differences():
    torch.manual_seed(0)
    network = Unrolled(iterations=2, gradients=3, width=2, levels=2, scale=1.0).double().eval()
    operator = Picture(random(10, 12), (3, 4))
    weights = network.log_weights.detach().clone().requires_grad_()

    def image(y, weights):
        return torch.func.functional_call(network, {"log_weights": weights}, (operator, y))

    assert torch.autograd.gradcheck(image, (random(10, seed=1).requires_grad_(), weights))


def test_complex_images_are_learnt_from_part_of_k_space():
    generator = torch.Generator().manual_seed(0)
    operator = CartesianMRI(torch.rand(16, 16, generator=generator) > 0.5)
    torch.manual_seed(0)
    network = Unrolled(iterations=2, gradients=3, width=4, levels=2, complex=True).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    corners = torch.linspace(-1, 1, 16)

    def image():
        y, x, r = torch.rand(3, generator=generator) - 0.5
        disc = ((corners[:, None] - y) ** 2 + (corners - x) ** 2 < 0.2 + 0.3 * r).float()
        return torch.polar(disc, corners[:, None] + corners)

    def error():
        truth = image()
        return (network(operator, operator.forward(truth)) - truth).abs().square().sum() / truth.abs().square().sum()

    with torch.no_grad():
        before = sum(float(error()) for _ in range(10))
    for _ in range(30):
        loss = error()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        assert sum(float(error()) for _ in range(10)) < before / 3


def test_no_data_make_no_image():
    torch.manual_seed(0)
    operator = scan(views=2)
    assert not reconstruct(silent(iterations=2, gradients=2), operator, torch.zeros(operator.out_shape)).any()


def test_images_of_the_other_kind_are_refused():
    operator, mri = scan(), CartesianMRI(torch.ones(4, 4))
    with pytest.raises(TypeError, match=r"are torch\.complex64, expected real ones"):
        reconstruct(small_network("unrolled"), mri, torch.zeros(mri.out_shape, dtype=torch.complex64))
    with pytest.raises(TypeError, match="expected complex ones"):
        reconstruct(Unrolled(complex=True, width=2), operator, data(operator))
