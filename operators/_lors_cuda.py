# mypy: allow-untyped-defs
"""Joseph's line integrals on an NVIDIA GPU for the lines of PET: the kernels of `_lors` for tensors that live there.

A thread takes one line through the whole image, by `_lors.line_across` and `_lors.tof_window`, the very functions of
the CPU. Neighbouring threads have lines of one (radial, view) and neighbouring planes: images are laid out (y, x, z),
so that they read neighbouring voxels. Nothing is stored per line.

With time of flight a step adds its part to each bin within reach, in the memory of the data, where no other line adds.
In the adjoint lines that cross the same voxel collide, and each step adds to its four voxels with atomic operations: as
in `_joseph_cuda`, the last bits of a back-projection differ from run to run.
"""

import math
from typing import Any

import numpy as np
from numba import cuda
from torch import Tensor

from scoreinv.operators import _lors
from scoreinv.operators._cuda import array, give, launch, take

_f32 = np.float32
_device = cuda.jit(device=True)
_line_across = _device(_lors.line_across.py_func)
_tof_window = _device(_lors.tof_window.py_func)


def sinogram(spread: bool, images: Tensor, data: Tensor, grid: Any, ends: Tensor, z: Tensor, tof: Any) -> None:
    """Add to the data the integrals along all lines, or, to `spread`, all lines to the images.

    Args:
        images: (items, y * x * z) float32.
        data: (items, lines, planes * max(bins, 1)) float32.
        grid: as in `_lors`.
        ends: (2, lines, 2) float64, of both ends in (y, x), mm.
        z: (2, planes) float64, of both ends, mm.
        tof: as in `_lors`, its table a tensor.
    """
    threads = ends.shape[1] * z.shape[1]
    launch(_sinogram, threads, len(data), data.device, spread, *_arguments(images, data, grid, ends, z), *_numbers(tof))


def events(
    spread: bool, images: Tensor, data: Tensor, grid: Any, ends: Tensor, z: Tensor, bin_of: Tensor, tof: Any
) -> None:
    """As `sinogram` along single lines: data (items, lines), z (2, lines), and the bin of each, `bin_of` (lines,)."""
    arguments = (*_arguments(images, data, grid, ends, z), array(bin_of), *_numbers(tof))
    launch(_events, len(bin_of), len(data), data.device, spread, *arguments)


def _arguments(images, data, grid, ends, z):
    return array(images.view(-1)), array(data.view(-1)), len(data), *grid, array(ends), array(z)


def _numbers(tof):
    bins, width, reach, table = tof
    return bins, width, reach, array(table)


@cuda.jit
def _sinogram(spread, images, data, items, shape, size, origin, ends, z, bins, width, reach, table):
    thread = cuda.grid(1)
    lines, planes, kept = ends.shape[1], z.shape[1], max(bins, 1)
    if thread >= lines * planes:
        return
    line, plane = thread // planes, thread % planes
    for item in range(cuda.blockIdx.y, items, cuda.gridDim.y):
        image, at = item * shape[0] * shape[1] * shape[2], (item * lines * planes + thread) * kept
        grid, tof = (shape, size, origin), (bins, width, reach, table)
        _follow(spread, images, image, data, at, grid, (ends[0], ends[1]), line, z[0, plane], z[1, plane], 0, bins, tof)


@cuda.jit
def _events(spread, images, data, items, shape, size, origin, ends, z, bin_of, bins, width, reach, table):
    line = cuda.grid(1)
    lines = ends.shape[1]
    if line >= lines:
        return
    only = bin_of[line]
    for item in range(cuda.blockIdx.y, items, cuda.gridDim.y):
        image, at = item * shape[0] * shape[1] * shape[2], item * lines + line
        grid, tof = (shape, size, origin), (bins, width, reach, table)
        _follow(
            spread, images, image, data, at, grid, (ends[0], ends[1]), line, z[0, line], z[1, line], only, only + 1, tof
        )


@_device
def _follow(spread, images, image, data, at, grid, ends, line, z0, z1, begin, end, tof):
    """Take one line through the image that starts at `image`; its bins [begin, end) are the data from `at` on."""
    shape, size, origin = grid
    bins, width, reach, table = tof
    k, k0, per_slice, a0, da, low, high, enter, leave, across = _line_across(grid, ends, line)
    rise = (z1 - z0) / size[0]
    whole_length = math.sqrt(across**2 + (z1 - z0) ** 2)
    length = _f32(whole_length * abs(per_slice))
    sk, sa = (shape[2] * shape[0], shape[0]) if k == 1 else (shape[0], shape[2] * shape[0])
    alone = data[at] if spread and bins == 0 else _f32(0)
    total = _f32(0)
    for n in range(enter, leave):
        part = _f32(min(high, n + 0.5) - max(low, n - 0.5)) * length
        if part <= 0:
            continue
        s = (n - k0) * per_slice
        ca, cb = a0 + n * da, (z0 - origin[0]) / size[0] + s * rise
        ia, ib = int(math.floor(ca)), int(math.floor(cb))
        fa, fb = _f32(ca - ia), _f32(cb - ib)
        near_a, far_a = 0 <= ia < shape[3 - k], 0 <= ia + 1 < shape[3 - k]
        near_b, far_b = 0 <= ib < shape[0], 0 <= ib + 1 < shape[0]
        if not ((near_a or far_a) and (near_b or far_b)):
            continue
        p = image + n * sk + ia * sa + ib
        value = _f32(0)
        if not spread:
            near, next_a = take(images, p, near_a and near_b), take(images, p + sa, far_a and near_b)
            far, next_b = take(images, p + 1, near_a and far_b), take(images, p + sa + 1, far_a and far_b)
            near += fa * (next_a - near)
            far += fa * (next_b - far)
            value = part * (near + fb * (far - near))
        given = alone
        if bins == 0:
            total += value
        else:
            row, f, offset, first, last = _tof_window((s - 0.5) * whole_length, bins, width, reach, table)
            whole = _f32(0)
            for t in range(first, last):
                whole += _weight(table, row, f, t + offset)
            for t in range(max(first, begin), min(last, end)):
                weight = _weight(table, row, f, t + offset) / whole
                if spread:
                    given += weight * data[at + t - begin]
                else:
                    data[at + t - begin] += weight * value
        if spread:
            far = part * given * fb
            near = part * given - far
            give(images, p, near_a and near_b, near - near * fa)
            give(images, p + sa, far_a and near_b, near * fa)
            give(images, p + 1, near_a and far_b, far - far * fa)
            give(images, p + sa + 1, far_a and far_b, far * fa)
    if bins == 0 and not spread:
        data[at] = total


@_device
def _weight(table, row, f, j):
    """Of a time-of-flight bin, not yet divided by the sum of those within reach."""
    return table[row, j] + f * (table[row + 1, j] - table[row, j])
