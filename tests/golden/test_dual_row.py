"""One dstc row of results.csv worked out by hand from the rules: every column, from given weights and activations.

Weights (S = 2, K = 3) and activations (P = 3 rows of K = 3):

    1 0 2      1 1 0
    0 0 3      0 1 1
               0 0 1

Nonzeros by position: a = 1, 0, 2 of the weights, b = 1, 2, 2 of the activations. All in one tile, one slice.
"""

import numpy as np

from crispsim.formats import PackedLayer, PackedModel
from crispsim.sim import simulate
from crispsim.sim.result import ENERGY_COLUMNS, columns_of

WEIGHTS = np.array([[1, 0, 2], [0, 0, 3]], np.int8)
INPUT = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]], np.int8)


def test_every_column_of_a_dual_row():
    layer = PackedLayer(
        name="l", weights=WEIGHTS, kind="gemm", in_channels=3, in_height=3, p=3, dtype="int8",
        activations=INPUT.reshape(3, 1, 3),
    )  # fmt: skip
    dense, row = simulate(weights=PackedModel(layers=(layer,)), archs=["dense", "dstc"], functional=True).rows
    # Products: position 0 has 1 x 1, position 1 no weight, position 2 2 x 2: five, in two steps of 8 x 8.
    pairs, steps = 1 * 1 + 2 * 2, 2
    # B0: 5 values, a bitmap of ceil(3 columns * 3 / 8) = 2 B, a slice map of 1 B. A0: 3 values, 1 B, 1 B.
    activations, weights, bitmaps, slice_maps = 5, 3, 2 + 1, 1 + 1
    reads, writes = activations + weights + bitmaps + slice_maps, 2 * 3
    # The 13 bytes are served in cycle 0, usable in 2; the step is 2..3, its end 4; the write in 4 + 4 = 8; latency 2.
    cycles = 8 + 2
    expected = {
        "layer": "l", "arch": "dstc", "mode": "dual", "mask": "unstructured", "nm": "dense", "block": "none",
        "weight_sparsity": 0.5, "activation_sparsity": 4 / 9, "s": 2, "k": 3, "p": 3, "groups": 1,
        "macs_dense": 18, "macs_effectual": pairs, "macs_issued": pairs,
        "cycles": cycles, "compute_bound_cycles": steps, "smem_bound_cycles": 1,
        # Core 0: waits in 0, 1, works in 2, 3, waits for its sums in 4..8, idle in 9. The others have no tile.
        "busy_core_cycles": steps, "stall_drain_core_cycles": 5, "stall_smem_core_cycles": 2,
        "stall_rf_core_cycles": 0, "stall_sync_core_cycles": 0, "idle_core_cycles": 1 + 3 * cycles,
        "utilization": pairs / (cycles * 256),
        "smem_read_bytes": reads, "smem_write_bytes": writes, "weight_bytes": weights,
        "metadata_bytes": bitmaps + slice_maps, "activation_bytes": activations,
        # Read: both bitmaps, and at positions 0 and 2 the weights and (one group of 8 weights) the activations once.
        "rf_read_bytes": bitmaps + (1 + 1) + (2 + 2), "rf_write_bytes": activations + weights + bitmaps,
        "latency_us": cycles / 1000, "speedup": dense.cycles / cycles,
        "accumulator_read_bytes": 4 * (pairs + writes), "accumulator_write_bytes": 4 * pairs,
        # Both tiles are 2 x 3: a popcount of 2 bits and one of 3 at each of 3 positions. Each sum moves there and back.
        "mux_selections": 0, "mux2_selections": 0, "popcount_adders": 3 * (1 + 2), "crossbar_bits": 2 * pairs * 32,
        "column_tile": 32, "requested_sparsity": "", "note": "", "calls": 1,
        # Input: 5 values and a bit for each of 9; weights: 3 values, bitmap, slice map; results.
        "smem_needed_bytes": (5 + 2) + (3 + 1 + 1) + 6, "smem_excess_bytes": 0,
        "smem_resident_ideal": "no",
    }  # fmt: skip
    energy = {name: value for name, value in row.row().items() if name in ENERGY_COLUMNS}  # test_energy_row.py's
    assert row.row() == expected | energy
    assert set(expected) == set(columns_of(with_energy=False))
