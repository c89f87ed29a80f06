# mypy: allow-untyped-defs
"""Joseph's line integrals in compiled code for the lines of a PET sinogram, with and without time of flight.

Lines of one (radial, view) differ along z alone. Taken together they are a fan that crosses the slices of its driving
axis, y or x, at the same places: so a step of the fan interpolates one column of voxels along z, between two neighbours
across the fan, and every plane then takes its value from that column. The weights are those of `_joseph`; but z never
drives, however steep a line.

* Images are laid out (y, x, z), a column contiguous. Loops over the planes of a step are free of branches, so that the
  compiler vectorises them; a column is padded with zeros for lines that have left the image. Planes as long as each
  other, the same difference of rings but for its sign, form a group, which shares time-of-flight weights.
* The adjoint scatters a step into two short columns, for the nearer and the further voxel, since neighbouring lines
  would otherwise wait for each other's sums; then adds these to the image. As in `_joseph`, a task owns slices of the
  driving axis, and a voxel receives its lines in one order whatever the slabs: the same bits for any number of threads.
* Events of list mode are lines of their own: `forward_events` and `adjoint_events` interpolate four voxels a step.

In all functions `grid` is (shape, voxel size in mm, middle of the first voxel in mm), each a tuple (z, y, x); `lines`
is (first end, second end), arrays (lines, 2) in (y, x), mm; `planes` is (z of the first end, and rise to the second, in
voxels; plane numbers; ends of the groups; rise of each group without its sign, mm), the first three by group; `tof` is
(bins, bin width in mm, reach in bins, table) as in `TOF`, with 0 bins for none.
"""

import math

import numpy as np
from numba import njit

PAD = 2  # zero voxels at either end of a column

_f32 = np.float32
_at = np.uintp  # an unsigned index is used as it is; a signed one is first tested for counting from the end
_jit = njit(nogil=True, cache=True, error_model="numpy")


@_jit
def forward(image, data, grid, lines, planes, tof, begin, end):
    """Write the integrals along lines [begin, end).

    Args:
        image: (y * x * z,) float32.
        data: (lines, planes * max(bins, 1)) float32.
    """
    shape = grid[0]
    start, rise, order, ends, heights = planes
    count, bins = len(order), max(tof[0], 1)
    column = np.zeros(shape[0] + 2 * PAD, _f32)
    sums = np.empty((bins, count), _f32)
    values, weights = np.empty(count, _f32), np.empty(tof[3].shape[1], _f32)
    cells, parts, limit = np.empty(count, np.int32), np.empty(count, _f32), float(shape[0] + 2 * PAD - 2)
    for line in range(begin, end):
        k, k0, per_slice, a0, da, low, high, enter, leave, across = line_across(grid, lines, line)
        sums[:] = 0
        for n in range(enter, leave):
            part = min(high, n + 0.5) - max(low, n - 0.5)
            if part <= 0 or not _gather_column(image, shape, k, n, a0 + n * da, _f32(part), column):
                continue
            s = (n - k0) * per_slice
            _locate(start, rise, s, limit, cells, parts)
            if tof[0] == 0:
                _gather(column, cells, parts, sums[0])
                continue
            values[:] = 0
            _gather(column, cells, parts, values)
            for group in range(len(heights)):
                first, last = ends[group], ends[group + 1]
                bin0, bin1 = _tof_weights((s - 0.5) * np.sqrt(across**2 + heights[group] ** 2), tof, weights)
                for t in range(bin0, bin1):
                    _add(sums[t, first:last], weights[t - bin0], values[first:last])
        for group in range(len(heights)):
            length = _f32(np.sqrt(across**2 + heights[group] ** 2) * abs(per_slice))
            for p in range(ends[group], ends[group + 1]):
                for t in range(bins):
                    data[line, order[p] * bins + t] = length * sums[t, p]


@_jit
def adjoint(image, data, grid, lines, planes, tof, drive, begin, end):
    """Add all lines of driving axis `drive` to slices [begin, end) of that axis. Arrays as in `forward`."""
    shape = grid[0]
    start, rise, order, ends, heights = planes
    count, bins = len(order), max(tof[0], 1)
    near, far = np.zeros(shape[0] + 2 * PAD, _f32), np.zeros(shape[0] + 2 * PAD, _f32)
    spread = np.empty((bins, count), _f32)
    values, weights = np.empty(count, _f32), np.empty(tof[3].shape[1], _f32)
    cells, parts, limit = np.empty(count, np.int32), np.empty(count, _f32), float(shape[0] + 2 * PAD - 2)
    for line in range(len(lines[0])):
        k, k0, per_slice, a0, da, low, high, enter, leave, across = line_across(grid, lines, line)
        enter, leave = max(enter, begin), min(leave, end)
        if k != drive or enter >= leave:
            continue
        for group in range(len(heights)):
            length = _f32(np.sqrt(across**2 + heights[group] ** 2) * abs(per_slice))
            for p in range(ends[group], ends[group + 1]):
                for t in range(bins):
                    spread[t, p] = length * data[line, order[p] * bins + t]
        for n in range(enter, leave):
            part = min(high, n + 0.5) - max(low, n - 0.5)
            if part <= 0:
                continue
            s = (n - k0) * per_slice
            _locate(start, rise, s, limit, cells, parts)
            near[:] = 0
            far[:] = 0
            if tof[0] == 0:
                _scatter(near, far, cells, parts, spread[0])
            else:
                values[:] = 0
                for group in range(len(heights)):
                    first, last = ends[group], ends[group + 1]
                    bin0, bin1 = _tof_weights((s - 0.5) * np.sqrt(across**2 + heights[group] ** 2), tof, weights)
                    for t in range(bin0, bin1):
                        _add(values[first:last], weights[t - bin0], spread[t, first:last])
                _scatter(near, far, cells, parts, values)
            _scatter_column(image, shape, k, n, a0 + n * da, _f32(part), near, far)


@_jit
def forward_events(image, data, grid, lines, z, bin_of, tof, begin, end):
    """Write the integrals along single lines [begin, end).

    Args:
        data: (lines,) float32.
        z: of both ends, each (lines,), mm.
        bin_of: (lines,) time-of-flight bin of each.
    """
    weights = np.empty(tof[3].shape[1], _f32)
    for line in range(begin, end):
        data[line] = _event(
            False, image, _f32(0), grid, lines, z, bin_of, tof, line, 0, grid[0][1] + grid[0][2], weights
        )


@_jit
def adjoint_events(image, data, grid, lines, z, bin_of, tof, drive, begin, end):
    """Add all single lines of driving axis `drive` to slices [begin, end) of that axis."""
    weights = np.empty(tof[3].shape[1], _f32)
    for line in range(len(data)):
        if data[line] != 0 and line_across(grid, lines, line)[0] == drive:
            _event(True, image, data[line], grid, lines, z, bin_of, tof, line, begin, end, weights)


@_jit
def _event(spread, image, value, grid, lines, z, bin_of, tof, line, begin, end, weights):
    """Take one line through slices [begin, end): collect from the image, or spread into it."""
    shape, size, origin = grid
    k, k0, per_slice, a0, da, low, high, enter, leave, across = line_across(grid, lines, line)
    z0, rise = (z[0][line] - origin[0]) / size[0], (z[1][line] - z[0][line]) / size[0]
    whole_length = np.sqrt(across**2 + (rise * size[0]) ** 2)
    length = whole_length * abs(per_slice)
    total = _f32(0)
    for n in range(max(enter, begin), min(leave, end)):
        part = min(high, n + 0.5) - max(low, n - 0.5)
        if part <= 0:
            continue
        s = (n - k0) * per_slice
        weight = part * length
        if tof[0] > 0:
            bin0, bin1 = _tof_weights((s - 0.5) * whole_length, tof, weights)
            if not bin0 <= bin_of[line] < bin1:
                continue
            weight *= weights[bin_of[line] - bin0]
        a, b = a0 + n * da, z0 + s * rise
        ia, ib = int(np.floor(a)), int(np.floor(b))
        for i, weight_a in ((ia, 1.0 - (a - ia)), (ia + 1, a - ia)):
            for j, weight_b in ((ib, 1.0 - (b - ib)), (ib + 1, b - ib)):
                if 0 <= i < shape[3 - k] and 0 <= j < shape[0]:
                    voxel = _at(_column(shape, k, n, i) + j)
                    w = _f32(weight * weight_a * weight_b)
                    if spread:
                        image[voxel] += w * value
                    else:
                        total += w * image[voxel]
    return total


@_jit
def line_across(grid, lines, line):
    """A line across z: driving axis, its start there, 1 / its steps, the other axis, its ends, slices, length in mm.

    Shared with the kernels of the GPU.
    """
    shape, size, origin = grid
    y0, y1 = (lines[0][line, 0] - origin[1]) / size[1], (lines[1][line, 0] - origin[1]) / size[1]
    x0, x1 = (lines[0][line, 1] - origin[2]) / size[2], (lines[1][line, 1] - origin[2]) / size[2]
    across = math.sqrt(((y1 - y0) * size[1]) ** 2 + ((x1 - x0) * size[2]) ** 2)
    k = 1 if abs(y1 - y0) >= abs(x1 - x0) else 2
    k0, k1, a, a1 = (y0, y1, x0, x1) if k == 1 else (x0, x1, y0, y1)
    low, high = min(k0, k1), max(k0, k1)
    if low == high:  # both ends are one point
        return k, k0, 0.0, 0.0, 0.0, low, high, 0, 0, across
    per_slice = 1 / (k1 - k0)
    da = (a1 - a) * per_slice
    # Near the grid: -1 < a < size.
    near = (shape[3 - k] + 1) / 2
    slope = da if abs(da) > 1e-12 else 1e-12
    middle = ((shape[3 - k] - 1) / 2 - (a - k0 * da)) / slope
    # Slice n reaches from n - 1/2 to n + 1/2.
    enter = max(low + 0.5, 0.0, middle - near / abs(slope))
    leave = min(high + 0.5, float(shape[k]), middle + near / abs(slope) + 1)
    if not enter < leave:
        return k, k0, 0.0, 0.0, 0.0, low, high, 0, 0, across
    return k, k0, per_slice, a - k0 * da, da, low, high, int(math.floor(enter)), int(math.ceil(leave)), across


@_jit
def _column(shape, k, n, a):
    """Flat index of the first voxel of the column in slice n of axis k, at place a of the other axis."""
    return ((n * shape[2] + a) if k == 1 else (a * shape[2] + n)) * shape[0]


@_jit
def _gather_column(image, shape, k, n, a, part, column):
    """Interpolate a column at place a, where what lies outside the image is zero; False if all of it does."""
    ia = int(np.floor(a))
    far = _f32(a - ia) * part
    near = part - far
    in_near, in_far = 0 <= ia < shape[3 - k], 0 <= ia + 1 < shape[3 - k]
    if not (in_near or in_far):
        return False
    p = _column(shape, k, n, ia if in_near else ia + 1)
    q = _column(shape, k, n, ia + 1 if in_far else ia)
    near, far = (near if in_near else _f32(0)), (far if in_far else _f32(0))
    for j in range(shape[0]):
        column[_at(j + PAD)] = near * image[_at(p + j)] + far * image[_at(q + j)]
    return True


@_jit
def _scatter_column(image, shape, k, n, a, part, near_column, far_column):
    """The transpose of `_gather_column`, for a column in two parts: of its voxels, and of the next ones."""
    ia = int(np.floor(a))
    far = _f32(a - ia) * part
    near = part - far
    for i, weight in ((ia, near), (ia + 1, far)):
        if 0 <= i < shape[3 - k]:
            p = _column(shape, k, n, i)
            for j in range(shape[0]):
                image[_at(p + j)] += weight * (near_column[_at(j + PAD)] + far_column[_at(j + PAD - 1)])


@_jit
def _locate(start, rise, s, limit, cells, parts):
    """Where in the column every plane's line is, a fraction s of the way from its first end: cell, and place in it."""
    for p in range(len(cells)):
        b = start[_at(p)] + s * rise[_at(p)] + PAD
        b = b if b > 0 else 0.0
        b = b if b < limit else limit
        i = np.int32(b)
        cells[_at(p)] = i
        parts[_at(p)] = _f32(b - i)


@_jit
def _gather(column, cells, parts, sums):
    """Add to every plane the column interpolated."""
    for p in range(len(sums)):
        i = _at(cells[_at(p)])
        near = column[i]
        sums[_at(p)] += near + parts[_at(p)] * (column[i + _at(1)] - near)


@_jit
def _scatter(near, far, cells, parts, values):
    """The transpose of `_gather`."""
    for p in range(len(values)):
        i = _at(cells[_at(p)])
        remote = parts[_at(p)] * values[_at(p)]
        near[i] += values[_at(p)] - remote
        far[i] += remote


@_jit
def _add(sums, weight, values):
    for p in range(len(sums)):
        sums[_at(p)] += weight * values[_at(p)]


@_jit
def _tof_weights(distance, tof, weights):
    """Weights of the bins [first, last) for a point at this distance, mm, from the middle of its line."""
    bins, width, reach, table = tof
    row, f, offset, low, high = tof_window(distance, bins, width, reach, table)
    first, last = max(low, 0), min(high, bins)
    total = _f32(0)
    for t in range(low, high):
        j = t + offset
        weight = table[row, j] + f * (table[row + 1, j] - table[row, j])
        total += weight
        if first <= t < last:
            weights[t - first] = weight
    for t in range(first, last):
        weights[t - first] /= total
    return first, max(first, last)


@_jit
def tof_window(distance, bins, width, reach, table):
    """Where in `table` a point at this distance, mm, from the middle of its line has its weights.

    Shared with the kernels of the GPU.

    Returns:
        Row, place between it and the next, column of bin 0, and bins [low, high) within reach.
    """
    position = distance / width + (bins - 1) / 2
    bin0, steps = int(math.floor(position)), table.shape[0] - 1
    place = (position - bin0) * steps
    row = min(int(place), steps - 1)
    low, high = int(math.floor(position - reach)), int(math.ceil(position + reach)) + 1
    return row, _f32(place - row), table.shape[1] // 2 - 1 - bin0, low, high
