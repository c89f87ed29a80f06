"""Joseph's line integrals in compiled code: the kernels behind `RayTransform`.

Along its driving axis k, the one of its largest step in voxels, a ray is the line a = a0 + n da, b = b0 + n db over the
slices n of k. Its integral is the sum over slices of the image interpolated bilinearly in the plane of (a, b), times the
length of the ray within a slice [Joseph 1982, IEEE TMI 1:192-196]. Positions are in voxels, (0, 0, 0) the middle of the
first; axes k, a, b follow each other cyclically.

How the work is laid out, and why:

* Rays go in blocks of BLOCK. `_trace` writes the lines of a block into one flat table, a row per quantity, each row at a
  constant offset: so the compiler sees that rows do not overlap, and vectorises. At 4 ns a ray this is cheap enough for
  every slab of the adjoint to repeat it, and nothing is stored per ray.
* A ray is clipped once. Outside slices [ENTER, LEAVE) it meets no voxel; in [INNER, OUTER) all four neighbours exist and
  the slice is crossed in full, so that no step is tested. The few steps between are taken by `_edge`, one by one.
* A block advances TILE slices at a time, so that neighbouring rays find the rows they share still in the cache.
* In the adjoint a task owns a slab of slices of the driving axis. A step writes to its own slice alone, so slabs never
  collide: no atomics, no volume per thread. A voxel receives its rays in their order whatever the slabs, hence the same
  bits for any number of threads. Both directions are one function, `_march`, so their weights cannot differ.

The kernels release the GIL and are run by Python threads: numba's OpenMP layer dies in a forked child, and its own pool
must not be entered by two threads at once.
"""

from typing import Any

import numpy as np
from numba import njit

BLOCK = 32  # rays
TILE = 16  # slices; along x a cache line of float32
MARGIN = 1e-6  # voxels that an inner step keeps from the border, far above the rounding of a position

# Offsets of the rows of a block's table: end points, line, segment along k, length within a slice, slices.
K0, A0, B0, K1, A1, B1, DA, DB, LOW, HIGH, LENGTH, ENTER, INNER, OUTER, LEAVE = np.arange(15, dtype=np.uintp) * BLOCK
ROWS = 15

_f32 = np.float32
_at = np.uintp  # an unsigned index is used as it is; a signed one is tested for counting from the end
_jit = njit(nogil=True, cache=True, error_model="numpy")


@_jit
def forward(image, data, grid, rays, axes, begin, end):  # type: ignore[no-untyped-def]
    """Write the integrals of rays [begin, end) into `data`.

    Args:
        image: (voxels,) float32, the flat volume.
        data: (rays,) float32.
        grid: shape, voxel size (mm) and middle of the first voxel (mm), each a tuple (z, y, x).
        rays: shape (views, v, u), then start, start_v, start_u, end, end_v, end_u, each (views, 3) float64, mm.
        axes: tuple of three flags, the driving axes that occur.
    """
    shape = grid[0]
    table, cell, fa, fb = _scratch()
    for block in range(begin, end):
        first, last = _rays_of(block, rays[0])
        data[first:last] = 0
        for k in range(3):
            if axes[k] and _trace(k, grid, rays, first, last, table):
                depth = shape[k] if k == 2 else TILE
                for low in range(0, shape[k], depth):
                    _march(False, image, data, k, shape, low, min(low + depth, shape[k]), first, last, table, cell, fa, fb)


@_jit
def adjoint(image, data, grid, rays, k, low, high):  # type: ignore[no-untyped-def]
    """Add the rays of driving axis k to slices [low, high) of that axis. Arguments as in `forward`."""
    table, cell, fa, fb = _scratch()
    for block in range(blocks(rays[0])):
        first, last = _rays_of(block, rays[0])
        if _trace(k, grid, rays, first, last, table):
            depth = high - low if k == 2 else TILE
            for n in range(low, high, depth):
                _march(True, image, data, k, grid[0], n, min(n + depth, high), first, last, table, cell, fa, fb)


@_jit
def drives(grid, rays, k):  # type: ignore[no-untyped-def]
    """Whether axis k is the driving axis of any ray."""
    table = np.empty(ROWS * BLOCK)
    total = rays[0][0] * rays[0][1] * rays[0][2]
    for first in range(0, total, BLOCK):
        if _trace(k, grid, rays, first, min(first + BLOCK, total), table):
            return True
    return False


@_jit
def blocks(shape):  # type: ignore[no-untyped-def]
    """The number of blocks of rays (views, v, u)."""
    views, rows, columns = shape
    if columns <= BLOCK:
        return -(-views * rows * columns // BLOCK)
    return views * rows * -(-columns // BLOCK)


@_jit
def _rays_of(block, shape):  # type: ignore[no-untyped-def]
    """First and last ray of a block. Blocks go down the rows of a narrow strip of the detector, then to the next strip."""
    views, rows, columns = shape
    if columns <= BLOCK:
        return block * BLOCK, min((block + 1) * BLOCK, views * rows * columns)
    view, rest = divmod(block, rows * -(-columns // BLOCK))
    strip, row = divmod(rest, rows)
    start = (view * rows + row) * columns
    return start + strip * BLOCK, start + min((strip + 1) * BLOCK, columns)


@_jit
def _scratch():  # type: ignore[no-untyped-def]
    """The table of a block; for the steps of a tile: the flat index of the cell, and the place in it along a and b."""
    return np.empty(ROWS * BLOCK), np.empty(TILE, np.int64), np.empty(TILE, _f32), np.empty(TILE, _f32)


@_jit
def _trace(k, grid, rays, first, last, table):  # type: ignore[no-untyped-def]
    """Fill the table with rays [first, last) as seen along axis k; the number of rays that have it as driving axis."""
    shape, size, _ = grid
    a, b = (k + 1) % 3, (k + 2) % 3
    count = last - first
    _ends(k, grid, rays, first, last, table)
    found = _lines(shape[k], k < a, k < b, size[k], size[a], size[b], count, table)
    if found:
        _clip(shape[a], count, A0, DA, table)
        _clip(shape[b], count, B0, DB, table)
    return found


@_jit
def _ends(k, grid, rays, first, last, table):  # type: ignore[no-untyped-def]
    """End points in voxels, coordinates in the order k, a, b."""
    _, size, origin = grid
    (_, rows, columns), start, start_v, start_u, end, end_v, end_u = rays
    for point, (base, base_v, base_u) in enumerate(((start, start_v, start_u), (end, end_v, end_u))):
        for c in range(3):
            axis = (k + c) % 3
            scale = 1 / size[axis]
            out = (3 * point + c) * BLOCK
            if rows * columns == 1:
                for ray in range(first, last):
                    table[_at(out + ray - first)] = (base[ray, axis] - origin[axis]) * scale
                continue
            ray = first
            while ray < last:
                view, pixel = divmod(ray, rows * columns)
                i, j = divmod(pixel, columns)
                run = min(columns - j, last - ray)
                offset = (base[view, axis] + i * base_v[view, axis] - origin[axis]) * scale
                step = base_u[view, axis] * scale
                for m in range(run):
                    table[_at(out + ray - first + m)] = offset + (j + m) * step
                ray += run


@_jit
def _lines(slices, before_a, before_b, size_k, size_a, size_b, count, table):  # type: ignore[no-untyped-def]
    """Turn end points into lines; rays with another driving axis get no slices. Ties go to the earlier axis."""
    found = 0
    for r in range(count):
        q = _at(r)
        k0, k1, a0, b0 = table[K0 + q], table[K1 + q], table[A0 + q], table[B0 + q]
        dk, da, db = k1 - k0, table[A1 + q] - a0, table[B1 + q] - b0
        length = np.sqrt((dk * size_k) ** 2 + (da * size_a) ** 2 + (db * size_b) ** 2)
        over_a = (abs(dk) > abs(da)) | ((abs(dk) == abs(da)) & before_a)
        over_b = (abs(dk) > abs(db)) | ((abs(dk) == abs(db)) & before_b)
        mine = over_a & over_b & (dk != 0)
        per_slice = 1 / dk if mine else 0.0
        da *= per_slice
        db *= per_slice
        low, high = min(k0, k1), max(k0, k1)
        table[A0 + q], table[DA + q] = a0 - k0 * da, da
        table[B0 + q], table[DB + q] = b0 - k0 * db, db
        table[LOW + q], table[HIGH + q] = low, high
        table[LENGTH + q] = length * abs(per_slice)
        # Slice n reaches from n - 1/2 to n + 1/2.
        table[ENTER + q] = max(np.floor(low + 0.5), 0.0) if mine else slices
        table[INNER + q] = max(np.ceil(low + 0.5), 0.0)
        table[OUTER + q] = min(np.floor(high + 0.5), slices)
        table[LEAVE + q] = min(np.ceil(high + 0.5), slices)
        found += mine
    return found


@_jit
def _clip(size, count, position, slope, table):  # type: ignore[no-untyped-def]
    """Narrow the slices to those where the line is near the grid, -1 < a < size, or within it, 0 <= a < size - 1."""
    middle = (size - 1) / 2
    near, within = middle + 1, middle - MARGIN
    for r in range(count):
        q = _at(r)
        d = table[slope + q]
        per_voxel = 1 / (d if abs(d) > 1e-12 else 1e-12)
        center = (middle - table[position + q]) * per_voxel
        per_voxel = abs(per_voxel)
        table[ENTER + q] = max(table[ENTER + q], np.floor(center - near * per_voxel))
        table[INNER + q] = max(table[INNER + q], np.ceil(center - within * per_voxel))
        table[OUTER + q] = min(table[OUTER + q], np.floor(center + within * per_voxel) + 1)
        table[LEAVE + q] = min(table[LEAVE + q], np.ceil(center + near * per_voxel) + 1)


@_jit
def _march(spread, image, data, k, shape, low, high, first, last, table, cell, fa, fb):  # type: ignore[no-untyped-def]
    """Take rays [first, last) through slices [low, high), at most TILE: collect from the image, or spread into it."""
    strides = (shape[1] * shape[2], shape[2], 1)
    a, b = (k + 1) % 3, (k + 2) % 3
    sk, sa, sb = strides[k], strides[a], strides[b]
    for ray in range(first, last):
        q = _at(ray - first)
        if not (table[LEAVE + q] > low and table[ENTER + q] < high):
            continue
        enter, leave = int(max(table[ENTER + q], low)), int(min(table[LEAVE + q], high))
        inner, outer = int(max(table[INNER + q], enter)), int(min(table[OUTER + q], leave))
        if inner >= outer:
            inner = outer = leave
        a0, da, b0, db, length = table[A0 + q], table[DA + q], table[B0 + q], table[DB + q], _f32(table[LENGTH + q])
        value = length * data[_at(ray)] if spread else _f32(0)
        total = _f32(0)
        for n in range(inner, outer, TILE):
            _cells(n, a0, da, b0, db, sk, sa, sb, cell, fa, fb)
            if spread:
                _scatter(image, value, min(TILE, outer - n), sa, sb, cell, fa, fb)
            else:
                total += _gather(image, min(TILE, outer - n), sa, sb, cell, fa, fb)
        n = enter
        while n < leave:
            if n == inner:
                n = outer
                continue
            covered = min(table[HIGH + q], n + 0.5) - max(table[LOW + q], n - 0.5)
            if covered > 0:
                total += _edge(
                    spread, image, value, covered, a0 + n * da, b0 + n * db, n * sk, sa, sb, shape[a], shape[b]
                )
            n += 1
        if not spread:
            data[_at(ray)] += length * total


@_jit
def _cells(low, a0, da, b0, db, sk, sa, sb, cell, fa, fb):  # type: ignore[no-untyped-def]
    """Where the line crosses TILE slices from `low` on."""
    for m in range(TILE):
        n = float(low + m)
        a, b = a0 + n * da, b0 + n * db
        ia, ib = np.int64(a), np.int64(b)
        fa[_at(m)], fb[_at(m)] = _f32(a - ia), _f32(b - ib)
        cell[_at(m)] = (low + m) * sk + ia * sa + ib * sb


@_jit
def _gather(image, count, sa, sb, cell, fa, fb):  # type: ignore[no-untyped-def]
    total = _f32(0)
    for m in range(count):
        p, x, y = cell[_at(m)], fa[_at(m)], fb[_at(m)]
        near, near_a = image[_at(p)], image[_at(p + sa)]
        far, far_a = image[_at(p + sb)], image[_at(p + sa + sb)]
        near += x * (near_a - near)
        far += x * (far_a - far)
        total += near + y * (far - near)
    return total


@_jit
def _scatter(image, value, count, sa, sb, cell, fa, fb):  # type: ignore[no-untyped-def]
    for m in range(count):
        p, x, y = cell[_at(m)], fa[_at(m)], fb[_at(m)]
        far = value * y
        near = value - far
        near_a, far_a = near * x, far * x
        image[_at(p)] += near - near_a
        image[_at(p + sa)] += near_a
        image[_at(p + sb)] += far - far_a
        image[_at(p + sa + sb)] += far_a


@_jit
def _edge(spread, image, value, covered, a, b, p, sa, sb, size_a, size_b):  # type: ignore[no-untyped-def]
    """One step where neighbours may be missing or the segment covers only part of the slice; missing ones are zero."""
    ia, ib = int(np.floor(a)), int(np.floor(b))
    x, y = a - ia, b - ib
    total = _f32(0)
    for i, weight_a in ((ia, 1.0 - x), (ia + 1, x)):
        for j, weight_b in ((ib, 1.0 - y), (ib + 1, y)):
            if 0 <= i < size_a and 0 <= j < size_b:
                voxel = _at(p + i * sa + j * sb)
                weight = _f32(covered * weight_a * weight_b)
                if spread:
                    image[voxel] += weight * value
                else:
                    total += weight * image[voxel]
    return total
