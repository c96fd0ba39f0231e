"""Kernels on blocks of N:M rows, the layout that CrispMatrix and NMMatrix share.

R block rows of E blocks; a block is `height` rows of `lanes` stored values, lanes/N groups of M columns.
An NMMatrix is the case of blocks one row high that span all of K. Arrays:

- values [R, E, height, lanes]: as words (see `dense.words`) where they are moved, as a bool array of
  nonzeros where they are counted;
- nm_index uint8 [R, E, bytes]: per block, the position in its group of each stored value;
- block_cols int32 [R, E]: block columns, ascending.

Rows beyond S and columns beyond K are padding. Kernels that read trust shapes, never indices: an index
that leads beyond K is skipped, so an unchecked matrix cannot make them write out of bounds.
"""

from __future__ import annotations

from .bits import read_code, write_code
from .jit import kernel


@kernel
def first_overfull_group(mask, n, m):
    """First group of a mask (bool, [S, K]) with more than n positions kept.

    Returns (row, group, count); (-1, -1, -1) if every group obeys.
    """
    for row in range(mask.shape[0]):
        for start in range(0, mask.shape[1], m):
            count = 0
            for column in range(start, min(start + m, mask.shape[1])):
                if mask[row, column]:
                    count += 1
            if count > n:
                return row, start // m, count
    return -1, -1, -1


@kernel
def pack_blocks(dense, mask, block_cols, n, m, index_bits, values, nm_index):
    """Gather the kept blocks of dense (words, [S, K]) where mask (bool, [S, K]) is set.

    values (words, zeroed) and nm_index (zeroed) are **modified**. Every group of the mask holds at most
    n; spare slots stay zero and take the lowest free positions.
    """
    height, lanes = values.shape[2], values.shape[3]
    width = lanes // n * m
    for r in range(block_cols.shape[0]):
        for e in range(block_cols.shape[1]):
            stream = nm_index[r, e]
            for i in range(height):
                row = r * height + i
                for g in range(lanes // n):
                    start = block_cols[r, e] * width + g * m
                    stop = min(start + m, dense.shape[1]) if row < dense.shape[0] else start
                    spare = n
                    for column in range(start, stop):
                        if mask[row, column]:
                            spare -= 1
                    lane = g * n
                    for column in range(start, start + m):
                        kept = column < stop and mask[row, column]
                        if kept:
                            values[r, e, i, lane] = dense[row, column]
                        elif spare > 0:
                            spare -= 1
                        else:
                            continue
                        write_code(stream, i * lanes + lane, index_bits, column - start)
                        lane += 1


@kernel
def unpack_blocks(values, nm_index, block_cols, n, m, index_bits, dense):
    """Scatter values (words) into dense (words, [S, K], zeroed, **modified**)."""
    height, lanes = values.shape[2], values.shape[3]
    width = lanes // n * m
    for r in range(block_cols.shape[0]):
        for e in range(block_cols.shape[1]):
            stream = nm_index[r, e]
            for i in range(min(height, dense.shape[0] - r * height)):
                for lane in range(lanes):
                    column = block_cols[r, e] * width + lane // n * m
                    column += read_code(stream, i * lanes + lane, index_bits)
                    if column < dense.shape[1]:
                        dense[r * height + i, column] = values[r, e, i, lane]


@kernel
def count_columns(nonzero, nm_index, block_cols, n, m, index_bits, rows, counts):
    """Add to counts (int64, [K], **modified**) the nonzeros (bool, [R, E, height, lanes]) of real rows."""
    height, lanes = nonzero.shape[2], nonzero.shape[3]
    width = lanes // n * m
    for r in range(block_cols.shape[0]):
        for e in range(block_cols.shape[1]):
            stream = nm_index[r, e]
            for i in range(min(height, rows - r * height)):
                for lane in range(lanes):
                    if nonzero[r, e, i, lane]:
                        column = block_cols[r, e] * width + lane // n * m
                        column += read_code(stream, i * lanes + lane, index_bits)
                        if column < counts.shape[0]:
                            counts[column] += 1


@kernel
def fullest_group(nonzero, nm_index, block_cols, n, m, index_bits, size):
    """Most nonzeros (bool, [R, E, height, lanes]) in `size` aligned columns of any row.

    `size` need not be m: stored values are met in ascending columns, so a group is a run of them.
    """
    height, lanes = nonzero.shape[2], nonzero.shape[3]
    width = lanes // n * m
    most = 0
    for r in range(block_cols.shape[0]):
        for i in range(height):
            group, count = -1, 0
            for e in range(block_cols.shape[1]):
                stream = nm_index[r, e]
                for lane in range(lanes):
                    if nonzero[r, e, i, lane]:
                        column = block_cols[r, e] * width + lane // n * m
                        column += read_code(stream, i * lanes + lane, index_bits)
                        if column // size != group:
                            group, count = column // size, 0
                        count += 1
                        most = max(most, count)
    return most


@kernel
def first_bad_index(nm_index, slots, n, m, index_bits):
    """First index, of the `slots` of a block, that is not below m or not above the one before in its group.

    Returns (block row, block, group, index, the one before or -1); (-1, -1, -1, -1, -1) if all are well.
    """
    for r in range(nm_index.shape[0]):
        for e in range(nm_index.shape[1]):
            stream = nm_index[r, e]
            for g in range(slots // n):
                previous = -1
                for slot in range(g * n, (g + 1) * n):
                    index = read_code(stream, slot, index_bits)
                    if not previous < index < m:
                        return r, e, g, index, previous
                    previous = index
    return -1, -1, -1, -1, -1


@kernel
def first_padded_nonzero(nonzero, nm_index, block_cols, n, m, index_bits, rows, columns):
    """First nonzero (bool, [R, E, height, lanes]) in a row >= rows or a column >= columns.

    Returns (row, column); (-1, -1) if the padding is clean.
    """
    height, lanes = nonzero.shape[2], nonzero.shape[3]
    width = lanes // n * m
    for r in range(block_cols.shape[0]):
        for e in range(block_cols.shape[1]):
            stream = nm_index[r, e]
            for i in range(height):
                for lane in range(lanes):
                    if nonzero[r, e, i, lane]:
                        column = block_cols[r, e] * width + lane // n * m
                        column += read_code(stream, i * lanes + lane, index_bits)
                        if r * height + i >= rows or column >= columns:
                            return r * height + i, column
    return -1, -1
