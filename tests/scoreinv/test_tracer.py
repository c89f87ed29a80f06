"""Properties of the random FDG images."""

import numpy as np
import pytest
import torch

from scoreinv.head import head
from scoreinv.phantoms import body, draw_level, paint_body
from scoreinv.tissues import TISSUES, Head
from scoreinv.tracer import BRAIN, HOTTEST, Metabolism, body_uptake, head_uptake

SHAPE, VOXEL = (12, 64, 64), (6.0, 7.0, 7.0)
BRAIN_SHAPE, BRAIN_VOXEL = (20, 64, 64), (6.0, 3.5, 3.5)
WATER = 0.0096


@pytest.fixture(scope="module")
def patients() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Ten bodies."""
    return [body_uptake(seed, SHAPE, VOXEL) for seed in range(10)]


@pytest.fixture(scope="module")
def heads() -> list[tuple[Head, torch.Tensor]]:
    """Six heads with their uptake."""
    found = [head(seed, BRAIN_SHAPE, BRAIN_VOXEL) for seed in range(6)]
    return [(tissues, head_uptake(tissues, seed)) for seed, tissues in enumerate(found)]


class TestBodies:
    def test_uptake_is_positive_and_bounded(self, patients):
        for uptake, _ in patients:
            assert (uptake.shape, uptake.dtype) == (SHAPE, torch.float32)
            assert float(uptake.min()) >= 0
            assert 1 < float(uptake.max()) < 1.5 * HOTTEST

    def test_same_seed_same_patient(self, patients):
        again = body_uptake(4, SHAPE, VOXEL)
        assert all(torch.equal(a, b) for a, b in zip(again, patients[4], strict=True))
        assert not torch.equal(patients[3][0], patients[4][0])

    def test_voxel_size_changes_sampling_only(self):
        coarse = body_uptake(5, (12, 48, 48), (6.0, 8.0, 8.0))[0]
        fine = body_uptake(5, (24, 96, 96), (3.0, 4.0, 4.0))[0]
        averaged = torch.nn.functional.avg_pool3d(fine[None], 2)[0]
        assert torch.corrcoef(torch.stack([coarse.flatten(), averaged.flatten()]))[0, 1] > 0.97

    def test_soft_tissue_is_near_one(self, patients):
        soft = [uptake[(mu > 0.98 * WATER) & (mu < 1.03 * WATER)].median() for uptake, mu in patients]
        assert 0.5 < float(torch.stack(soft).mean()) < 1.6

    def test_lungs_air_and_table_are_cold(self, patients):
        for uptake, _ in patients:
            assert float(uptake[:, :2].max()) < 0.1  # the air in front of every patient
        lungs = torch.cat([uptake[(mu > 0.1 * WATER) & (mu < 0.3 * WATER)] for uptake, mu in patients])
        assert 0.1 < float(lungs.median()) < 0.7

    def test_a_body_with_a_head_has_a_hot_brain(self):
        assert draw_level(np.random.Generator(np.random.PCG64(np.random.SeedSequence(3)))) > 350
        uptake, mu = body_uptake(3, (8, 64, 64), (6.0, 4.0, 4.0))
        assert float((uptake > 2).float().mean()) > 0.2 * float((mu > 0.9 * WATER).float().mean())


class TestAnatomyIsOne:
    @pytest.mark.parametrize("seed", [0, 3, 7])
    def test_uptake_leaves_hounsfield_units_as_they_are(self, seed):
        canvas = paint_body(seed, SHAPE, VOXEL, Metabolism.drawn(np.random.default_rng(0)))
        assert torch.equal(torch.from_numpy(canvas.hu.clip(-1000, 3000)), body(seed, SHAPE, VOXEL))

    def test_organs_take_up_what_their_names_say(self):
        metabolism = Metabolism.drawn(np.random.default_rng(0))
        assert metabolism(-200.0, "table") == 0
        assert metabolism(40.0, "liver") == metabolism.organs["liver"] > metabolism(50.0, None)
        np.testing.assert_allclose(metabolism(np.array([-1000.0, 2000.0]), None), metabolism.values[[0, -1]], rtol=1e-6)


class TestHeads:
    def test_same_seed_same_patient(self, heads):
        assert torch.equal(head_uptake(heads[2][0], 2), heads[2][1])
        assert not torch.equal(head_uptake(heads[2][0], 3), heads[2][1])

    def test_uptake_is_positive_and_dark_outside(self, heads):
        for tissues, uptake in heads:
            assert float(uptake.min()) >= 0
            assert float(uptake[tissues.fraction("air") > 0.999].median()) < 0.05

    def test_grey_matter_is_about_four_times_white_before_it_is_blurred(self, heads):
        ratios = []
        for tissues, _ in heads:
            # Blocks of one tissue keep their uptake through the resolution of a scanner.
            fractions = torch.zeros_like(tissues.fractions)
            for start, tissue in ((0, "grey"), (32, "white")):
                fractions[TISSUES.index(tissue), :, :, start : start + 32] = 1
            uptake = head_uptake(Head(fractions, tissues.voxel_size), len(ratios))
            ratios.append(float(uptake[..., 6:26].median() / uptake[..., 38:58].median()))
        assert 3 < np.median(ratios) < 4.5
        assert min(ratios) > 2
        assert max(ratios) < 7

    def test_the_brain_is_hotter_than_what_holds_it(self, heads):
        for tissues, uptake in heads:
            brain = sum(tissues.fraction(tissue) for tissue in BRAIN)
            assert uptake[brain > 0.9].median() > 2.5 * uptake[(brain == 0) & (tissues.fraction("air") < 0.1)].median()

    def test_voxel_size_changes_sampling_only(self):
        coarse = head_uptake(head(1, (12, 32, 32), (6.0, 6.0, 6.0)), 1)
        fine = head_uptake(head(1, (24, 64, 64), (3.0, 3.0, 3.0)), 1)
        averaged = torch.nn.functional.avg_pool3d(fine[None], 2)[0]
        assert torch.corrcoef(torch.stack([coarse.flatten(), averaged.flatten()]))[0, 1] > 0.97


@pytest.mark.parametrize("seed", [-1, True, 0.5])
def test_seeds_that_are_none_are_named(seed, heads):
    for draw in (lambda: body_uptake(seed, SHAPE, VOXEL), lambda: head_uptake(heads[0][0], seed)):
        with pytest.raises(ValueError, match="seed: expected an int >= 0"):
            draw()
