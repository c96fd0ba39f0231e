"""The energy of one layer worked out by hand on the default machine and table, for every architecture.

A GEMM of 64 filters, 128 positions and 40 columns; 2:4 in blocks of 32, 75% zeros in all, no zero activations.
Every count and every figure is written out; of the engine come only the cycles (for the leakage) and one count.
"""

import numpy as np
import pytest

from crispsim.formats import PackedLayer, PackedModel
from crispsim.sim import Layer, simulate

LAYER = Layer(name="l", kind="gemm", in_height=40, in_width=1, kernel_h=1, kernel_w=1, in_channels=128, out_channels=64)
PARTS = ("mac_uj", "select_uj", "rf_uj", "accumulator_uj", "smem_uj", "metadata_uj", "leakage_uj")

# Figures of compute_energy.csv, pJ.
MAC = 0.2 + 0.1  # mul,int8,45,0.2 and add,int32,45,0.1: Horowitz, published
MUX2_BIT = 0.0078 / 3  # mux 4:1,per bit,45,0.0078: NanGate, three two-way MUXes
FULL_ADDER = 0.005  # full adder (popcount or prefix step),per FA,45,0.005: NanGate
CROSSBAR_BIT = 0.02126  # crossbar 1-to-4 NoC,per bit,40,0.02126: Aladdin plug-in
# Figures of cacti_sram.csv: read_pj and write_pj over the bytes of a word, leakage_mw.
SMEM_READ = 65.029 / 16  # 262144,128,16,1rw,45,300,itrs-lstp,65.029,77.5033,0.00921342,0.961891
SMEM_WRITE = 77.5033 / 16  # the same row
RF_READ = 1.66966 / 8  # 1024,64,1,1rw,45,300,itrs-lstp,1.66966,3.49161,3.53876e-05,0.0035993
RF_WRITE = 3.49161 / 8  # the same row
SUM_READ = 2.99896  # an access; 4096,32,16,1rw,45,300,itrs-lstp,2.99896,3.43254,0.000238878,0.0230851
SUM_WRITE = 3.43254  # the same row
LEAKAGE = 0.00921342 + 4 * 3.53876e-05  # mW: the SMEM's and four register files'
LEAKAGE_DUAL = 0.00921342 + 4 * 3.53876e-05 + 4 * 0.000238878  # and four accumulation buffers'


@pytest.fixture(scope="module")
def results():
    return simulate(
        [LAYER], nm="2:4", block=32, sparsity=0.75, activation_sparsity=0.0, all_layers=True, energy="horowitz45"
    )


def row_of(results, arch):
    (row,) = results.of(arch)
    return row.row()


def check(row, counts, picojoules, leakage_mw):
    """Compare the counts, the parts (given in pJ, but for leakage), their sum and what follows from it."""
    assert {name: row[name] for name in counts} == counts
    parts = {name: value / 1e6 for name, value in picojoules.items()}
    microseconds = row["cycles"] / 1000  # 1 GHz
    parts["leakage_uj"] = leakage_mw * microseconds / 1000  # mW x us = nJ
    assert {name: row[name] for name in PARTS} == pytest.approx(parts, rel=1e-12, abs=0)
    energy = sum(parts.values())
    assert row["energy_uj"] == pytest.approx(energy, rel=1e-12)
    assert row["edp_uj_us"] == pytest.approx(energy * microseconds, rel=1e-12)
    # 2 x 64 x 128 x 40 operations at 25% nonzero weights, all activations nonzero; 1 TOPS/W is 1 operation a pJ.
    assert row["tops_per_watt_dense"] == pytest.approx(655360 / (energy * 1e6), rel=1e-12)
    assert row["tops_per_watt_effectual"] == pytest.approx(163840 / (energy * 1e6), rel=1e-12)
    return energy


def check_dense(results):
    # Two bands of 32 rows, 40 columns in two tiles of 20, windows of 8: 16 waves.
    # Weights: 64 x 128 B for each tile. Chunks: 128 x 40 B for each band, written to and read by four cores.
    # Sums: 64 x 40 of 4 B in each wave; what the first does not read, the drain does.
    counts = {
        "macs_issued": 327680, "mux_selections": 0, "mux2_selections": 0, "popcount_adders": 0, "crossbar_bits": 0,
        "weight_bytes": 16384, "metadata_bytes": 0, "activation_bytes": 10240, "smem_write_bytes": 2560,
        "rf_read_bytes": 16384 + 4 * 10240, "rf_write_bytes": 16384 + 4 * 10240,
        "accumulator_read_bytes": 163840, "accumulator_write_bytes": 163840,
    }  # fmt: skip
    picojoules = {
        "mac_uj": 327680 * MAC,
        "select_uj": 0,
        "rf_uj": 57344 * RF_READ + 57344 * RF_WRITE,
        "accumulator_uj": 163840 * RF_READ + 163840 * RF_WRITE,
        "smem_uj": 26624 * SMEM_READ + 2560 * SMEM_WRITE,
        "metadata_uj": 0,
    }
    return check(row_of(results, "dense"), counts, picojoules, LEAKAGE)


def test_dense(results):
    check_dense(results)
    assert row_of(results, "dense")["energy_gain"] == 1


def test_stc(results):
    # The same weights at 2:4: 8 waves, 64 of 128 positions a row stored, with 2 bits each; to choose 1 of 4, 3 MUXes.
    counts = {
        "macs_issued": 163840, "mux_selections": 163840, "mux2_selections": 491520, "popcount_adders": 0,
        "crossbar_bits": 0, "weight_bytes": 8192, "metadata_bytes": 2048, "activation_bytes": 10240,
        "smem_write_bytes": 2560, "rf_read_bytes": 8192 + 2048 + 4 * 10240, "rf_write_bytes": 8192 + 2048 + 4 * 10240,
        "accumulator_read_bytes": 81920, "accumulator_write_bytes": 81920,
    }  # fmt: skip
    picojoules = {
        "mac_uj": 163840 * MAC,
        "select_uj": 491520 * 8 * MUX2_BIT,
        "rf_uj": 51200 * RF_READ + 51200 * RF_WRITE,
        "accumulator_uj": 81920 * RF_READ + 81920 * RF_WRITE,
        "smem_uj": 18432 * SMEM_READ + 2560 * SMEM_WRITE,
        "metadata_uj": 2048 * SMEM_READ,
    }
    energy = check(row_of(results, "stc"), counts, picojoules, LEAKAGE)
    assert row_of(results, "stc")["energy_gain"] == pytest.approx(check_dense(results) / energy, rel=1e-12)


def test_crisp_stc(results):
    # 2 of 4 blocks kept: 64 positions, 4 waves. Block columns: 2 of 2 B for each band and tile, in no register file.
    counts = {
        "macs_issued": 81920, "mux_selections": 81920, "mux2_selections": 245760, "popcount_adders": 0,
        "crossbar_bits": 0, "weight_bytes": 4096, "metadata_bytes": 1024 + 16, "activation_bytes": 5120,
        "smem_write_bytes": 2560, "rf_read_bytes": 4096 + 1024 + 4 * 5120, "rf_write_bytes": 4096 + 1024 + 4 * 5120,
        "accumulator_read_bytes": 40960, "accumulator_write_bytes": 40960,
    }  # fmt: skip
    picojoules = {
        "mac_uj": 81920 * MAC,
        "select_uj": 245760 * 8 * MUX2_BIT,
        "rf_uj": 25600 * RF_READ + 25600 * RF_WRITE,
        "accumulator_uj": 40960 * RF_READ + 40960 * RF_WRITE,
        "smem_uj": 9216 * SMEM_READ + 2560 * SMEM_WRITE,
        "metadata_uj": 1040 * SMEM_READ,
    }
    energy = check(row_of(results, "crisp-stc"), counts, picojoules, LEAKAGE)
    assert row_of(results, "crisp-stc")["energy_gain"] == pytest.approx(check_dense(results) / energy, rel=1e-12)


def test_dstc(results):
    # 2048 nonzero weights meet 40 activations each. Row tiles of 32 and 32, column tiles of 32 and 8; 8 slices of 16.
    # Bitmaps: weights 2 x 8 x 64 B, activations 8 x (64 + 16) B; slice maps 4 x 1 B, to the sequencer.
    # Every slice is written to two cores. Read: bitmaps in each of 32 steps (2 x 1024 + 2 x 640 B), the weights for
    # each of the 2 column tiles, and at each position its 40 activations for each eight of its nonzero weights.
    # Popcounts: on each of 2 x 8 slices 16 positions of 31 + 31 adders in one core, of 31 + 7 in the other.
    row = row_of(results, "dstc")
    eights = 365  # of nonzero weights at a position of a row tile, as drawn; 256 would be one at each
    counts = {
        "macs_issued": 81920, "mux_selections": 0, "mux2_selections": 0, "popcount_adders": 25600,
        "crossbar_bits": 5242880, "weight_bytes": 2048, "metadata_bytes": 1024 + 640 + 4, "activation_bytes": 5120,
        "smem_write_bytes": 2560, "rf_read_bytes": 3328 + 2 * 2048 + 40 * eights,
        "rf_write_bytes": 2 * (2048 + 1024 + 5120 + 640),
        "accumulator_read_bytes": 4 * 81920 + 4 * 2560, "accumulator_write_bytes": 4 * 81920,
    }  # fmt: skip
    picojoules = {
        "mac_uj": 81920 * MAC,
        "select_uj": 25600 * FULL_ADDER + 5242880 * CROSSBAR_BIT,
        "rf_uj": 22024 * RF_READ + 17664 * RF_WRITE,
        "accumulator_uj": 84480 * SUM_READ + 81920 * SUM_WRITE,
        "smem_uj": 7168 * SMEM_READ + 2560 * SMEM_WRITE,
        "metadata_uj": 1668 * SMEM_READ,
    }
    energy = check(row, counts, picojoules, LEAKAGE_DUAL)
    assert row["energy_gain"] == pytest.approx(check_dense(results) / energy, rel=1e-12)


def test_a_step_of_no_cycles_takes_popcounts_and_nothing_else():
    # Row 0 has weights at positions 0 and 1, the columns activations at 2 only: one step, in no time, no product.
    weights = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0]], np.int8)
    layer = PackedLayer(
        name="l", weights=weights, kind="gemm", in_channels=3, in_height=2, p=2, dtype="int8",
        activations=np.array([[0, 0, 5], [0, 0, 6]], np.int8).reshape(2, 1, 3),
    )  # fmt: skip
    row = row_of(simulate(weights=PackedModel(layers=(layer,)), archs=["dstc-given-masks"]), "dstc-given-masks")
    # 3 positions, each with a popcount of 3 bits (rows) and one of 2 (columns): 2 + 1 adders.
    assert (row["popcount_adders"], row["crossbar_bits"], row["macs_issued"]) == (9, 0, 0)
    assert (row["mac_uj"], row["select_uj"]) == (0, pytest.approx(9 * FULL_ADDER / 1e6, rel=1e-12))
    # Six sums of zeros are drained: 6 reads of 4 B, an access each.
    assert (row["accumulator_read_bytes"], row["accumulator_write_bytes"]) == (24, 0)
    assert row["accumulator_uj"] == pytest.approx(6 * SUM_READ / 1e6, rel=1e-12)
    # Two bitmaps of 2 B (3 x 3 bits) and 1 B (2 x 3 bits), read once; written with 2 weights and 2 activations.
    assert row["rf_uj"] == pytest.approx((3 * RF_READ + 7 * RF_WRITE) / 1e6, rel=1e-12)
    assert row["tops_per_watt_effectual"] == 0
