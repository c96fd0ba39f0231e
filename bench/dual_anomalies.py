"""The machines and layers of dstc that the search of `anomalies.py` draws from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..sim import ARCHITECTURES, InputError, Machine
from ..sim.activations import GivenColumns
from ..sim.archs import Architecture
from ..sim.weights import Weights

_OPERANDS = ("weights", "activations")

# Steps of all cores, were no slice empty: what keeps a run at some milliseconds.
_MOST_STEPS = 20_000

_MACHINE_FIELDS: dict[str, tuple[object, ...]] = {
    "core.count": tuple(range(1, 9)),
    "core.rows": (2, 8, 8),
    "core.lanes": (4, 8, 8, 16),
    "core.pipeline_cycles": (0, 1, 2, 4, 8, 16, 32),
    "smem.read_bytes_per_cycle": tuple(range(1, 65)),
    "smem.write_bytes_per_cycle": tuple(range(1, 65)),
    "smem.latency_cycles": tuple(range(1, 33)),
    "dstc.tile_rows": (1, 2, 4, 8, 16, 20, 32, 64),
    "dstc.tile_columns": (1, 2, 4, 5, 8, 16, 32, 64),
    "dstc.accumulator_values_per_cycle": (1, 4, 7, 16, 32, 64, 64, 116, 4096),
    "dstc.slice_positions": (1, 2, 3, 4, 8, 16, 16, 32),
    "dstc.slice_slots": (1, 2, 2, 3, 4),
    "dstc.step_rows": (1, 2, 4, 8, 8),
    "dstc.step_columns": (1, 2, 4, 8, 8, 16),
    "dstc.core_columns": (1, 2, 2),
    "operand_bits": (8, 8, 16),
    "sum_bits": (8, 32, 32),
    "output_bits": (8, 32),
}
_LAYER_FIELDS: dict[str, tuple[object, ...]] = {
    "s": (*range(1, 65), *range(66, 257, 4)),
    "k": (*range(1, 97), *range(100, 513, 8)),
    "p": (*range(1, 49), *range(50, 200, 6)),
    "mask": tuple(range(10)),
}
_MASK_FIELDS: dict[str, tuple[object, ...]] = {
    "density": (0.02, 0.1, 0.25, 0.5, 0.9, 1.0),
    "block": (1, 1, 4, 16),
    "kept": (0.1, 0.3, 0.7, 1.0, 1.0),
}
FIELDS = (
    _MACHINE_FIELDS
    | _LAYER_FIELDS
    | {f"{operand}.{name}": values for operand in _OPERANDS for name, values in _MASK_FIELDS.items()}
)


def build(case: dict[str, Any]) -> tuple[Architecture, Machine, Weights, int, GivenColumns]:
    """The architecture, machine, weights, columns and lowered input that a case stands for.

    Raises
    ------
    InputError
        There is no such machine, or the layer has too many steps on it.
    """
    values = {key: case[key] for key in _MACHINE_FIELDS}
    sums = case["dstc.tile_rows"] * case["dstc.tile_columns"]
    machine = Machine.load("edge", values | {"dstc.accumulator_bytes": sums * case["sum_bits"] // 8})
    s, k, p = case["s"], case["k"], case["p"]
    if -(-s // machine.dstc.tile_rows) * -(-p // machine.dstc.tile_columns) * k > (
        _MOST_STEPS * machine.dstc.slice_positions
    ):
        raise InputError(f"more than {_MOST_STEPS} steps")
    weights = Weights(shape=(s, k), matrix=_mask(case, "weights", (s, k)).astype(np.int8))
    return ARCHITECTURES["dstc"], machine, weights, p, GivenColumns(nonzero=_mask(case, "activations", (k, p)))


def describe_layer(case: dict[str, Any]) -> str:
    """The case's layer in words."""
    masks = [_describe_mask(case, operand) for operand in _OPERANDS]
    return f"dstc, {', '.join(masks)}, mask {case['mask']}, S {case['s']}, K {case['k']}, P {case['p']}"


def _mask(case: dict[str, Any], operand: str, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Where an operand is not zero: so dense in the blocks that are kept, and zero in all others."""
    rng = np.random.default_rng((case["mask"], _OPERANDS.index(operand)))
    block = case[f"{operand}.block"]
    kept = rng.random((-(-shape[0] // block), -(-shape[1] // block))) < case[f"{operand}.kept"]
    inside = np.repeat(np.repeat(kept, block, axis=0), block, axis=1)[: shape[0], : shape[1]]
    return inside & (rng.random(shape) < case[f"{operand}.density"])


def _describe_mask(case: dict[str, Any], operand: str) -> str:
    density, block, kept = (case[f"{operand}.{name}"] for name in _MASK_FIELDS)
    return f"{operand} {density} dense" + ("" if kept == 1 else f" in {kept} of the blocks of {block}")
