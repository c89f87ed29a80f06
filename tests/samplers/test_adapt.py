"""Networks adapted to a scan."""

from dataclasses import replace

import torch
from torch import nn
from toys import Columns

from scoreinv.operators import Gaussian
from scoreinv.priors import VP, NetworkPrior, PerpendicularPlanes, SliceWise
from scoreinv.samplers import (
    DDIM,
    NoiseSource,
    Problem,
    schedules,
    start,
    walk,
)
from scoreinv.samplers.guidance import DDS, LoRA


class TestLoRA:
    """A network that is wrong in the same way everywhere is mended by what the data say."""

    def problem(self, samples=1):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1))

        class Biased(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = network

            def forward(self, x, time):
                return 0.3 * self.layers(x)

        prior = NetworkPrior(Biased(), parametrisation=VP((0.1, 0.5, 0.8, 0.9), "sample"), precision="fp32")
        A = Columns((6, 16, 16), (6, 16, 8))
        truth = torch.ones(6, 16, 16)
        return Problem(A, A(truth), Gaussian(0.05), SliceWise(prior)), truth

    def walked(self, p, guidance, samples):
        source = NoiseSource(0, (6, 16, 16))
        sigmas = schedules.edm(12, 5.0, 0.35)
        return walk(p, guidance, DDIM(1.0), sigmas, source, samples, start(source, 5.0, samples))

    def test_unseen_columns_come_nearer_to_the_truth(self):
        p, truth = self.problem()
        plain, adapted = (
            self.walked(p, DDS(adapt=adapt), [0]).z[0] for adapt in (None, LoRA(rank=2, steps=10, learning_rate=0.02))
        )
        error = [float((x - truth)[..., 1::2].square().mean().sqrt()) for x in (plain, adapted)]
        assert error[1] < 0.6 * error[0]

    def test_the_network_itself_stays_as_it_was(self):
        p, _ = self.problem()
        before = {k: v.clone() for k, v in p.prior.prior.network.state_dict().items()}
        self.walked(p, DDS(adapt=LoRA(steps=1)), [0])
        for name, value in p.prior.prior.network.state_dict().items():
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)

    def test_a_sample_does_not_see_its_company(self):
        p, _ = self.problem()
        guidance = DDS(adapt=LoRA(steps=2))
        together, alone = self.walked(p, guidance, [1, 0]).z[1], self.walked(p, guidance, [0]).z[0]
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)

    def test_networks_of_two_planes_are_adapted_apart(self):
        """Of the same layers, and wrong in opposite ways."""

        class Shifted(nn.Module):
            def __init__(self, shift):
                super().__init__()
                self.layer = nn.Conv2d(1, 1, 1)
                nn.init.constant_(self.layer.weight, 0.0)
                nn.init.constant_(self.layer.bias, 1.0 + shift)

            def forward(self, x, time):
                return self.layer(x)

        form = VP((0.1, 0.5, 0.8, 0.9), "sample")
        priors = {
            axis: NetworkPrior(Shifted(shift), parametrisation=form, precision="fp32", name=f"axis {axis}")
            for axis, shift in ((0, 0.5), (1, -0.5))
        }
        p, _ = self.problem()
        history = self.walked(replace(p, prior=PerpendicularPlanes(priors)), DDS(adapt=LoRA(1, steps=2)), [0]).history
        first, second = (history[f"lora of axis {axis}"][0]["layer.weight"] for axis in (0, 1))
        assert float((first[0] * first[1] - second[0] * second[1]).abs().max()) > 1e-4

    def test_fitting_counts_as_time_of_the_network(self):
        p, _ = self.problem()
        source, steps = NoiseSource(0, (6, 16, 16)), []
        walk(
            p,
            DDS(adapt=LoRA(steps=20)),
            DDIM(1.0),
            schedules.edm(3, 5.0, 0.35),
            source,
            [0],
            start(source, 5.0, [0]),
            lambda step, state: steps.append(step),
        )
        assert sum(step.network for step in steps) > 2 * sum(step.rest for step in steps)
