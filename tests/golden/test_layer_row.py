"""One row of results.csv worked out from the rules, every column, and the totals that it adds up to.

A grouped, padded, strided, dilated, batched convolution that is called three times; 2:4 in blocks of 16.
"""

import numpy as np
import pytest

from crispsim.formats import Pattern, draw_weights
from crispsim.formats.rng import random_word, stream_key
from crispsim.sim import Layer, Machine, simulate
from crispsim.sim.engine_state import CAUSES
from crispsim.sim.result import causes_of, columns_of

LAYER = Layer(
    name="l", kind="conv", in_height=6, in_width=5, kernel_h=3, kernel_w=2, in_channels=32, out_channels=24, groups=2,
    stride_h=2, pad_h=1, pad_w=1, dilation_w=2, batch=2, calls=3,
)  # fmt: skip
SEED, SPARSITY, ZEROS = 9, 0.75, 0.37
MACHINE = Machine.load("edge", {"clock_ghz": 0.5})

# Output height floor((6 + 2 - 3) / 2) + 1 = 3, width floor((5 + 2 - 3) / 1) + 1 = 5; the dilated filter is 3 x 3.
S, K, P = 24 // 2, 3 * 2 * 32 // 2, 3 * 5 * 2
# 96 / 16 = 6 block columns; kept 0.25 / 0.5 * 6 = 3 of them, so K' = 48 positions in 12 groups of 4.
KEPT = 3 * 16


@pytest.fixture(scope="module")
def results():
    return simulate(
        [LAYER],
        machine=MACHINE,
        nm="2:4",
        block=16,
        sparsity=SPARSITY,
        activation_sparsity=ZEROS,
        seed=SEED,
        all_layers=True,
    )


def brute_force_effectual():
    """Multiply every weight with every activation it meets, and count where neither is zero."""
    shape = (LAYER.batch, LAYER.in_height, LAYER.in_width, LAYER.in_channels)
    values = int(np.prod(shape))
    key, zeros_left, nonzero = stream_key(SEED, 0, 0, 2), int(ZEROS * values + 0.5), []
    zeros = zeros_left
    for counter in range(values):
        uniform = (int(random_word(key, np.uint64(counter))) >> 11) / 2**53
        zero = uniform * (values - counter) < zeros_left
        zeros_left -= zero
        nonzero.append(not zero)
    padded = np.pad(np.array(nonzero).reshape(shape), ((0, 0), (1, 1), (1, 1), (0, 0)))
    effectual = nonzeros = 0
    for group in range(2):
        matrix = draw_weights((S, K), Pattern(n=2, m=4, block=16), SPARSITY, SEED, 0, group).decode() != 0
        weights = matrix.reshape(S, 3, 2, 16)
        nonzeros += int(weights.sum())
        for sample in range(LAYER.batch):
            for y in range(3):
                for x in range(5):
                    patch = padded[sample, 2 * y : 2 * y + 3, x : x + 3 : 2, 16 * group : 16 * group + 16]
                    effectual += int((weights & patch).sum())
    return effectual, nonzeros, zeros / values


def test_every_column_of_a_row(results):
    (row,) = (row for row in results.rows if row.arch == "crisp-stc")
    got = row.row()
    effectual, nonzeros, zeros = brute_force_effectual()
    assert nonzeros == 2 * S * KEPT // 2
    # Per group: one band, 12 rows: core 0 has 8, core 1 has 4; B = 16 makes sets of two cores, the second set has none.
    # Windows of 16 positions: 3 waves. Column tile 22: 30 columns are 15 chunks, dealt to two tiles of 8 and 7.
    tiles, waves = 2, 3
    stored = S * KEPT // 2  # 288 values
    values, indices, blocks = stored * tiles, stored * 2 // 8 * tiles, 3 * 2 * tiles  # 2-bit indices, 2 B a block
    chunks = KEPT * P
    reads, writes = values + indices + blocks + chunks, S * P
    sums = S * P * waves * 4
    expected = {
        "layer": "l", "arch": "crisp-stc", "mode": "2:4 block 16", "mask": "hybrid", "nm": "2:4", "block": "16",
        "weight_sparsity": 1 - nonzeros / (24 * K), "activation_sparsity": zeros, "s": S, "k": K, "p": P, "groups": 2,
        "macs_dense": 2 * S * K * P, "macs_effectual": effectual, "macs_issued": 2 * stored * P,
        "compute_bound_cycles": 2 * waves * P,
        "smem_bound_cycles": 2 * max(-(-reads // 64), -(-writes // 64)),
        "busy_core_cycles": 2 * 2 * waves * P, "stall_rf_core_cycles": 0,
        "utilization": 2 * stored * P / (row.cycles * 256),
        "smem_read_bytes": 2 * reads, "smem_write_bytes": 2 * writes, "weight_bytes": 2 * values,
        "metadata_bytes": 2 * (indices + blocks), "activation_bytes": 2 * chunks,
        # Two active cores: each reads and writes its weights, indices and every chunk.
        "rf_read_bytes": 2 * (values + indices + 2 * chunks), "rf_write_bytes": 2 * (values + indices + 2 * chunks),
        "latency_us": row.cycles / 500, "accumulator_read_bytes": 2 * sums, "accumulator_write_bytes": 2 * sums,
        "mux_selections": 2 * stored * P, "mux2_selections": 3 * 2 * stored * P, "popcount_adders": 0,
        "crossbar_bits": 0, "column_tile": 22, "requested_sparsity": 0.75, "note": "", "calls": 3,
        "smem_needed_bytes": 2 * 6 * 5 * 32 + 2 * (stored + stored // 4 + 6) + 2 * writes,
        "smem_excess_bytes": 0, "smem_resident_ideal": "no",
    }  # fmt: skip
    assert {name: got[name] for name in expected} == expected
    assert set(columns_of(with_energy=False)) - set(expected) == {
        "cycles",
        "speedup",
        "stall_drain_core_cycles",
        "stall_smem_core_cycles",
        "stall_sync_core_cycles",
        "idle_core_cycles",
    }  # fmt: skip  (the twin's business, but for the two below)
    (dense,) = (row for row in results.rows if row.arch == "dense")
    assert got["speedup"] == dense.cycles / row.cycles
    assert sum(got[f"{cause}_core_cycles"] for cause in causes_of(with_dram=False)) == 4 * got["cycles"]


@pytest.mark.parametrize("arch", ["dense", "stc", "dstc", "crisp-stc"])
def test_totals_are_the_row_as_often_as_it_is_called(results, arch):
    (row,) = results.of(arch)
    values, total = row.row(), results.total(arch)
    for name in (
        "cycles", "macs_dense", "macs_effectual", "macs_issued", "compute_bound_cycles", "smem_bound_cycles",
        "smem_read_bytes", "smem_write_bytes", "weight_bytes", "metadata_bytes", "activation_bytes", "latency_us",
    ):  # fmt: skip
        assert getattr(total, name) == pytest.approx(3 * values[name]), name
    assert total.utilization == values["utilization"]
    assert total.speedup == values["speedup"]
    assert total.core_cycles == {cause: 3 * values.get(f"{cause}_core_cycles", 0) for cause in CAUSES}


def test_what_lies_beyond_the_smem():
    """A 64 x 64 GEMM of 4096 columns: 262144 B of input and as many of output, 4096 B of weights, in 262144 B."""
    layer = Layer(
        name="l", kind="gemm", in_height=4096, in_width=1, kernel_h=1, kernel_w=1, in_channels=64, out_channels=64
    )
    (row,) = simulate([layer], ["dense"]).rows
    assert row.row()["smem_needed_bytes"] == 2 * 262144 + 4096
    assert row.row()["smem_excess_bytes"] == 262144 + 4096
    total = simulate([layer], ["dense"]).total("dense")
    assert (total.layers_beyond_smem, total.largest_smem_excess_bytes) == (1, 262144 + 4096)
