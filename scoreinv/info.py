"""What is installed and at hand."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

PACKAGES = (
    "torch",
    "diffusers",
    "accelerate",
    "numpy",
    "numba",
    "numba-cuda",
    "finufft",
    "torchkbnufft",
    "deepinv",
    "parallelproj",
    "itk-rtk",
    "tigre",
)


def describe() -> str:
    """Versions, devices, methods and bundled priors, a line each."""
    from scoreinv._version import __version__
    from scoreinv.baselines import __all__ as baselines
    from scoreinv.baselines.networks import bundled_networks
    from scoreinv.priors import bundled_priors, load_prior
    from scoreinv.samplers import METHODS

    lines = [f"scoreinv {__version__}, Python {platform.python_version()}, {platform.machine()}"]
    lines += [f"  {name:14}{_version(name)}" for name in PACKAGES]
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    lines.append(f"devices: cpu ({torch.get_num_threads()} threads)" + "".join(f", cuda ({name})" for name in gpus))
    lines.append(f"methods: {', '.join(METHODS)}; to compare with: {', '.join(baselines)}")
    lines.append(f"learned: {', '.join(bundled_networks()) or 'none bundled'}")
    lines.append("priors:")
    for name in bundled_priors():
        prior = load_prior(name)
        sizes = "" if prior.voxel_size is None else ", voxels of {:g} to {:g} mm".format(*prior.voxel_size)
        lines.append(f"  {name:14}{prior.ndim}D, images in {prior.intensity.unit or 'the unit of the data'}{sizes}")
    return "\n".join(lines)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
