# mypy: allow-untyped-defs
"""Joseph's line integrals on an NVIDIA GPU: the kernels of `_joseph` for tensors that live there.

A thread takes one ray through the whole image: along its driving axis by `_joseph.line` and `_joseph.clip`, the very
functions of the CPU, then slice by slice. Nothing is stored per ray and nothing is copied to the host: the adjoint
needs no memory beyond its output.

* Both directions are one kernel, `_march`, so that their weights cannot differ.
* Positions are computed in double precision, as on the CPU, so that a step has the same cell and the same weights. End
  points are multiplied without the fused multiply-add that the compiler would choose: where two axes tie to the last
  bit, as for all parallel rays at 45 degrees, the driving axis is that of the CPU.
* In the adjoint rays that cross the same voxel collide. Each step adds to its four voxels with atomic operations, one
  for each voxel that the forward direction reads, and the order of these sums is not fixed: the last bits of a
  back-projection differ from run to run, unlike on the CPU.
"""

import math
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda import libdevice
from torch import Tensor

from scoreinv.operators import _joseph
from scoreinv.operators._cuda import array, give, launch, take

_f32 = np.float32
_device = cuda.jit(device=True)
_line = _device(_joseph.line.py_func)
_clip = _device(_joseph.clip.py_func)


def forward(images: Tensor, data: Tensor, grid: Any, detector: tuple[int, ...], points: Tensor) -> None:
    """Write the integrals along all rays.

    Args:
        images: (items, voxels) float32.
        data: (items, rays) float32.
        grid: as in `_joseph`.
        detector: pixels (v, u) of a view.
        points: (6, views, 3) float64, mm: start, start_v, start_u, end, end_v, end_u as in `geometry.Rays`.
    """
    _launch(False, images, data, grid, detector, points)


def adjoint(images: Tensor, data: Tensor, grid: Any, detector: tuple[int, ...], points: Tensor) -> None:
    """Add all rays to the images. Arrays as in `forward`."""
    _launch(True, images, data, grid, detector, points)


def _launch(spread, images, data, grid, detector, points):
    items, rays = data.shape
    flat = array(images.view(-1)), array(data.view(-1))
    launch(_march, rays, items, data.device, spread, *flat, items, *grid, detector, array(points))


@cuda.jit
def _march(spread, images, data, items, shape, size, origin, detector, points):
    """Take each ray through the image: collect from it, or spread into it. Images and data are flat."""
    ray = cuda.grid(1)
    pixels = detector[0] * detector[1]
    rays, voxels = points.shape[1] * pixels, shape[0] * shape[1] * shape[2]
    if ray >= rays:
        return
    view, pixel = ray // pixels, ray % pixels
    i, j = pixel // detector[1], pixel % detector[1]
    z0, z1 = _end(0, points, view, i, j, size, origin, 0), _end(3, points, view, i, j, size, origin, 0)
    y0, y1 = _end(0, points, view, i, j, size, origin, 1), _end(3, points, view, i, j, size, origin, 1)
    x0, x1 = _end(0, points, view, i, j, size, origin, 2), _end(3, points, view, i, j, size, origin, 2)
    dz, dy, dx = abs(z1 - z0), abs(y1 - y0), abs(x1 - x0)
    if dz >= dy and dz >= dx:
        k, k0, a0, b0, k1, a1, b1 = 0, z0, y0, x0, z1, y1, x1
    elif dy >= dx:
        k, k0, a0, b0, k1, a1, b1 = 1, y0, x0, z0, y1, x1, z1
    else:
        k, k0, a0, b0, k1, a1, b1 = 2, x0, z0, y0, x1, z1, y1
    a, b = (k + 1) % 3, (k + 2) % 3
    _, a0, da, b0, db, low, high, length, enter, inner, outer, leave = _line(
        shape[k], k < a, k < b, size[k], size[a], size[b], k0, a0, b0, k1, a1, b1
    )
    enter, inner, outer, leave = _clip(shape[a], a0, da, enter, inner, outer, leave)
    enter, inner, outer, leave = _clip(shape[b], b0, db, enter, inner, outer, leave)
    sk, sa, sb = _stride(shape, k), _stride(shape, a), _stride(shape, b)
    for item in range(cuda.blockIdx.y, items, cuda.gridDim.y):
        image = item * voxels
        value = _f32(length) * data[item * rays + ray] if spread else _f32(0)
        total = _f32(0)
        for n in range(int(math.floor(enter)), int(math.ceil(leave))):
            part = _f32(1) if inner <= n <= outer - 1 else _f32(min(high, n + 0.5) - max(low, n - 0.5))
            if part <= 0:
                continue
            ca, cb = a0 + n * da, b0 + n * db
            ia, ib = int(math.floor(ca)), int(math.floor(cb))
            fa, fb = _f32(ca - ia), _f32(cb - ib)
            p = image + n * sk + ia * sa + ib * sb
            near_a, far_a = 0 <= ia < shape[a], 0 <= ia + 1 < shape[a]
            near_b, far_b = 0 <= ib < shape[b], 0 <= ib + 1 < shape[b]
            if spread:
                far = part * value * fb
                near = part * value - far
                give(images, p, near_a and near_b, near - near * fa)
                give(images, p + sa, far_a and near_b, near * fa)
                give(images, p + sb, near_a and far_b, far - far * fa)
                give(images, p + sa + sb, far_a and far_b, far * fa)
            else:
                near, next_a = take(images, p, near_a and near_b), take(images, p + sa, far_a and near_b)
                far, next_b = take(images, p + sb, near_a and far_b), take(images, p + sa + sb, far_a and far_b)
                near += fa * (next_a - near)
                far += fa * (next_b - far)
                total += part * (near + fb * (far - near))
        if not spread:
            data[item * rays + ray] = _f32(length) * total


@_device
def _end(side, points, view, i, j, size, origin, axis):
    """One coordinate of an end point, voxels; `side` is 0 for the start and 3 for the end."""
    along_v = libdevice.dmul_rn(float(i), points[side + 1, view, axis])
    offset = (points[side, view, axis] + along_v - origin[axis]) / size[axis]
    return offset + libdevice.dmul_rn(float(j), points[side + 2, view, axis] / size[axis])


@_device
def _stride(shape, axis):
    """How far on the next voxel along an axis lies."""
    return shape[1] * shape[2] if axis == 0 else (shape[2] if axis == 1 else 1)
