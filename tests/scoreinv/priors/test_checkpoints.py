import json
import pickle
import types

import pytest
import torch
from toys import UNET

from scoreinv.priors.checkpoints import read_checkpoint

LINEAR = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02, "num_train_timesteps": 1000}


def save(folder, content, name="weights.pt"):
    torch.save(content, folder / name)
    return folder / name


class TestFiles:
    def test_code_is_refused_and_not_run(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return (tmp_path / "sprung").touch, ()

        plain, saved = tmp_path / "edm.pkl", save(tmp_path, {"model": {}, "config": Trap()})
        plain.write_bytes(pickle.dumps({"ema": Trap()}))
        for path in (plain, saved, save(tmp_path, {"config": types.SimpleNamespace(nf=8)}, "config.pth")):
            for family in ("adm", "ncsnpp"):
                with pytest.raises(ValueError, match=r"would run code, .* torch.save\(model.state_dict\(\)") as refusal:
                    read_checkpoint(path, family)
                assert "\n" not in str(refusal.value)
        assert not (tmp_path / "sprung").exists()

    def test_what_needs_code_is_named(self, tmp_path):
        with pytest.raises(ValueError, match=r"\(types.SimpleNamespace\)"):
            read_checkpoint(save(tmp_path, {"config": types.SimpleNamespace(nf=8)}), "ncsnpp")

    def test_a_page_instead_of_the_file(self, tmp_path):
        (tmp_path / "weights.pth").write_text("<!DOCTYPE html><html>Too many users have viewed this file</html>")
        with pytest.raises(ValueError, match=r"begins with b'<!DOCTYPE .* download it again"):
            read_checkpoint(tmp_path / "weights.pth", "ncsnpp")

    def test_half_a_file(self, tmp_path):
        path = save(tmp_path, {"a": torch.zeros(1000)})
        (tmp_path / "half.safetensors").write_bytes(path.read_bytes()[:2000])
        path.write_bytes(path.read_bytes()[:2000])
        for name in (path, tmp_path / "half.safetensors"):
            with pytest.raises(ValueError, match="damaged or incomplete"):
                read_checkpoint(name, "adm")

    def test_no_file_no_family_no_argument(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nothing at"):
            read_checkpoint(tmp_path / "weights.pt", "adm")
        path = save(tmp_path, {"a": torch.zeros(1)})
        with pytest.raises(ValueError, match="family is 'edm', expected one of"):
            read_checkpoint(path, "edm")
        with pytest.raises(ValueError, match="does not know head_dim; it has num_head_channels"):
            read_checkpoint(path, "adm", head_dim=64)
        with pytest.raises(ValueError, match="holds a list"):
            read_checkpoint(save(tmp_path, [1.0]), "adm")

    @pytest.mark.parametrize("family", ["adm", "ncsnpp"])
    def test_another_family(self, family, tmp_path):
        with pytest.raises(ValueError, match=r"it has conv\.weight.* check the family"):
            read_checkpoint(save(tmp_path, {"conv.weight": torch.zeros(1)}), family)

    def test_old_files_are_read(self, original_weights, tmp_path):
        torch.save(original_weights("adm.legacy"), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
        assert read_checkpoint(tmp_path / "old.pt", "adm", num_head_channels=16).architecture == "unet2d"


class TestAdm:
    ARGUMENTS = {  # noqa: RUF012
        "legacy": {"num_head_channels": 16},
        "new_order": {"num_heads": 4, "use_new_attention_order": True},
        "aapm256": {"num_head_channels": 32},
    }

    @pytest.mark.parametrize("name", ARGUMENTS)
    def test_answers_like_the_original(self, name, golden, original_weights, image, tmp_path):
        """The published AAPM256 network among them, at an eighth of its width; the variance is dropped."""
        expected = golden(f"adm.{name}")[1]
        path = save(tmp_path, original_weights(f"adm.{name}"))
        network = read_checkpoint(path, "adm", **self.ARGUMENTS[name]).build()
        with torch.no_grad():
            got = network(image(*expected.shape), torch.tensor([17, 803])[: len(expected)]).sample
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)

    def test_the_order_of_attention_matters(self, original_weights, tmp_path):
        path = save(tmp_path, original_weights("adm.legacy"))
        legacy, new = (
            read_checkpoint(path, "adm", num_head_channels=16, use_new_attention_order=new).state
            for new in (False, True)
        )
        differing = {key.split(".")[-2] for key in legacy if not torch.equal(legacy[key], new[key])}
        assert differing == {"to_q", "to_k", "to_v"}

    def test_the_layout_is_recognised(self, original_weights, tmp_path):
        path = save(tmp_path, original_weights("adm.aapm256"))
        arguments = read_checkpoint(path, "adm", num_head_channels=32).arguments
        down = ["ResnetDownsampleBlock2D"] * 4 + ["AttnDownBlock2D", "ResnetDownsampleBlock2D"]
        assert arguments["down_block_types"] == down
        assert arguments["block_out_channels"] == [32, 32, 64, 64, 128, 128]
        assert (arguments["in_channels"], arguments["out_channels"]) == (1, 1)
        assert json.loads(json.dumps(arguments)) == arguments

    def test_trained_by_the_published_schedule_unless_told(self, original_weights, tmp_path):
        path = save(tmp_path, original_weights("adm.legacy"))
        published = read_checkpoint(path, "adm", num_head_channels=16).parametrisation
        assert published["kind"] == "vp"
        assert published["prediction"] == "epsilon"
        assert len(published["betas"]) == 1000
        assert published["betas"][0] == pytest.approx(1e-4)
        assert published["betas"][-1] == pytest.approx(0.02)
        scheduler = {**LINEAR, "num_train_timesteps": 10, "prediction_type": "sample"}
        other = read_checkpoint(path, "adm", num_head_channels=16, scheduler=scheduler).parametrisation
        assert (other["prediction"], len(other["betas"])) == ("sample", 10)

    def test_half_precision_is_read_as_single(self, original_weights, tmp_path):
        half = {f"module.{key}": value.half() for key, value in original_weights("adm.legacy").items()}
        state = read_checkpoint(save(tmp_path, {"state_dict": half}), "adm", num_head_channels=16).state
        assert {value.dtype for value in state.values()} == {torch.float32}

    def test_an_average_without_names(self, original_weights, tmp_path):
        """D3IP's: the list alone; the layout names its entries."""
        weights = original_weights("adm.aapm256")
        plain = read_checkpoint(save(tmp_path, weights), "adm", num_head_channels=32)
        average = save(tmp_path, {"decay": 0.999, "num_updates": 7, "shadow_params": list(weights.values())})
        layout = {"channels": [32, 32, 64, 64, 128, 128]}
        named = read_checkpoint(average, "adm", num_head_channels=32, layout=layout)
        assert named.arguments == plain.arguments
        assert all(torch.equal(named.state[key], value) for key, value in plain.state.items())
        with pytest.raises(ValueError, match=r"has \d+ tensors, expected \d+, .* say which layers"):
            read_checkpoint(average, "adm", layout={"layers": 2})
        with pytest.raises(ValueError, match="layout has other keys"):
            read_checkpoint(average, "adm", layout={"levels": 2})

    def test_missing_and_unknown_weights_are_listed(self, original_weights, tmp_path):
        weights = original_weights("adm.legacy")
        for key in [key for key in weights if key.startswith("input_blocks.")]:
            weights["renamed." + key] = weights.pop(key)
        with pytest.raises(
            ValueError, match=r"missing: input_blocks.* \(\d+ in all\); unknown: renamed.* \(\d+ in all"
        ):
            read_checkpoint(save(tmp_path, weights), "adm")

    def test_heads_that_do_not_fit(self, original_weights, tmp_path):
        path = save(tmp_path, original_weights("adm.legacy"))
        with pytest.raises(ValueError, match=r"attention has \[64\] channels, which heads of 48 do not divide"):
            read_checkpoint(path, "adm", num_head_channels=48)
        path = save(tmp_path, original_weights("adm.aapm256"))
        assert read_checkpoint(path, "adm", num_heads=2).arguments["attention_head_dim"] == 64

    def test_classes_are_refused(self, original_weights, tmp_path):
        weights = original_weights("adm.legacy") | {"label_emb.weight": torch.zeros(10, 128)}
        with pytest.raises(ValueError, match="conditioned on classes"):
            read_checkpoint(save(tmp_path, weights), "adm")


class TestNCSNpp:
    def checkpoint(self, original_weights, golden):
        """As score_sde saves it: other weights in the model than in the average, names of DataParallel."""
        layout, _ = golden("ncsnpp.published")
        averaged, last = original_weights("ncsnpp.published", seed=1), original_weights("ncsnpp.published", seed=2)
        last["all_modules.0.W"] = averaged["all_modules.0.W"]
        model = {"sigmas": 50 * (0.02 / 50) ** torch.linspace(0, 1, 100, dtype=torch.float64), **last}
        assert list(model) == list(layout)
        return {
            "optimizer": {"state": {}, "param_groups": [{"lr": 2e-4, "params": [0, 1]}]},
            "model": {f"module.{key}": value for key, value in model.items()},
            "ema": {
                "decay": 0.999,
                "num_updates": 11,
                # The Fourier frequencies have no gradient, hence no average.
                "shadow_params": [value for key, value in averaged.items() if key != "all_modules.0.W"],
            },
            "step": 12,
        }

    def test_the_average_is_used(self, original_weights, golden, tmp_path):
        expected = read_checkpoint(save(tmp_path, original_weights("ncsnpp.published")), "ncsnpp", image_size=32)
        content = self.checkpoint(original_weights, golden)
        got = read_checkpoint(save(tmp_path, content), "ncsnpp", image_size=32)
        assert list(got.state) == list(expected.state)
        assert all(torch.equal(got.state[key], value) for key, value in expected.state.items())
        # Later versions of the average carry frozen parameters along.
        content["ema"]["shadow_params"].insert(0, content["model"]["module.all_modules.0.W"])
        got = read_checkpoint(save(tmp_path, content), "ncsnpp", image_size=32)
        assert all(torch.equal(got.state[key], value) for key, value in expected.state.items())

    def test_an_average_that_does_not_fit(self, original_weights, golden, tmp_path):
        content = self.checkpoint(original_weights, golden)
        shadow = content["ema"]["shadow_params"]
        shadow[0], shadow[1] = shadow[1], shadow[0]
        with pytest.raises(ValueError, match=r"another order than the model: shapes differ at all_modules\.1\.weight"):
            read_checkpoint(save(tmp_path, content), "ncsnpp")
        del shadow[0]
        with pytest.raises(ValueError, match=r"has \d+ tensors, expected \d+"):
            read_checkpoint(save(tmp_path, content), "ncsnpp")
        content["ema"] = {"params": shadow}
        with pytest.raises(ValueError, match=r"with an ema of params\)"):
            read_checkpoint(save(tmp_path, content), "ncsnpp")

    def test_the_configuration_is_recognised(self, original_weights, golden, tmp_path):
        path = save(tmp_path, self.checkpoint(original_weights, golden))
        checkpoint = read_checkpoint(path, "ncsnpp", image_size=32)
        found = {key: checkpoint.arguments[key] for key in ("nf", "ch_mult", "num_res_blocks", "attn_resolutions")}
        assert found == {"nf": 8, "ch_mult": [1, 2, 2, 2], "num_res_blocks": 1, "attn_resolutions": [16]}
        assert checkpoint.parametrisation == {"kind": "ve", "sigma_min": 0.02, "sigma_max": 50.0}
        assert json.loads(json.dumps(checkpoint.arguments)) == checkpoint.arguments

    def test_missing_and_unknown_weights_are_listed(self, original_weights, tmp_path):
        weights = original_weights("ncsnpp.published")
        del weights["all_modules.4.Conv_0.bias"]
        weights["all_modules.99.bias"] = torch.zeros(1)
        with pytest.raises(ValueError, match="check the family"):
            read_checkpoint(save(tmp_path, weights), "ncsnpp")
        del weights["all_modules.99.bias"]
        weights["extra.bias"] = torch.zeros(1)
        with pytest.raises(ValueError, match=r"missing: all_modules\.4\.Conv_0\.bias; unknown: extra\.bias"):
            read_checkpoint(save(tmp_path, weights), "ncsnpp")

    def test_arguments_that_the_weights_contradict(self, original_weights, tmp_path):
        path = save(tmp_path, original_weights("ncsnpp.published"))
        with pytest.raises(ValueError, match="missing: all_modules"):
            read_checkpoint(path, "ncsnpp", num_res_blocks=2)
        with pytest.raises(ValueError, match=r"other shapes: .* expected"):
            read_checkpoint(path, "ncsnpp", num_channels=2)
        with pytest.raises(ValueError, match="not one of NCSNpp"):
            read_checkpoint(path, "ncsnpp", width=8)
        with pytest.raises(ValueError, match="resblock_type is 'ddpm'"):
            read_checkpoint(path, "ncsnpp", resblock_type="ddpm")


@pytest.fixture(scope="module")
def network():
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    return UNet2DModel(**UNET).eval()


class TestDiffusers:
    def same(self, checkpoint, network, channels=1):
        x = torch.randn(1, 1, 16, 24, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            got, expected = (net(x, torch.tensor([300])).sample for net in (checkpoint.build(), network))
        return torch.equal(got, expected[:, :channels])

    def test_a_pipeline(self, network, tmp_path):
        from diffusers import DDIMScheduler

        network.save_pretrained(tmp_path / "unet")
        DDIMScheduler(num_train_timesteps=200).save_pretrained(tmp_path / "scheduler")
        (tmp_path / "model_index.json").write_text('{"_class_name": "DDIMPipeline"}')
        checkpoint = read_checkpoint(tmp_path, "diffusers")
        assert self.same(checkpoint, network)
        assert len(checkpoint.parametrisation["betas"]) == 200
        assert json.loads(json.dumps(checkpoint.arguments)) == checkpoint.arguments
        # Its network's folder finds the scheduler, too.
        assert read_checkpoint(tmp_path / "unet", "diffusers").parametrisation == checkpoint.parametrisation

    def test_a_network_alone_needs_its_schedule(self, network, tmp_path):
        network.save_pretrained(tmp_path, safe_serialization=False)
        with pytest.raises(ValueError, match=r"no scheduler_config\.json; say how"):
            read_checkpoint(tmp_path, "diffusers")
        assert self.same(read_checkpoint(tmp_path, "diffusers", scheduler=LINEAR), network)

    @pytest.mark.parametrize(
        "scheduler",
        [
            {"beta_schedule": "linear", "beta_start": 1e-3, "beta_end": 0.01},
            {"beta_schedule": "scaled_linear", "prediction_type": "v_prediction"},
            {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample"},
            {"trained_betas": [0.1, 0.2, 0.3]},
        ],
    )
    def test_betas_are_those_of_the_scheduler(self, network, scheduler, tmp_path):
        from diffusers import DDPMScheduler

        original = DDPMScheduler(**scheduler)
        network.save_pretrained(tmp_path)
        original.save_pretrained(tmp_path)
        parametrisation = read_checkpoint(tmp_path, "diffusers").parametrisation
        torch.testing.assert_close(torch.tensor(parametrisation["betas"]), original.betas, rtol=1e-4, atol=1e-7)
        assert parametrisation["prediction"] == scheduler.get("prediction_type", "epsilon")

    @pytest.mark.parametrize(
        ("scheduler", "message"),
        [
            ({"beta_schedule": "sigmoid"}, "beta_schedule 'sigmoid', expected"),
            ({"prediction_type": "flow"}, "prediction_type 'flow'"),
            ({"rescale_betas_zero_snr": True}, "no signal"),
            ({"_class_name": "ScoreSdeVeScheduler", "sigma_max": 1348.0}, "ScoreSdeVeScheduler has no betas"),
            ({"trained_betas": [0.1, 1.0]}, r"outside \(0, 1\)"),
        ],
    )
    def test_other_schedules_are_refused(self, network, scheduler, message, tmp_path):
        network.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=message):
            read_checkpoint(tmp_path, "diffusers", scheduler=scheduler)

    def test_attention_under_its_old_names(self, network, tmp_path):
        network.save_pretrained(tmp_path)
        old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
        state = {}
        for key, value in network.state_dict().items():
            for new, name in old.items():
                key = key.replace(f".{new}.", f".{name}.") if ".attentions." in key else key
            state[key] = value
        (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
        torch.save(state, tmp_path / "diffusion_pytorch_model.bin")
        assert self.same(read_checkpoint(tmp_path, "diffusers", scheduler=LINEAR), network)

    def test_the_learned_variance_is_dropped(self, tmp_path):
        from diffusers import UNet2DModel

        network = UNet2DModel(**UNET | {"out_channels": 2}).eval()
        network.save_pretrained(tmp_path)
        checkpoint = read_checkpoint(tmp_path, "diffusers", scheduler=LINEAR)
        assert checkpoint.arguments["out_channels"] == 1
        assert self.same(checkpoint, network)

    def test_other_networks_are_refused(self, network, tmp_path):
        network.save_pretrained(tmp_path)
        path = tmp_path / "config.json"
        config = json.loads(path.read_text())
        for change, message in (
            ({"_class_name": "UNet2DConditionModel"}, "holds a UNet2DConditionModel"),
            ({"num_class_embeds": 10}, "conditioned on classes"),
            ({"cross_attention_dim": 10}, "has cross_attention_dim, which"),
            ({"in_channels": 3}, "3 input and 1 output channels"),
            ({"layers_per_block": 2}, r"missing: .* \(\d+ in all\)"),
        ):
            path.write_text(json.dumps(config | change))
            with pytest.raises(ValueError, match=message):
                read_checkpoint(tmp_path, "diffusers", scheduler=LINEAR)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
            read_checkpoint(tmp_path, "diffusers", scheduler=LINEAR)


class TestImport:
    def test_a_diffusers_folder_becomes_a_prior_of_the_same_answers(self, tmp_path):
        from diffusers import DDIMScheduler

        from scoreinv import load_prior
        from scoreinv.priors import IntensityMap
        from scoreinv.priors.architectures import build_network
        from scoreinv.priors.checkpoints import import_checkpoint

        torch.manual_seed(0)
        network = build_network(UNET).half().float()  # as half precision keeps it
        network.save_pretrained(tmp_path / "theirs" / "unet")
        DDIMScheduler(**LINEAR).save_pretrained(tmp_path / "theirs" / "scheduler")
        import_checkpoint(
            tmp_path / "theirs", "diffusers", tmp_path / "ours", intensity=IntensityMap(0.02, 0.02, "1/mm"), air=-1.0
        )
        prior = load_prior(tmp_path / "ours")
        prior.precision = "fp32"
        assert (prior.name, prior.intensity.unit, prior.air, prior.multiple) == ("ours", "1/mm", -1.0, 2)
        z = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0))
        scheduler = DDIMScheduler(**LINEAR)
        t = 300
        sigma = float((1 / scheduler.alphas_cumprod[t].double() - 1).sqrt())
        with torch.no_grad():
            expected = z - sigma * network((z / (1 + sigma**2) ** 0.5)[:, None], t).sample[:, 0]
        torch.testing.assert_close(prior.denoise(z, sigma), expected, rtol=1e-4, atol=1e-4)
