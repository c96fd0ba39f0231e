"""The moves of a dual-side core, one kernel each: gather, outer products with their scatter, drain (M20, M25)."""

from __future__ import annotations

import numpy as np

from ...formats.jit import kernel

_ONE, _NONE = np.uint64(1), np.uint64(0)


@kernel
def gather(word, places):
    """Write where the bits of a word (uint64) are set, ascending, into places (int64, (64,), **modified**); how many.

    Each bit is written, and counted only if it is set: no branch that is hard to foresee.
    """
    count, bit = 0, 0
    while word != _NONE:
        places[count] = bit
        count += np.int64(word & _ONE)
        word >>= _ONE
        bit += 1
    return count


@kernel
def multiply_slices(a_words, a_values, b_words, b_values, sizes, step, sum_bits, row_at, column_at, sums):
    """Multiply a slice of weights by one of activations, and add the products to the sums of the core.

    a_words, b_words : uint64 (positions,). a_values, b_values : int8, all there are in the slices.
    sizes : rows, columns of this tile, columns of a full one. step : rows, columns, sums a cycle.
    row_at, column_at : int64 (64,), room for `gather`, **modified**. sums : int32 (of a full tile,), **modified**.
    Returns whether bitmaps and values fit each other and the tile; busy and register-file-stall cycles; products.
    """
    rows, columns, pitch = sizes
    step_rows, step_columns, sums_per_cycle = step
    half = np.int64(1) << (sum_bits - 1)
    mask = 2 * half - 1
    busy, stalled, products, a_at, b_at = 0, 0, 0, 0, 0
    for position in range(len(a_words)):
        a_count, b_count = gather(a_words[position], row_at), gather(b_words[position], column_at)
        if a_at + a_count > len(a_values) or b_at + b_count > len(b_values):
            return False, busy, stalled, products
        if (a_count > 0 and row_at[a_count - 1] >= rows) or (b_count > 0 and column_at[b_count - 1] >= columns):
            return False, busy, stalled, products
        pieces, made = 0, 0
        for first_a in range(0, a_count, step_rows):
            last_a = min(a_count, first_a + step_rows)
            for first_b in range(0, b_count, step_columns):
                last_b = min(b_count, first_b + step_columns)
                for a in range(first_a, last_a):
                    value, row = np.int64(a_values[a_at + a]), row_at[a] * pitch
                    for b in range(first_b, last_b):
                        at = row + column_at[b]
                        total = np.int64(sums[at]) + value * np.int64(b_values[b_at + b])
                        sums[at] = ((total + half) & mask) - half
                pieces += 1
                made += (last_a - first_a) * (last_b - first_b)
        busy += pieces
        stalled += max(0, -(-made // sums_per_cycle) - pieces)
        products += made
        a_at += a_count
        b_at += b_count
    return a_at == len(a_values) and b_at == len(b_values), busy, stalled, products


@kernel
def drain(sums, sizes, first_row, first_column, outputs, drained):
    """Write a tile's sums to Y and clear them; False if one of the results has been written before.

    sums, sizes : see `multiply_slices`. outputs (int32) and drained (bool), both (S, P), and sums are **modified**.
    """
    rows, columns, pitch = sizes
    for row in range(rows):
        for column in range(columns):
            if drained[first_row + row, first_column + column]:
                return False
            drained[first_row + row, first_column + column] = True
            outputs[first_row + row, first_column + column] = sums[row * pitch + column]
            sums[row * pitch + column] = 0
    return True
