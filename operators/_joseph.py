# mypy: allow-untyped-defs
"""Joseph's line integrals in compiled code: the kernels behind `RayTransform`.

Along its driving axis k, that of its largest step in voxels, a ray is the line a = a0 + n da, b = b0 + n db over the
slices n of k. Its integral is the sum over slices of the image interpolated bilinearly in the plane of (a, b), times
the length of ray within a slice [Joseph 1982, IEEE TMI 1:192-196]. Positions are in voxels, (0, 0, 0) being the middle
of the first one; the axes k, a, b follow each other cyclically.

How the work is laid out, and why:

* Rays go in blocks of BLOCK. `_trace` writes the lines of a block into one flat table, a row per quantity at a constant
  offset: so the compiler sees that rows do not overlap, and vectorises. At some 3 ns a ray, every slab of the adjoint
  can afford to do it again, and nothing is stored per ray.
* A ray is clipped once. Outside the slices [ENTER, LEAVE) it meets no voxel; in [INNER, OUTER) all four neighbours
  exist and the slice is crossed in full, so steps need no test. `_edge` takes the few steps between, one by one.
* Blocks follow narrow strips of the detector, row after row, so that the sheet of voxels shared by two rows fits the
  cache; within a block rays advance TILE slices at a time, except along x, where a whole row is contiguous.
* In the adjoint a task owns a slab of slices of the driving axis. A step writes to its own slice alone, so slabs never
  collide: no atomics, no volume per thread. A voxel receives its rays in one order whatever the slabs, hence the same
  bits for any number of threads. Both directions are one function, `_march`, so their weights cannot differ.

The kernels release the GIL and are run by Python threads: numba's OpenMP layer dies in a forked child, and its own pool
must not be entered by two threads at once.

In all functions `grid` is (shape, voxel size in mm, middle of the first voxel in mm), each a tuple (z, y, x), and
`rays` is (shape (views, v, u), start, start_v, start_u, end, end_v, end_u), arrays (views, 3) float64 in mm as in
`geometry.Rays`.
"""

import math

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

BLOCK = 64  # rays
TILE = 32  # slices
MARGIN = 1e-6  # voxels by which inner steps stay clear of the border, far above the rounding of a position

# Rows of the table, as offsets: end points, line, ends of the segment along k, length within a slice, slices.
K0, A0, B0, K1, A1, B1, DA, DB, LOW, HIGH, LENGTH, ENTER, INNER, OUTER, LEAVE = np.arange(15, dtype=np.uintp) * BLOCK
ROWS = 15

_f32 = np.float32
_at = np.uintp  # an unsigned index is used as it is; a signed one is first tested for counting from the end
_jit = njit(nogil=True, cache=True, error_model="numpy")
_inline = njit(nogil=True, cache=True, error_model="numpy", inline="always")  # else loops around it are not vectorised


@_jit
def forward(image, data, grid, rays, axes, begin, end):
    """Write the integrals along the rays of blocks [begin, end).

    Args:
        image: (voxels,) float32, the flat volume.
        data: (rays,) float32.
        axes: three flags, the driving axes that occur.
    """
    work = _workspace()
    for block in range(begin, end):
        first, last = _rays_of(block, rays[0])
        data[first:last] = 0
        for k in range(3):
            if axes[k]:
                _sweep(False, image, data, grid, rays, k, 0, grid[0][k], first, last, work)


@_jit
def adjoint(image, data, grid, rays, k, low, high):
    """Add all rays of driving axis k to slices [low, high) of that axis. Arrays as in `forward`."""
    work = _workspace()
    for block in range(blocks(rays[0])):
        first, last = _rays_of(block, rays[0])
        _sweep(True, image, data, grid, rays, k, low, high, first, last, work)


@_jit
def drives(grid, rays, k):
    """Whether axis k is the driving axis of any ray."""
    table = _workspace()[0]
    for block in range(blocks(rays[0])):
        first, last = _rays_of(block, rays[0])
        if _trace(k, grid, rays, first, last, table):
            return True
    return False


@_jit
def blocks(shape):
    """The number of blocks of rays of shape (views, v, u)."""
    views, rows, columns = shape
    if columns <= BLOCK:
        return -(-views * rows * columns // BLOCK)
    return views * rows * -(-columns // BLOCK)


@_jit
def _rays_of(block, shape):
    """The flat indices [first, last) of the rays of a block."""
    views, rows, columns = shape
    if columns <= BLOCK:
        return block * BLOCK, min((block + 1) * BLOCK, views * rows * columns)
    view, rest = divmod(block, rows * -(-columns // BLOCK))
    strip, row = divmod(rest, rows)
    start = (view * rows + row) * columns
    return start + strip * BLOCK, start + min((strip + 1) * BLOCK, columns)


@_jit
def _workspace():
    """Table of a block; then for the steps of a tile: flat index of the cell, place within it along a and along b."""
    return np.empty(ROWS * BLOCK), np.empty(TILE, np.int64), np.empty(TILE, _f32), np.empty(TILE, _f32)


@_jit
def _sweep(spread, image, data, grid, rays, k, low, high, first, last, work):
    """Take those of the rays [first, last) whose driving axis is k through slices [low, high)."""
    if _trace(k, grid, rays, first, last, work[0]):
        # Along x a tile lies in few cache lines, too few for the processor to fetch at once; so the plane that the next
        # row of rays will enter is asked for early. Along y and z a tile spreads over many lines and needs no help.
        ahead = _next_plane(first, grid, rays) if k == 2 else 0
        depth = high - low if k == 2 else TILE
        for n in range(low, high, depth):
            _march(spread, image, data, grid[0], k, n, min(n + depth, high), first, last, ahead, work)


@_jit
def _trace(k, grid, rays, first, last, table):
    """Fill the table with the rays [first, last) as lines along k; the number of rays whose driving axis k is."""
    shape, size, _ = grid
    a, b = (k + 1) % 3, (k + 2) % 3
    count = last - first
    _ends(k, grid, rays, first, last, table)
    found = _lines(shape[k], k < a, k < b, size[k], size[a], size[b], count, table)
    if found:
        _clip(shape[a], A0, DA, count, table)
        _clip(shape[b], B0, DB, count, table)
        _round(count, table)
    return found


@_jit
def _ends(k, grid, rays, first, last, table):
    """End points in voxels, coordinates in the order k, a, b."""
    _, size, origin = grid
    (_, rows, columns), start, start_v, start_u, end, end_v, end_u = rays
    for side, (base, base_v, base_u) in enumerate(((start, start_v, start_u), (end, end_v, end_u))):
        for c in range(3):
            axis = (k + c) % 3
            row = (3 * side + c) * BLOCK
            if rows * columns == 1:
                for ray in range(first, last):
                    table[_at(row + ray - first)] = (base[_at(ray), axis] - origin[axis]) / size[axis]
                continue
            ray = first
            while ray < last:
                view, pixel = divmod(ray, rows * columns)
                i, j = divmod(pixel, columns)
                run = min(columns - j, last - ray)
                offset = (base[view, axis] + i * base_v[view, axis] - origin[axis]) / size[axis]
                step = base_u[view, axis] / size[axis]
                for m in range(run):
                    table[_at(row + ray - first + m)] = offset + (j + m) * step
                ray += run


@_jit
def _lines(slices, before_a, before_b, size_k, size_a, size_b, count, table):
    """Turn the end points of the table into lines."""
    found = 0
    for r in range(count):
        q = _at(r)
        k0, a0, b0 = table[K0 + q], table[A0 + q], table[B0 + q]
        k1, a1, b1 = table[K1 + q], table[A1 + q], table[B1 + q]
        mine, a0, da, b0, db, low, high, length, enter, inner, outer, leave = line(
            slices, before_a, before_b, size_k, size_a, size_b, k0, a0, b0, k1, a1, b1
        )
        table[A0 + q], table[DA + q] = a0, da
        table[B0 + q], table[DB + q] = b0, db
        table[LOW + q], table[HIGH + q], table[LENGTH + q] = low, high, length
        table[ENTER + q], table[INNER + q], table[OUTER + q], table[LEAVE + q] = enter, inner, outer, leave
        found += mine
    return found


@_jit
def _clip(size, position, slope, count, table):
    """Narrow the slices of the table to the grid along one axis."""
    for r in range(count):
        q = _at(r)
        enter, inner, outer, leave = table[ENTER + q], table[INNER + q], table[OUTER + q], table[LEAVE + q]
        enter, inner, outer, leave = clip(size, table[position + q], table[slope + q], enter, inner, outer, leave)
        table[ENTER + q], table[INNER + q], table[OUTER + q], table[LEAVE + q] = enter, inner, outer, leave


@_jit
def _round(count, table):
    """Make whole slices of the limits of the table."""
    for r in range(count):
        q = _at(r)
        table[ENTER + q], table[INNER + q] = np.floor(table[ENTER + q]), np.ceil(table[INNER + q])
        table[OUTER + q], table[LEAVE + q] = np.floor(table[OUTER + q]), np.ceil(table[LEAVE + q])


@_inline
def line(slices, before_a, before_b, size_k, size_a, size_b, k0, a0, b0, k1, a1, b1):
    """A ray from (k0, a0, b0) to (k1, a1, b1), voxels, as a line along k; shared with the kernels of the GPU.

    Ties go to the earlier axis; a ray with another driving axis enters no slice.

    Args:
        slices: of the image along k.
        before_a, before_b: whether k is an earlier axis than a, than b.
        size_k, size_a, size_b: voxel size, mm.

    Returns:
        Whether k is the driving axis; line (a0, da, b0, db); ends of the segment along k (low, high); length within a
        slice, mm; slices (enter, inner, outer, leave), not yet rounded: enter and outer down, inner and leave up.
    """
    dk, da, db = k1 - k0, a1 - a0, b1 - b0
    length = math.sqrt((dk * size_k) ** 2 + (da * size_a) ** 2 + (db * size_b) ** 2)
    over_a = (abs(dk) > abs(da)) | ((abs(dk) == abs(da)) & before_a)
    over_b = (abs(dk) > abs(db)) | ((abs(dk) == abs(db)) & before_b)
    mine = over_a & over_b & (dk != 0)
    per_slice = 1 / dk if mine else 0.0
    da *= per_slice
    db *= per_slice
    low, high = min(k0, k1), max(k0, k1)
    # Slice n reaches from n - 1/2 to n + 1/2.
    inner, outer = max(low + 0.5, 0.0), min(high + 0.5, float(slices))
    enter = inner if mine else float(slices)
    return mine, a0 - k0 * da, da, b0 - k0 * db, db, low, high, length * abs(per_slice), enter, inner, outer, outer


@_inline
def clip(size, position, slope, enter, inner, outer, leave):
    """Narrow slices to those where a line is near the grid, -1 <= a <= size, and within it, 0 <= a < size - 1.

    Shared with the kernels of the GPU.
    """
    middle = (size - 1) / 2
    near, within = middle + 1, middle - MARGIN
    per_voxel = 1 / (slope if abs(slope) > 1e-12 else 1e-12)
    center = (middle - position) * per_voxel
    per_voxel = abs(per_voxel)
    enter = max(enter, center - near * per_voxel)
    inner = max(inner, center - within * per_voxel)
    outer = min(outer, center + within * per_voxel + 1)
    leave = min(leave, center + near * per_voxel + 1)
    return enter, inner, outer, leave


@_jit
def _march(spread, image, data, shape, k, low, high, first, last, ahead, work):
    """Take the rays of the table through slices [low, high): collect from the image, or spread into it."""
    table, cell, fa, fb = work
    strides = (shape[1] * shape[2], shape[2], 1)
    a, b = (k + 1) % 3, (k + 2) % 3
    sk, sa, sb = strides[k], strides[a], strides[b]
    for ray in range(first, last):
        q = _at(ray - first)
        if table[LEAVE + q] <= low or table[ENTER + q] >= high or table[ENTER + q] >= table[LEAVE + q]:
            continue
        enter, leave = int(max(table[ENTER + q], low)), int(min(table[LEAVE + q], high))
        inner, outer = int(max(table[INNER + q], enter)), int(min(table[OUTER + q], leave))
        if inner >= outer:
            inner = outer = leave
        a0, da, b0, db, length = table[A0 + q], table[DA + q], table[B0 + q], table[DB + q], _f32(table[LENGTH + q])
        value = length * data[_at(ray)]
        total = _f32(0)
        for n in range(inner, outer, TILE):
            _cells(n, a0, da, b0, db, sk, sa, sb, cell, fa, fb)
            if ahead:
                for m in range(0, TILE, 5):  # some three lines in sixteen steps of a slanted ray
                    _prefetch(image, cell[_at(m)] + ahead)
            if spread:
                _scatter(image, value, min(TILE, outer - n), sa, sb, cell, fa, fb)
            else:
                total += _gather(image, min(TILE, outer - n), sa, sb, cell, fa, fb)
        for begin, end in ((enter, inner), (outer, leave)):
            for n in range(begin, end):
                part = min(table[HIGH + q], n + 0.5) - max(table[LOW + q], n - 0.5)
                total += _edge(spread, image, value, part, a0 + n * da, b0 + n * db, n * sk, sa, sb, shape[a], shape[b])
        if not spread:
            data[_at(ray)] += length * total


@_jit
def _cells(low, a0, da, b0, db, sk, sa, sb, cell, fa, fb):
    """Where a line crosses the TILE slices from `low` on; a fixed number, whether all are used or not, is fastest."""
    for m in range(TILE):
        n = float(low + m)
        a, b = a0 + n * da, b0 + n * db
        ia, ib = np.int64(a), np.int64(b)
        fa[_at(m)], fb[_at(m)] = _f32(a - ia), _f32(b - ib)
        cell[_at(m)] = (low + m) * sk + ia * sa + ib * sb


@_jit
def _gather(image, count, sa, sb, cell, fa, fb):
    """The sum over steps of the image interpolated."""
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
def _scatter(image, value, count, sa, sb, cell, fa, fb):
    """The transpose of `_gather`."""
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
def _edge(spread, image, value, part, a, b, p, sa, sb, size_a, size_b):
    """One step where neighbours may be missing, which count as zero, or only part of the slice is crossed."""
    ia, ib = int(np.floor(a)), int(np.floor(b))
    total = _f32(0)
    if part <= 0:
        return total
    for i, weight_a in ((ia, 1.0 - (a - ia)), (ia + 1, a - ia)):
        for j, weight_b in ((ib, 1.0 - (b - ib)), (ib + 1, b - ib)):
            if 0 <= i < size_a and 0 <= j < size_b:
                voxel = _at(p + i * sa + j * sb)
                weight = _f32(part * weight_a * weight_b)
                if spread:
                    image[voxel] += weight * value
                else:
                    total += weight * image[voxel]
    return total


@_jit
def _next_plane(first, grid, rays):
    """How far on the plane lies, from the cells of this row of rays, that the next row will touch first; 0 if none."""
    (_, rows, columns), _, start_v, _, _, end_v, _ = rays
    view = first // (rows * columns)
    climb = start_v[view, 0] + end_v[view, 0]
    plane = grid[0][1] * grid[0][2]
    return 2 * plane if climb > 0 else (-plane if climb < 0 else 0)


@intrinsic
def _prefetch(typing_context, image, index):
    """Ask for the cache line of a voxel; an index outside the image does no harm."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, flag, flag, flag])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(prefetch, [address, flag(0), flag(3), flag(1)])  # to read, keep, data
        return context.get_dummy_value()

    return types.none(image, index), generate
