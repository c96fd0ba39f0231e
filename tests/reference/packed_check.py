"""An independent check of a packed model file: does it hold what pruning promised?

Written from `formats/FORMAT.md` alone, without sight of the reader, with the `safetensors` library and json only. Every
layer's matrix is rebuilt, one convolution group at a time, and looked at as a matrix: the structure is checked where it
is, not where the file says it is. Header rules that hostile files break (overlaps, offsets) are the reader's business.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

STORED = {"int8": np.int8, "float16": np.float16, "float32": np.float32}


@dataclass(frozen=True)
class LayerCount:
    """What one layer keeps; all its groups together. Padding is never counted."""

    name: str
    patterned: bool  # prunable: it has blocks or N:M
    weights: int  # G S K
    slots: int  # weights that the pattern keeps: min(N, r) of each group of r real ones in a kept block
    nonzeros: int
    block_rows: int  # of all groups; 0 without blocks
    kept_blocks: int  # in each block row; 0 without blocks
    rank_column: int  # weights of a full rank column: one full block in each block row; 0 if there is none to prune
    matrices: tuple[np.ndarray, ...]  # one [S, K] per group, of those that could be rebuilt; float64, scales applied


@dataclass
class Findings:
    """Every violation found, as a line that names the layer, and the counts."""

    violations: list[str] = field(default_factory=list)
    layers: list[LayerCount] = field(default_factory=list)

    @property
    def weights(self) -> int:
        """Weights of the prunable layers."""
        return sum(layer.weights for layer in self.layers if layer.patterned)

    @property
    def slots(self) -> int:
        """Weights that the patterns of the prunable layers keep."""
        return sum(layer.slots for layer in self.layers if layer.patterned)

    @property
    def sparsity(self) -> Fraction:
        """Share of the prunable layers' weights that are pruned; 0 if there are none."""
        return 1 - Fraction(self.slots, self.weights) if self.weights else Fraction(0)

    @property
    def rank_column(self) -> int:
        """Weights of the largest rank column of any layer: the promised sparsity is met by less than this too much."""
        return max((layer.rank_column for layer in self.layers), default=0)

    def keeps(self, promised: Fraction | str) -> bool:
        """Tell whether the promised sparsity is met, and by less than one rank column too much."""
        allowed = (1 - Fraction(promised)) * self.weights
        return self.slots <= allowed < self.slots + max(self.rank_column, 1)


def check_packed(path: Path | str) -> Findings:
    """Check a packed model file; what cannot be looked at because of a violation is not counted."""
    findings = Findings()
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        findings.violations.append(f"file: not safetensors ({error})")
        return findings
    fixed = {"format": "crispsim", "version": "1", "bit_order": "little"}
    findings.violations += [
        f"metadata: {key} is {metadata.get(key)!r}, not {value!r}"
        for key, value in fixed.items()
        if metadata.get(key) != value
    ]
    if "layers" not in metadata:
        findings.violations.append("metadata: no layers")
        return findings
    for layer in json.loads(metadata["layers"]):
        own = {key.rpartition(".")[2]: tensors.pop(key) for key in list(tensors) if belongs(key, layer["name"])}
        wrong = [f"{layer['name']}: {line}" for line in _wrong_tensors(layer, own)]
        findings.violations += wrong
        if not wrong:
            _check_layer(layer, own, findings)
    findings.violations += [f"tensor {name}: belongs to no layer" for name in tensors]
    return findings


def belongs(tensor: str, layer: str) -> bool:
    """Tell whether a tensor is a layer's: `<name>.<role>`, the name itself may hold dots."""
    return tensor.rpartition(".")[0] == layer


# --- expected tensors ---


def _bits(m: int) -> int:
    """Return ceil(log2 M)."""
    return (m - 1).bit_length()


def _expected(layer: dict) -> dict[str, tuple[type, tuple[int, ...]]]:
    """Return dtype and shape of the weight tensors of a layer (FORMAT.md, section 4)."""
    (S, K), N, M, B = layer["shape"], layer["n"], layer["m"], layer["block"]
    stored, w = STORED[layer["dtype"]], _bits(layer["m"])
    if B is not None:
        R, E, L = -(-S // B), layer["kept_blocks"], B * N // M
        expected = {"values": (stored, (R, E, B, L)), "block_cols": (np.int32, (R, E))}
        if M > 1:
            expected["nm_index"] = (np.uint8, (R, E, -(-B * L * w // 8)))
    elif M > 1:
        width = -(-K // M) * N
        expected = {"values": (stored, (S, width)), "nm_index": (np.uint8, (S, -(-width * w // 8)))}
    else:
        expected = {"dense": (stored, (S, K))}
    if layer["unstructured"]:
        expected["unstructured"] = (np.uint8, (S, -(-K // 8)))
    lead = (layer["groups"],) if layer["groups"] > 1 else ()
    return {role: (dtype, (*lead, *shape)) for role, (dtype, shape) in expected.items()}


def _wrong_tensors(layer: dict, own: dict[str, np.ndarray]) -> list[str]:
    """Return a line for each tensor that is missing, superfluous, or of another dtype or shape."""
    expected = _expected(layer)
    lines = [f"no tensor {role}" for role in expected if role not in own]
    lines += [f"superfluous tensor {role}" for role in own if role not in expected and role != "activations"]
    for role, (dtype, shape) in expected.items():
        if role in own and (own[role].dtype != dtype or own[role].shape != shape):
            lines.append(f"{role} is {own[role].dtype} {own[role].shape}, not {np.dtype(dtype)} {shape}")
    return lines


# --- one layer ---


def _check_layer(layer: dict, own: dict[str, np.ndarray], findings: Findings) -> None:
    (S, K), N, M, B, G = layer["shape"], layer["n"], layer["m"], layer["block"], layer["groups"]
    matrices: list[np.ndarray] = []
    for group in range(G):
        where = f"{layer['name']}: " + (f"group {group}: " if G > 1 else "")
        arrays = {role: array[group] if G > 1 else array for role, array in own.items() if role != "activations"}
        lines, padded = _rebuild(layer, arrays)
        if padded is not None:
            lines += _look_at(padded, S, K, N, M)
            matrices.append(padded[:S, :K])
        findings.violations += [where + line for line in lines]
    if layer["zero_points"] is not None and (B is not None or M > 1) and any(layer["zero_points"]):
        findings.violations.append(f"{layer['name']}: zero points other than 0 with a pattern")
    slots, rank_column = G * S * K, 0
    if B is not None:
        columns = own["block_cols"].reshape(G, -1, layer["kept_blocks"])
        slots = sum(
            min(B, S - i * B) * _row_slots(max(0, min(B, K - int(c) * B)), N, M)
            for cols in columns
            for i, row in enumerate(cols)
            for c in row
        )
        rank_column = G * S * (B * N // M) if K > B else 0
    elif M > 1:
        slots = G * S * _row_slots(K, N, M)
    findings.layers.append(
        LayerCount(
            name=layer["name"],
            patterned=B is not None or M > 1,
            weights=G * S * K,
            slots=slots,
            nonzeros=sum(int(np.count_nonzero(matrix)) for matrix in matrices),
            block_rows=0 if B is None else G * -(-S // B),
            kept_blocks=layer["kept_blocks"] or 0,
            rank_column=rank_column,
            matrices=tuple(_weights(layer, matrices)),
        )
    )


def _row_slots(width: int, n: int, m: int) -> int:
    """Return how many weights N:M keeps of `width` real neighbours in a row, the first of which begins a group."""
    return width // m * n + min(n, width % m)


def _look_at(padded: np.ndarray, S: int, K: int, N: int, M: int) -> list[str]:
    """Return the violations of one matrix [S', K']: padding not zero, weights not finite, crowded groups."""
    lines, nonzero = [], padded != 0
    if not np.isfinite(padded.astype(np.float32)).all():
        lines.append("a weight is not finite")
    if nonzero[S:].any() or nonzero[:, K:].any():
        lines.append("padding is not zero")
    whole = np.pad(nonzero, ((0, 0), (0, -nonzero.shape[1] % M)))
    in_group = whole.reshape(whole.shape[0], -1, M).sum(axis=2)
    if (in_group > N).any():
        row, at = (int(i) for i in np.argwhere(in_group > N)[0])
        lines.append(f"row {row}: {in_group[row, at]} nonzeros in group {at}, at most {N}")
    return lines


def _weights(layer: dict, matrices: list[np.ndarray]) -> list[np.ndarray]:
    """Return the real weights of every group: scale * (stored - zero point), per row."""
    rows = layer["shape"][0]
    scales = np.array(layer["scales"] or [1.0] * rows * len(matrices)).reshape(-1, rows, 1)
    zeros = np.array(layer["zero_points"] or [0] * rows * len(matrices)).reshape(-1, rows, 1)
    return [scales[g] * (matrix.astype(np.float64) - zeros[g]) for g, matrix in enumerate(matrices)]


def _rebuild(layer: dict, arrays: dict[str, np.ndarray]) -> tuple[list[str], np.ndarray | None]:
    """Return the violations of one group's tensors and its matrix with padding; None if it cannot be rebuilt.

    Nothing can stand outside the kept blocks, and no block row can keep fewer: ascending columns are all different.
    """
    (S, K), N, M, B = layer["shape"], layer["n"], layer["m"], layer["block"]
    lines: list[str] = []
    if "unstructured" in arrays:
        _, spare = _unpack(arrays["unstructured"], K, 1)
        lines += ["unused bits of unstructured are not zero"] if spare else []
    if "dense" in arrays:
        return lines, arrays["dense"]
    values = arrays["values"]
    if M > 1:
        each = N * (values.shape[-1] // N) * (values.shape[-2] if B is not None else 1)
        index, spare = _unpack(arrays["nm_index"], each, _bits(M))
        index = index.reshape(values.shape)
        lines += ["unused bits of nm_index are not zero"] if spare else []
    else:
        index = np.zeros(values.shape, dtype=np.int64)
    if (index >= M).any():
        return [*lines, f"an index of {int(index.max())} in a group of {M}"], None
    in_group = index.reshape(*index.shape[:-1], -1, N)
    if (np.diff(in_group, axis=-1) <= 0).any():
        return [*lines, "indices of a group are not strictly ascending"], None
    column = np.arange(values.shape[-1]) // N * M + index  # within the block, or the row
    if B is None:
        padded = np.zeros((S, -(-K // M) * M), dtype=values.dtype)
        np.put_along_axis(padded, column, values, axis=1)
        return lines, padded

    cols, C = arrays["block_cols"].astype(np.int64), -(-K // B)
    if (cols < 0).any() or (cols >= C).any():
        return [*lines, f"a block column out of 0 .. {C - 1}"], None
    if (np.diff(cols, axis=1) <= 0).any():
        row = int(np.argwhere(np.diff(cols, axis=1) <= 0)[0][0])
        return [*lines, f"block row {row}: block columns are not strictly ascending"], None
    padded = np.zeros((-(-S // B) * B, C * B), dtype=values.dtype)
    for r, row in enumerate(cols):
        for e, c in enumerate(row):
            np.put_along_axis(padded[r * B : (r + 1) * B, c * B : (c + 1) * B], column[r, e], values[r, e], axis=1)
    return lines, padded


def _unpack(stream: np.ndarray, elements: int, width: int) -> tuple[np.ndarray, bool]:
    """Return the w-bit elements of the streams along the last axis, and whether any unused bit is set."""
    bits = np.unpackbits(stream, axis=-1, bitorder="little")
    used, spare = bits[..., : elements * width], bits[..., elements * width :]
    weight = 1 << np.arange(width, dtype=np.int64)
    return (used.reshape(*stream.shape[:-1], elements, width) * weight).sum(axis=-1), bool(spare.any())
