"""The moves of a weight-stationary core, one kernel each: point, read weights, read a chunk, accumulate, drain.

Letters and the layout of stored weights as in `stationary.py` and `store.py`.
"""

from __future__ import annotations

import numpy as np

from ...formats.bits import read_code
from ...formats.jit import kernel

DONE, BAD_TILE, BAD_ROWS, BAD_WINDOW, BAD_WEIGHTS, BAD_INDEX, TWICE = range(7)

FAULTS = {
    BAD_TILE: "its columns do not fit the sums of a core, or go beyond P",
    BAD_ROWS: "no member has rows, or one has none, more than a core's, or rows beyond S",
    BAD_WINDOW: "its chunk is larger than a window, or reads beyond the kept positions or K",
    BAD_WEIGHTS: "a member's weights are not whole groups for its rows, or go beyond its chunk",
    BAD_INDEX: "an index is not below M",
    TWICE: "a result is drained a second time",
}


@kernel
def rows_fit(rows, first_row, core_rows, s):
    """Whether there are members, and each of them has 1 to core_rows rows (int64, (members,)), all of them below s."""
    for member in range(len(rows)):
        if not 0 < rows[member] <= core_rows or first_row + member * core_rows + rows[member] > s:
            return False
    return len(rows) > 0


@kernel
def point(block_cols, block, first, positions, k, sources):
    """Find the rows of X that a window's positions stand for (M3); sources (int64) is **modified**.

    block_cols : int32 (E,), of the block row. first, positions : of the kept ones. False if one is not there.
    """
    if positions > sources.shape[0] or first + positions > block_cols.shape[0] * block:
        return False
    for i in range(positions):
        kept, inside = divmod(first + i, block)
        sources[i] = block_cols[kept] * block + inside
        if sources[i] >= k:
            return False
    return True


@kernel
def read_weights(values, nm_index, pattern, positions, first_group, first_row, rows, lanes, slots, selects):
    """Read the members' weights of a wave into their slots, and unpack what their MUXes select.

    values, nm_index : see `Stored`. pattern : N, M, index bits. positions : the window's, as found by `point`.
    first_group : the window's, of the kept ones. first_row : of the matrix, the first member's.
    rows, lanes : int64 (members,), of each.
    slots (int8) and selects (uint32, position in the window), (members, rows, lanes), are **modified**.
    Returns DONE, BAD_WEIGHTS or BAD_INDEX.
    """
    n, m, index_bits = pattern
    height, stored = values.shape[2:]
    block_groups = stored // n
    for member in range(len(rows)):
        groups, rest = divmod(lanes[member], n)
        if rest or groups * m >= positions + m:
            return BAD_WEIGHTS
        for row in range(rows[member]):
            block_row, inside = divmod(first_row + member * slots.shape[1] + row, height)
            for group in range(groups):
                kept, place = divmod(first_group + group, block_groups)
                for i in range(n):
                    index = read_code(nm_index[block_row, kept], inside * stored + place * n + i, index_bits)
                    if index >= m:
                        return BAD_INDEX
                    slots[member, row, group * n + i] = values[block_row, kept, inside, place * n + i]
                    selects[member, row, group * n + i] = group * m + index
    return DONE


@kernel
def read_chunk(activations, sources, positions, first_column, columns, chunk):
    """Read a window's real positions of some columns; chunk (int8, (columns, positions)) is **modified**.

    What a short window leaves of the chunk stays as it was (M7: padding of K is not read).
    """
    for i in range(positions):
        for column in range(columns):
            chunk[column, i] = activations[sources[i], first_column + column]


@kernel
def accumulate(slots, selects, rows, lanes, chunk, columns, offset, sum_bits, sums):
    """Add a step's products to the members' sums, from column offset on.

    slots, selects, rows, lanes : see `read_weights`. chunk : see `read_chunk`, `columns` of it.
    sums : int32 (members, rows, columns of the tile), **modified**.
    """
    half = np.int64(1) << (sum_bits - 1)
    for member in range(len(rows)):
        slot, select = slots[member], selects[member]
        for row in range(rows[member]):
            for column in range(columns):
                total = np.int64(sums[member, row, offset + column])
                for lane in range(lanes[member]):
                    total += np.int64(slot[row, lane]) * chunk[column, select[row, lane]]
                sums[member, row, offset + column] = ((total + half) & (2 * half - 1)) - half


@kernel
def drain(sums, offset, rows, columns, first_row, first_column, outputs, drained):
    """Write a step's sums to Y and clear them; False if one of the results has been written before.

    sums : int32 (members, rows of a core, columns of the tile), rows : int64 (members,).
    outputs (int32) and drained (bool), both (S, P), and sums are **modified**.
    """
    for member in range(len(rows)):
        top = first_row + member * sums.shape[1]
        for row in range(rows[member]):
            for column in range(columns):
                if drained[top + row, first_column + column]:
                    return False
                drained[top + row, first_column + column] = True
                outputs[top + row, first_column + column] = sums[member, row, offset + column]
                sums[member, row, offset + column] = 0
    return True
