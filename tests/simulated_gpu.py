"""Kernels for a GPU under test: on one where there is one, otherwise in numba's simulator, at tiny sizes.

The simulator must be chosen before numba is imported; so a file of such tests runs itself once more, in a process of
its own. There the GPU's memory is the CPU's, and operators are told that their data are on a GPU. What it lets pass and
a real compiler does not is found by compiling for a GPU, which needs none.
"""

import importlib.util
import operator
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
DEVICE = "cpu" if SIMULATED else "cuda"
HAS_COMPILER = importlib.util.find_spec("numba_cuda") is not None
AT_HAND = SIMULATED or (torch.cuda.is_available() and HAS_COMPILER)
needs_gpu = pytest.mark.skipif(not AT_HAND, reason="needs a GPU and numba-cuda, or numba's simulator")
needs_compiler = pytest.mark.skipif(SIMULATED or not HAS_COMPILER, reason="needs numba-cuda")
starts_simulator = pytest.mark.skipif(SIMULATED, reason="runs in the simulator")
AMPERE = (8, 0)


class OnGPU:
    """A transform whose kernels are the GPU's, and whose arguments and results are on the CPU."""

    def __init__(self, transform):
        self.transform = transform

    def __call__(self, x):
        return self.there(self.transform, x)

    def adjoint(self, y):
        return self.there(self.transform.adjoint, y)

    @staticmethod
    def there(function, tensor):
        """Of a tensor on the GPU."""
        with pytest.MonkeyPatch.context() as patch:
            if SIMULATED:
                from numba.cuda import libdevice

                patch.setattr(libdevice, "dmul_rn", operator.mul)  # which the simulator lacks
                for user in ("rays", "line_transform"):
                    patch.setattr(f"scoreinv.operators.{user}.on_gpu", lambda name, device: True)
            result = function(tensor.to(DEVICE))
        assert result.device.type == DEVICE
        return result.cpu()


def run_in_simulator(file):
    """Run a file of tests in a process where numba simulates the GPU."""
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def compiled(kernel, *arguments):
    """The code of a kernel for a GPU, none of which need be there."""
    from numba import cuda, types

    with pytest.MonkeyPatch.context() as patch:
        present = SimpleNamespace(compute_capability=AMPERE)
        patch.setattr("numba.cuda.dispatcher.get_current_device", lambda: present)
        return cuda.compile_ptx(kernel.py_func, types.void(*arguments), cc=AMPERE)[0]


def assert_same(got, wanted):
    """Equal to the rounding of float32."""
    torch.testing.assert_close(got, wanted, rtol=1e-6, atol=2e-6 * float(wanted.abs().max()))
