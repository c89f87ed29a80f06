"""What stands for TIGRE, which needs a GPU: its modules by name, with our rays for its own."""

import sys
from types import ModuleType

import torch

from scoreinv.interop import from_tigre
from scoreinv.operators import ConeBeamCT


def install(monkeypatch, gpus=("a GPU",)):
    """The module `tigre` from now on, and a list of the calls that reach it."""
    calls = []

    def operator(geo, angles):
        return ConeBeamCT(*from_tigre(geo, angles), backend="numba")

    def Ax(image, geo, angles, projection_type="Siddon"):
        assert image.dtype == "float32"
        calls.append(("Ax", projection_type))
        return operator(geo, angles).forward(torch.from_numpy(image)).numpy()

    def algorithm(name):
        def run(projections, geo, angles, *arguments, **options):
            assert projections.dtype == "float32"
            calls.append((name, *arguments, options))
            return operator(geo, angles).adjoint(torch.from_numpy(projections)).numpy()

        return run

    modules = {
        name: ModuleType(name) for name in ("tigre", "tigre.algorithms", "tigre.utilities", "tigre.utilities.gpu")
    }
    modules["tigre"].Ax = Ax
    modules["tigre"].algorithms = modules["tigre.algorithms"]
    modules["tigre.utilities.gpu"].getGpuNames = lambda: list(gpus)
    for name in ("fdk", "ossart", "os_asd_pocs"):
        setattr(modules["tigre.algorithms"], name, algorithm(name))
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return calls
