"""Folders that diffusers saved: a `UNet2DModel`, alone or in a pipeline with its scheduler (`unet/`, `scheduler/`)."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoreinv._torchvision import declare_missing_operators
from scoreinv.priors.checkpoints.files import Checkpoint, checked, load_file
from scoreinv.priors.vp import cosine_betas, linear_betas, scaled_linear_betas

_PREDICTIONS = ("epsilon", "sample", "v_prediction")
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
# Attention layers saved before diffusers 0.17.
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def read_diffusers(path: Path, *, scheduler: Mapping[str, Any] | None = None) -> Checkpoint:
    """A `UNet2DModel` from the folder it was saved to.

    Args:
        path: folder of the model, or of a DDPM or DDIM pipeline.
        scheduler: configuration of the scheduler it was trained with, if the folder has none (see `vp`).
    """
    folder = path / "unet" if (path / "unet").is_dir() else path
    arguments = _arguments(_read_json(folder / "config.json"), folder)
    weights = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise FileNotFoundError(
            f"read_checkpoint: {folder} has no {' or '.join(_WEIGHTS)}; save the network in one file, without a variant"
        )
    if scheduler is None:
        places = (folder, folder / "scheduler", folder.parent / "scheduler")
        files = [place / "scheduler_config.json" for place in places]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            raise ValueError(
                f"read_checkpoint: {path} has no scheduler_config.json; say how the network was trained: "
                "scheduler={'beta_schedule': 'linear', 'beta_start': 0.0001, 'beta_end': 0.02, "
                "'num_train_timesteps': 1000, 'prediction_type': 'epsilon'}"
            )
        scheduler = _read_json(file)
    state = {_modern(key): value.float() for key, value in load_file(weights).items()}
    arguments["out_channels"] = keep_mean(state, arguments.get("in_channels", 3), path)
    return checked(Checkpoint("unet2d", arguments, state, vp(scheduler)), path)


def keep_mean(state: dict[str, Tensor], channels: int, path: Path) -> int:
    """Drop the second half of the outputs of a network that learned its variance as well; returns what is left.

    Nichol & Dhariwal 2021 ("Improved denoising diffusion probabilistic models"): the first half is the mean.
    """
    outputs = len(state.get("conv_out.weight", torch.empty(channels)))
    if outputs not in (channels, 2 * channels):
        raise ValueError(
            f"read_checkpoint: {path} has {channels} input and {outputs} output channels, expected as many or twice as "
            "many outputs; networks that see more than the noisy image are not priors"
        )
    for key in ("conv_out.weight", "conv_out.bias"):
        if key in state:
            state[key] = state[key][:channels].clone()
    return channels


def vp(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """The parametrisation {"kind": "vp", "prediction": ..., "betas": [...]} from a scheduler's configuration.

    Args:
        scheduler: `beta_schedule` ("linear", "scaled_linear" or "squaredcos_cap_v2"), `beta_start`, `beta_end`,
            `num_train_timesteps`, or `trained_betas`; and `prediction_type`. What is absent has DDPM's values:
            linear, 1e-4 to 0.02, 1000 steps, "epsilon".

    Raises:
        ValueError: for other schedules or predictions.
    """
    if not isinstance(scheduler, Mapping):
        raise ValueError(
            f"read_checkpoint: scheduler is {scheduler!r}, expected its values such as {{'beta_schedule': 'linear'}}; "
            "--set 'scheduler={beta_schedule: linear, prediction_type: epsilon}'"
        )
    name = str(scheduler.get("_class_name", "the scheduler"))
    if "_class_name" in scheduler and not {"beta_schedule", "trained_betas"} & set(scheduler):
        raise ValueError(f"read_checkpoint: {name} has no betas; expected the scheduler of a VP network (DDPM or DDIM)")
    if scheduler.get("rescale_betas_zero_snr"):
        raise ValueError(f"read_checkpoint: {name} has rescale_betas_zero_snr, whose last step has no signal; refused")
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in _PREDICTIONS:
        raise ValueError(f"read_checkpoint: {name} has prediction_type {prediction!r}, expected one of {_PREDICTIONS}")
    betas = [float(beta) for beta in _betas(scheduler, name)]
    if not betas or not all(0 < beta < 1 for beta in betas):
        raise ValueError(f"read_checkpoint: {name} has betas outside (0, 1); check beta_start and beta_end")
    return {"kind": "vp", "prediction": prediction, "betas": betas}


def _betas(scheduler: Mapping[str, Any], name: str) -> list[float]:
    if scheduler.get("trained_betas") is not None:
        return list(scheduler["trained_betas"])
    schedule = scheduler.get("beta_schedule", "linear")
    start, end = float(scheduler.get("beta_start", 1e-4)), float(scheduler.get("beta_end", 0.02))
    steps = int(scheduler.get("num_train_timesteps", 1000))
    if schedule == "linear":
        return linear_betas(start, end, steps).tolist()
    if schedule == "scaled_linear":
        return scaled_linear_betas(start, end, steps).tolist()
    if schedule == "squaredcos_cap_v2":
        return cosine_betas(steps).tolist()
    raise ValueError(
        f"read_checkpoint: {name} has beta_schedule {schedule!r}, expected 'linear', 'scaled_linear' or "
        "'squaredcos_cap_v2'; or give the list as scheduler={'trained_betas': [...]}"
    )


def _arguments(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    declare_missing_operators()
    from diffusers import UNet2DModel

    name = config.get("_class_name", "UNet2DModel")
    if name != "UNet2DModel":
        raise ValueError(f"read_checkpoint: {folder} holds a {name}, expected a UNet2DModel")
    arguments = {key: value for key, value in config.items() if not key.startswith("_")}
    unknown = sorted(set(arguments) - set(inspect.signature(UNet2DModel.__init__).parameters))
    if unknown:
        raise ValueError(
            f"read_checkpoint: {folder}/config.json has {', '.join(unknown)}, which this UNet2DModel does not know; "
            " install the version that saved it, or remove what is not needed"
        )
    if arguments.get("class_embed_type") or arguments.get("num_class_embeds"):
        raise ValueError(f"read_checkpoint: {folder} is conditioned on classes; expected an unconditional network")
    return arguments


def _modern(key: str) -> str:
    return re.sub(
        r"(attentions\.\d+\.)(query|key|value|proj_attn)(?=\.)", lambda match: match[1] + _OLD_NAMES[match[2]], key
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"read_checkpoint: {path} is missing; expected the folder of a UNet2DModel or a pipeline"
        )
    try:
        content = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"read_checkpoint: {path} is not JSON ({error}); copy it again") from None
    if not isinstance(content, dict):
        raise ValueError(f"read_checkpoint: {path} is not a JSON object; copy it again")
    return content
