"""A GPU that is not there, played by the CPU: its tensors are the CPU's, and say that they are elsewhere.

Devices that are mixed fail as they do on a GPU, and nothing leaves it unasked. What kernels compute is not its
business: line integrals are the CPU's own, and `simulated_gpu` is for kernels. Gradients of its tensors are left out,
for which torch wants a real device. A line of C++ stands for the driver; where no compiler is, nothing can be
simulated. The process is not to be used for anything else.
"""

import ctypes
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import torch
from simulated_streams import Streams
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from scoreinv.operators.line_transform import EventTransform, LineTransform
from scoreinv.operators.rays import RayTransform

COMPILER = shutil.which("g++")
CUDA = torch.device("cuda", 0)
DRIVER = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
using namespace c10;
static impl::DeviceGuardImplRegistrar driver(DeviceType::CUDA, new impl::NoOpDeviceGuardImpl<DeviceType::CUDA>());
"""
TRANSFERS = ("aten::copy_", "aten::_to_copy")
ANSWERS = ("aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero")
INDEXED = ("aten::index", "aten::index_put_", "aten::_index_put_impl_")  # by indices of the CPU as well


class There(torch.Tensor):
    """A tensor on the GPU."""

    @staticmethod
    def __new__(cls, held):
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, held.shape, device=CUDA, **layout)

    def __init__(self, held):
        self.held = held

    def __repr__(self):
        return f"There({self.held})"

    def tolist(self):
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _compute(func, args, kwargs or {})


class _Devices(TorchDispatchMode):
    """Makes the tensors that are asked for on the GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _compute(func, args, kwargs or {})


def _compute(func, args, kwargs):
    """On the CPU, once it is clear that a GPU could."""
    name = func.name().partition(".")[0]
    tensors = [x for x in tree_iter((args, kwargs)) if isinstance(x, torch.Tensor)]
    there = [isinstance(x, There) for x in tensors]
    asked = kwargs.get("device")
    if name not in (*TRANSFERS, *INDEXED) and any(there):
        strangers = [x for x, on_gpu in zip(tensors, there, strict=True) if not on_gpu and x.ndim]
        if strangers:
            raise RuntimeError(f"{name}: tensors on cuda:0 and, {[tuple(x.shape) for x in strangers]}, on cpu")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    if name == "aten::copy_":
        return args[0]
    on_gpu = any(there) if asked is None else torch.device(asked).type == "cuda"
    if name in ANSWERS or not on_gpu:
        return result
    # What a function writes to is what it gives back.
    known = {id(x.held): x for x, on_gpu in zip(tensors, there, strict=True) if on_gpu}
    return tree_map(lambda x: known[id(x)] if id(x) in known else _wrapped(x), result)


def _held(x):
    return x.held if isinstance(x, There) else x


def _wrapped(x):
    return There(x.resolve_conj().resolve_neg()) if isinstance(x, torch.Tensor) else x


@contextmanager
def simulated_cuda(monkeypatch, folder: Path):
    """Inside, `cuda` is a device of torch's, and line integrals of its tensors are computed by the CPU's kernels."""
    _load_driver(folder)
    to, tensor, as_tensor = torch.Tensor.to, torch.tensor, torch.as_tensor

    def moved(x, *args, **kwargs):
        return to(x, *map(_indexed, args), **{key: _indexed(value) for key, value in kwargs.items()})

    def made(data, *args, device=None, **kwargs):
        return moved(tensor(data, *args, **kwargs), device or "cpu")

    def made_as(data, dtype=None, device=None):
        x = as_tensor(data, dtype=dtype)
        return x if device is None else moved(x, device)

    monkeypatch.setattr(torch.Tensor, "to", moved)
    monkeypatch.setattr(torch, "tensor", made)
    monkeypatch.setattr(torch, "as_tensor", made_as)
    monkeypatch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
    answers = {"is_available": True, "device_count": 1, "current_device": 0, "get_device_capability": (7, 0)}
    answers |= {"_lazy_init": None}
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *args, answer=answer: answer)
    monkeypatch.setattr("scoreinv.operators._devices._has_compiler", lambda: True)
    for transform in (RayTransform, LineTransform, EventTransform):
        for name in ("_apply", "_adjoint"):
            monkeypatch.setattr(transform, name, _here(getattr(transform, name)))
    Streams(monkeypatch)
    with _Devices():
        yield


def _indexed(value):
    """The device with its number, without which torch would ask the driver."""
    named = isinstance(value, str | torch.device) and torch.device(value).type == "cuda"
    return CUDA if named else value


def _here(compute):
    def computed(transform, x):
        return There(compute(transform, x.held).contiguous()) if isinstance(x, There) else compute(transform, x)

    return computed


def _load_driver(folder: Path) -> None:
    root = Path(torch.__file__).parent
    (folder / "driver.cpp").write_text(DRIVER)
    command = [COMPILER, "-std=c++20", "-shared", "-fPIC", f"-I{root}/include", "driver.cpp", "-o", "driver.so"]
    subprocess.run([*command, f"-L{root}/lib", "-lc10"], cwd=folder, check=True)
    ctypes.CDLL(str(folder / "driver.so"))
