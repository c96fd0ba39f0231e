"""Naive twins of formats/: plain loops that write and read each format bit by bit, and count on dense arrays.

A format is written as `Streams`: three lists of bits (values, indices, pointers), least significant bit
first. Reading needs only the streams and the few numbers a header would hold, so a stream that reads back
to the same matrix proves that its widths suffice. Nothing here is shared with the code under test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Streams:
    """What a format writes."""

    values: list[int] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    pointers: list[int] = field(default_factory=list)


class Reader:
    """Takes numbers off the front of a list of bits."""

    def __init__(self, bits):
        self.bits = bits
        self.at = 0

    def number(self, width):
        taken = self.bits[self.at : self.at + width]
        assert len(taken) == width, "the stream ended early"
        self.at += width
        return sum(bit << i for i, bit in enumerate(taken))

    def value(self, dtype):
        size = np.dtype(dtype).itemsize
        return np.frombuffer(self.number(8 * size).to_bytes(size, "little"), dtype)[0]

    def skip_to_byte(self):
        while self.at % 8:
            assert self.number(1) == 0

    def done(self):
        assert self.at == len(self.bits), "the stream is longer than its content"


def bits_for(count):
    """ceil(log2 count), at least 0."""
    width = 0
    while 2**width < count:
        width += 1
    return width


def write_number(bits, number, width):
    assert 0 <= number < 2**width
    for i in range(width):
        bits.append((number >> i) & 1)


def write_value(bits, value):
    write_number(bits, int.from_bytes(value.tobytes(), "little"), 8 * value.itemsize)


def fill_byte(bits):
    while len(bits) % 8:
        bits.append(0)


def to_bytes(bits):
    padded = list(bits)
    fill_byte(padded)
    return bytes(sum(padded[i + j] << j for j in range(8)) for i in range(0, len(padded), 8))


def pad(dense, rows, columns):
    """Zeros below and to the right, up to multiples of rows and columns."""
    height = math.ceil(dense.shape[0] / rows) * rows
    width = math.ceil(dense.shape[1] / columns) * columns
    padded = np.zeros((height, width), dense.dtype)
    for s in range(dense.shape[0]):
        for k in range(dense.shape[1]):
            padded[s, k] = dense[s, k]
    return padded


def group_positions(kept, n):
    """The n positions a group stores: those kept, then the lowest free ones; in ascending order."""
    positions = [p for p in range(len(kept)) if kept[p]]
    free = [p for p in range(len(kept)) if not kept[p]]
    return sorted(positions + free[: n - len(positions)])


def write_row(streams, row, kept, n, m):
    """Write the groups of (a block's) row."""
    for start in range(0, len(row), m):
        for p in group_positions(kept[start : start + m], n):
            write_value(streams.values, row[start + p] if kept[start + p] else row.dtype.type(0))
            write_number(streams.indices, p, bits_for(m))


def read_row(values, indices, row, n, m):
    for start in range(0, len(row), m):
        for _ in range(n):
            row[start + indices.number(bits_for(m))] += values.value(row.dtype)


def write_nm(dense, mask, n, m):
    streams = Streams()
    padded, kept = pad(dense, 1, m), pad(mask, 1, m)
    for s in range(len(padded)):
        write_row(streams, padded[s], kept[s], n, m)
        fill_byte(streams.indices)
    return streams


def read_nm(streams, shape, dtype, n, m):
    values, indices = Reader(streams.values), Reader(streams.indices)
    padded = np.zeros((shape[0], math.ceil(shape[1] / m) * m), dtype)
    for s in range(shape[0]):
        read_row(values, indices, padded[s], n, m)
        indices.skip_to_byte()
    values.done()
    indices.done()
    return padded[:, : shape[1]]


def write_crisp(dense, mask, block_cols, n, m, block):
    """N:M indices of every block, each block's filled up to a byte, then every block's column."""
    streams = Streams()
    padded, kept = pad(dense, block, block), pad(mask, block, block)
    for r in range(len(block_cols)):
        for column in block_cols[r]:
            for i in range(block):
                here = slice(column * block, (column + 1) * block)
                write_row(streams, padded[r * block + i, here], kept[r * block + i, here], n, m)
            fill_byte(streams.indices)
    for r in range(len(block_cols)):
        for column in block_cols[r]:
            write_number(streams.indices, int(column), bits_for(padded.shape[1] // block))
    return streams


def read_crisp(streams, shape, dtype, n, m, block, kept_blocks):
    padded = pad(np.zeros(shape, dtype), block, block)
    rows, columns = padded.shape[0] // block, padded.shape[1] // block
    values, indices = Reader(streams.values), Reader(streams.indices)
    blocks = []
    for _ in range(rows * kept_blocks):
        tile = np.zeros((block, block), dtype)
        for i in range(block):
            read_row(values, indices, tile[i], n, m)
        indices.skip_to_byte()
        blocks.append(tile)
    for r in range(rows):
        for e in range(kept_blocks):
            column = indices.number(bits_for(columns))
            padded[r * block : (r + 1) * block, column * block : (column + 1) * block] += blocks[r * kept_blocks + e]
    values.done()
    indices.done()
    return padded[: shape[0], : shape[1]]


def occupied_block_cols(mask, block):
    """Per block row, the columns of the blocks in which something is kept."""
    padded = pad(mask, block, block)
    found = []
    for top in range(0, padded.shape[0], block):
        lefts = range(0, padded.shape[1], block)
        found.append([left // block for left in lefts if padded[top : top + block, left : left + block].any()])
    return found


def write_blocked_ell(dense, block):
    """Each block row's blocks, then empty slots as zero blocks at column 0."""
    streams = Streams()
    padded = pad(dense, block, block)
    columns = occupied_block_cols(dense != 0, block)
    width = max(len(row) for row in columns)
    for r in range(len(columns)):
        for slot in range(width):
            empty = slot >= len(columns[r])
            column = 0 if empty else columns[r][slot]
            write_number(streams.indices, column, bits_for(padded.shape[1] // block))
            for i in range(block):
                for j in range(block):
                    value = padded[r * block + i, column * block + j]
                    write_value(streams.values, dense.dtype.type(0) if empty else value)
    return streams


def read_blocked_ell(streams, shape, dtype, block, width):
    padded = pad(np.zeros(shape, dtype), block, block)
    values, indices = Reader(streams.values), Reader(streams.indices)
    for r in range(padded.shape[0] // block):
        for _ in range(width):
            column = indices.number(bits_for(padded.shape[1] // block))
            for i in range(block):
                for j in range(block):
                    padded[r * block + i, column * block + j] += values.value(dtype)
    values.done()
    indices.done()
    return padded[: shape[0], : shape[1]]


def write_csr(dense):
    streams = Streams()
    total = sum(1 for value in dense.flat if value != 0)
    seen = 0
    write_number(streams.pointers, 0, bits_for(total + 1))
    for row in dense:
        for column, value in enumerate(row):
            if value != 0:
                write_value(streams.values, value)
                write_number(streams.indices, column, bits_for(dense.shape[1]))
                seen += 1
        write_number(streams.pointers, seen, bits_for(total + 1))
    return streams


def read_csr(streams, shape, dtype, nonzeros):
    values, indices, pointers = Reader(streams.values), Reader(streams.indices), Reader(streams.pointers)
    starts = [pointers.number(bits_for(nonzeros + 1)) for _ in range(shape[0] + 1)]
    dense = np.zeros(shape, dtype)
    for s in range(shape[0]):
        for _ in range(starts[s], starts[s + 1]):
            dense[s, indices.number(bits_for(shape[1]))] = values.value(dtype)
    for reader in (values, indices, pointers):
        reader.done()
    return dense


def write_ellpack(dense):
    """Each row's nonzeros, then empty slots as value 0 at column 0."""
    streams = Streams()
    width = max(sum(1 for value in row if value != 0) for row in dense)
    for row in dense:
        kept = [(column, value) for column, value in enumerate(row) if value != 0]
        for column, value in kept + [(0, dense.dtype.type(0))] * (width - len(kept)):
            write_value(streams.values, value)
            write_number(streams.indices, column, bits_for(dense.shape[1]))
    return streams


def read_ellpack(streams, shape, dtype, width):
    values, indices = Reader(streams.values), Reader(streams.indices)
    dense = np.zeros(shape, dtype)
    for s in range(shape[0]):
        for _ in range(width):
            dense[s, indices.number(bits_for(shape[1]))] += values.value(dtype)
    values.done()
    indices.done()
    return dense


def write_bitmap(dense, tile_rows, tile_cols):
    streams = Streams()
    padded = pad(dense, tile_rows, tile_cols)
    tiles = [
        padded[top : top + tile_rows, left : left + tile_cols]
        for top in range(0, padded.shape[0], tile_rows)
        for left in range(0, padded.shape[1], tile_cols)
    ]
    for tile in tiles:
        streams.indices.append(int((tile != 0).any()))
    for tile in tiles:
        if (tile != 0).any():
            for j in range(tile_cols):
                for i in range(tile_rows):
                    streams.indices.append(int(tile[i, j] != 0))
                    if tile[i, j] != 0:
                        write_value(streams.values, tile[i, j])
    return streams


def read_bitmap(streams, shape, dtype, tile_rows, tile_cols):
    padded = pad(np.zeros(shape, dtype), tile_rows, tile_cols)
    values, indices = Reader(streams.values), Reader(streams.indices)
    corners = [
        (top, left) for top in range(0, padded.shape[0], tile_rows) for left in range(0, padded.shape[1], tile_cols)
    ]
    occupied = [indices.number(1) for _ in corners]
    for (top, left), some in zip(corners, occupied, strict=True):
        if some:
            for j in range(tile_cols):
                for i in range(tile_rows):
                    if indices.number(1):
                        padded[top + i, left + j] = values.value(dtype)
    values.done()
    indices.done()
    return padded[: shape[0], : shape[1]]


def nonzeros_per_column(dense):
    return [sum(1 for s in range(dense.shape[0]) if dense[s, k] != 0) for k in range(dense.shape[1])]


def max_nonzeros_per_group(dense, m):
    most = 0
    for row in dense:
        for start in range(0, len(row), m):
            most = max(most, sum(1 for value in row[start : start + m] if value != 0))
    return most


def splitmix64(key, count):
    """The first `count` outputs of SplitMix64 from state `key`, in Python's own integers."""
    mask = 2**64 - 1
    outputs = []
    for _ in range(count):
        key = (key + 0x9E3779B97F4A7C15) & mask
        word = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & mask
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
        outputs.append(word ^ (word >> 31))
    return outputs


def stream(names, count):
    """The first `count` outputs of the stream called names[1:] under the seed names[0]."""
    key = names[0]
    for name in names[1:]:
        key = splitmix64(key, name + 1)[name]
    return splitmix64(key, count)


def choose(words, wanted):
    """Selection sampling: `wanted` of the positions of `words`, ascending, by the words' high halves."""
    chosen = []
    for position, word in enumerate(words):
        if (word >> 32) * (len(words) - position) >> 32 < wanted - len(chosen):
            chosen.append(position)
    return chosen


def draw(shape, n, m, block, kept_blocks, seed, layer, group):
    """Drawn weights [S, K], int8; `block` None for none."""
    rows, columns = shape
    words = stream((seed, layer, group, 1), rows * columns)
    block_columns = math.ceil(columns / block) if block else 0
    block_words = stream((seed, layer, group, 0), math.ceil(rows / block) * block_columns) if block else []
    dense = np.zeros(shape, np.int8)
    for s in range(rows):
        kept = choose(block_words[s // block * block_columns :][:block_columns], kept_blocks) if block else []
        for start in range(0, columns, m):
            if block is None or start // block in kept:
                group_words = words[s * columns + start : s * columns + min(start + m, columns)]
                for position in choose(group_words, n):
                    value = (group_words[position] % 2**32) * 255 >> 32
                    dense[s, start + position] = value - 128 if value < 128 else value - 127
    return dense
