"""The reference twin against cycle counts worked out by hand from docs/microarchitecture.md, and its sums."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))  # the checkout: plain `pytest` does not add it

from tests.reference.stationary import STATES, RefMachine, RefResult, run_reference
from tests.reference.tiling import deal_chunks


def attribution(result: RefResult) -> list[dict[str, int]]:
    """Return each core's states that took any cycles."""
    return [
        {state: getattr(result, state)[core] for state in STATES if getattr(result, state)[core]}
        for core in range(len(result.busy))
    ]


def test_one_wave_one_chunk_bandwidth_one():
    # One window of 2 positions, one chunk of 2 columns: chunk 2*2 = 4 bytes, weights 2*2 = 4 bytes (M7, M8).
    # Read port, one byte a cycle: chunk in cycles 0-3, weights in 4-7, usable in 7 + 2 = 9 (M10, M11).
    # Step in 9-10, so e = 11; write of 2*2 bytes requestable in 11 + 4 = 15, served in 15-18 (M14, M15).
    # cycles = 18 + 2 = 20 (M16). Core: smem 0-8, busy 9-10, drain 11-18, idle 19.
    machine = RefMachine(cores=1, rows=2, lanes=2, read_bytes_per_cycle=1, write_bytes_per_cycle=1)
    result = run_reference(machine, arch="dense", s=2, k=2, p=2)
    assert result.cycles == 20
    assert attribution(result) == [{"busy": 2, "idle": 1, "stall_smem": 9, "stall_drain": 8}]
    assert (result.compute_bound_cycles, result.smem_bound_cycles) == (2, 8)
    # M4: 2*n*4 + 2*4 + 4*2*2 <= 1024 gives n <= 125, so 124.
    assert (result.mode, result.column_tile) == ("dense", 124)
    assert (result.weight_bytes, result.metadata_bytes, result.activation_bytes) == (4, 0, 4)
    assert (result.smem_read_bytes, result.smem_write_bytes) == (8, 4)
    assert (result.macs_issued, result.mux_selections) == (8, 0)
    assert (result.rf_write_bytes, result.rf_read_bytes) == (4 + 4, 4 + 2 * 2)
    # Written once per column, 2 rows of 4 bytes; the one wave is the first, so only the drain reads.
    assert (result.accumulator_write_bytes, result.accumulator_read_bytes) == (16, 16)


def test_bound_by_the_drain():
    # Three tiles of one chunk of one column, one wave each; every step's write is 5 bytes at 1 byte a cycle.
    # Cycle 0 serves chunks 0, 1, 2 and weights 0, 1 (5 bytes); weights 2 wait for the end of wave 0 (M9).
    # Step 0 in 1, e = 2, write in 2-6, sums free in 7; weights 2 are read in 2, usable in 3.
    # Step 1 in 7, write in 8-12; step 2 in 13, write in 14-18; cycles = 18 + 1.
    machine = RefMachine(
        cores=1,
        rows=1,
        lanes=1,
        chunk_columns=1,
        column_tile=1,
        output_bytes=5,
        write_bytes_per_cycle=1,
        latency_cycles=1,
        pipeline_cycles=0,
    )
    result = run_reference(machine, arch="dense", s=1, k=1, p=3)
    assert result.cycles == 19
    assert attribution(result) == [{"busy": 3, "stall_smem": 1, "stall_drain": 15}]
    assert (result.weight_bytes, result.activation_bytes, result.smem_write_bytes) == (3, 3, 15)
    assert result.smem_bound_cycles == 15


def test_bound_by_the_read_port():
    # Four waves of 2 positions, two steps of 1 column each, two chunk slots; every transfer is 2 bytes at 1 a
    # cycle. M10: positions of chunks 0,0,1,2,3,4,5,6, of weights 0,0,2,4, hence the order
    #     c0 c1 w0 w1 | c2 | c3 w2 | c4 | c5 w3 | c6 | c7
    # c0 0-1, c1 2-3, w0 4-5 (usable 6), w1 6-7 (8). Step 0 in 6, step 1 in 7: both slots are free in time.
    # c2 8-9 (10), c3 10-11 (12), w2 12-13 (14), c4 14-15 (16), c5 16-17 (18), w3 18-19 (20), c6 20-21 (22),
    # c7 22-23 (24). Steps 2-7 start when their chunk is usable: 10, 12, 16, 18, 22, 24; e = 25 for the last.
    # Its byte is written in 25; cycles = 26. The port never waits: 24 bytes end in cycle 23.
    machine = RefMachine(
        cores=1,
        rows=1,
        lanes=2,
        chunk_columns=1,
        chunk_slots=2,
        read_bytes_per_cycle=1,
        latency_cycles=1,
        pipeline_cycles=0,
    )
    result = run_reference(machine, arch="dense", s=1, k=8, p=2)
    assert result.cycles == 26
    assert attribution(result) == [{"busy": 8, "stall_smem": 17, "stall_drain": 1}]
    assert (result.smem_bound_cycles, result.compute_bound_cycles) == (24, 8)


def test_two_sets_share_the_read_port():
    # Default machine, 2:4 in blocks of 16, one kept block per block row: sets {0,1} and {2,3}, one window of
    # 16 positions, one chunk. Chunks 2*16 = 32 bytes; weights 8*4*2 = 64 values + 16 bytes of indices = 80,
    # and 2 bytes of block index on cores 0 and 2. Round robin at 64 bytes a cycle, bytes and usable cycle:
    #     set 0 chunk 0-31 (2), set 1 chunk 32-63 (2), core 0 64-145 (2 + 2 = 4), core 2 146-227 (3 + 2 = 5),
    #     core 1 228-307 (4 + 2 = 6), core 3 308-387 (6 + 2 = 8)
    # Set 0 runs in 6-7, e = 8, writes requestable in 12 and served then (2 of 16 bytes); set 1 in 8-9,
    # e = 10, writes in 14. cycles = 14 + 2.
    # core 0: smem 0-3, sync 4-5, busy 6-7, drain 8-12, idle 13-15; core 1: smem 0-5, then the same
    # core 2: smem 0-4, sync 5-7, busy 8-9, drain 10-14, idle 15; core 3: smem 0-7, then the same
    result = run_reference(RefMachine(), arch="crisp-stc", s=32, k=32, p=2, n=2, m=4, block=16, block_cols=[[0], [1]])
    assert result.cycles == 16
    assert attribution(result) == [
        {"busy": 2, "idle": 3, "stall_smem": 4, "stall_drain": 5, "stall_sync": 2},
        {"busy": 2, "idle": 3, "stall_smem": 6, "stall_drain": 5},
        {"busy": 2, "idle": 1, "stall_smem": 5, "stall_drain": 5, "stall_sync": 3},
        {"busy": 2, "idle": 1, "stall_smem": 8, "stall_drain": 5},
    ]
    assert (result.mode, result.column_tile) == ("2:4", 22)
    assert (result.weight_bytes, result.metadata_bytes, result.activation_bytes) == (256, 64 + 4, 64)
    assert (result.macs_issued, result.mux_selections) == (512, 512)
    assert (result.rf_write_bytes, result.rf_read_bytes) == (4 * 32 + 4 * 80, 4 * 80 + 4 * 16 * 2)
    assert (result.accumulator_write_bytes, result.accumulator_read_bytes) == (256, 256)


def test_inactive_core_in_the_last_band_is_idle_then_drains():
    # Two cores of one row, S = 3: core 1 is inactive in band 1. Everything is one byte at 1 byte a cycle but
    # the writes, 4 bytes each. Reads c0 c1 w0(0) w0(1) w1(0) in cycles 0-4, usable one later.
    # Step 0 in 4, e = 5: core 0 writes in 5-8, core 1 in 9-12. Step 1 needs core 0's sums only, free in 9: it
    # runs in 9, e = 10, and its write waits for the port until 13: 13-16. cycles = 17.
    # core 0: smem 0-2, sync 3, busy 4, drain 5-8, busy 9, drain 10-16
    # core 1: smem 0-3, busy 4, idle 5-9 (inactive in the next band, though its sums still drain), drain 10-12
    #         (no steps are left and its last byte goes in cycle 12), idle 13-16
    machine = RefMachine(
        cores=2,
        rows=1,
        lanes=1,
        chunk_columns=1,
        output_bytes=4,
        read_bytes_per_cycle=1,
        write_bytes_per_cycle=1,
        latency_cycles=1,
        pipeline_cycles=0,
    )
    result = run_reference(machine, arch="dense", s=3, k=1, p=1)
    assert result.cycles == 17
    assert attribution(result) == [
        {"busy": 2, "stall_smem": 3, "stall_drain": 11, "stall_sync": 1},
        {"busy": 1, "idle": 9, "stall_smem": 4, "stall_drain": 3},
    ]
    assert result.rf_write_bytes == 3 + 3  # the first chunk into two cores, the second into one


def test_register_file_read_stall():
    # Window 4 bytes, 3 bytes a cycle: rho = 2, in the short second wave (2 positions) too. Chunks of 2 and 1
    # columns. All 8+4+4+2 bytes of chunks and 4+2 of weights are read in cycle 0, usable in 1.
    # Steps of 4, 2, 4, 2 cycles: 1-4, 5-6, 7-10, 11-12. Last e = 13, write in 13 + 1 = 14, cycles = 15.
    machine = RefMachine(cores=1, rows=1, lanes=4, rf_read_bytes_per_cycle=3, latency_cycles=1, pipeline_cycles=1)
    result = run_reference(machine, arch="dense", s=1, k=6, p=3)
    assert result.cycles == 15
    assert attribution(result) == [{"busy": 6, "stall_rf": 6, "stall_smem": 1, "stall_drain": 2}]
    assert result.compute_bound_cycles == 12
    assert result.macs_issued == (4 + 2) * 3
    assert result.rf_read_bytes == (4 + 2) + (4 + 2) * 3
    assert (result.accumulator_write_bytes, result.accumulator_read_bytes) == (24, 12 + 12)


def test_weights_of_a_later_wave_stand_behind_the_chunk_of_their_step():
    # Two cores sharing one stream, three waves of two steps (chunks of 1 column), four slots: chunks stand at
    # 0,0,0,0,1,2, weights of waves 0 and 1 at 0, of wave 2 at F(1) + j = 2 for core 0 and 3 for core 1 (M10).
    # One byte each at 1 a cycle: c0 c1 c2 c3 w00 w01 w10 w11 in 0-7; usable w01 in 6, w10 in 7, w11 in 8.
    # Step 0 in 6 (core 0 waits in sync in 5), step 1 in 7; c4 needs step 0: byte 8, usable 9; c5 needs step 1
    # (ended, e = 8): byte 9 (10); w20 needs wave 0: byte 10 (11), w21 byte 11 (12).
    # Wave 1: w11 is usable in 8: steps 2, 3 in 8, 9. Wave 2: step 4 in 12 (core 0 in sync in 11), step 5 in
    # 13. Writes of step 4 in 13 (64 bytes a cycle), of step 5 in 14; cycles = 15.
    machine = RefMachine(
        cores=2,
        rows=1,
        lanes=1,
        chunk_columns=1,
        read_bytes_per_cycle=1,
        latency_cycles=1,
        pipeline_cycles=0,
    )
    result = run_reference(machine, arch="dense", s=2, k=3, p=2)
    assert result.cycles == 15
    assert attribution(result) == [
        {"busy": 6, "stall_smem": 5 + 1, "stall_drain": 1, "stall_sync": 2},
        {"busy": 6, "stall_smem": 6 + 2, "stall_drain": 1},
    ]


def test_chunks_are_dealt_evenly_longer_tiles_first():
    # 13 columns: chunks of 2 2 2 2 2 2 1; tiles of at most 6 columns: three, of 3, 2 and 2 chunks.
    tiles = deal_chunks(RefMachine(), 13, 6)
    assert tiles == [[2, 2, 2], [2, 2], [2, 1]]


def test_stc_decides_by_the_mask():
    half = np.zeros((8, 10), bool)
    half[:, [0, 3, 5, 6, 8, 9]] = True
    assert run_reference(RefMachine(), arch="stc", s=8, k=10, p=2, mask=half).mode == "2:4"
    half[4, 7] = True  # a third in one aligned group of 4
    assert run_reference(RefMachine(), arch="stc", s=8, k=10, p=2, mask=half).mode == "dense"


@pytest.mark.parametrize(
    "machine, pattern, message",
    [
        (RefMachine(), {"n": 9, "m": 16}, "needs 9 lanes"),
        (RefMachine(), {"n": 2, "m": 4, "block": 12, "block_cols": [[0]]}, "not a multiple of lcm"),
        (RefMachine(), {"n": 1, "m": 4, "block": 24, "block_cols": [[0]]}, "neither divides"),
        (RefMachine(rf_bytes=255), {}, "no room"),
        (RefMachine(column_tile=28), {}, "column_tile=28"),
        (RefMachine(column_tile=3), {}, "column_tile=3"),
    ],
)
def test_refusals(machine, pattern, message):
    with pytest.raises(ValueError, match=message):
        run_reference(machine, arch="crisp-stc", s=8, k=16, p=4, **pattern)


@pytest.mark.parametrize("seed", range(40))
def test_every_core_cycle_has_one_state(seed):
    rng = random.Random(seed)
    n, m = rng.choice([(1, 1), (1, 2), (2, 4), (1, 4), (3, 4), (4, 4)])
    columns = rng.choice([1, 2, 3])
    machine = RefMachine(
        cores=4,
        rows=rng.choice([2, 4]),
        lanes=rng.choice([4, 8]),
        rf_bytes=rng.choice([1024, 2048]),
        rf_read_bytes_per_cycle=rng.choice([0, 0, 3, 16]),
        operand_bytes=rng.choice([1, 2]),
        chunk_columns=columns,
        column_tile=columns * rng.choice([0, 1, 2, 3]),
        chunk_slots=rng.choice([1, 2, 4]),
        read_bytes_per_cycle=rng.choice([1, 7, 42, 64]),
        write_bytes_per_cycle=rng.choice([1, 7, 42, 64]),
        latency_cycles=rng.choice([1, 2, 5]),
        pipeline_cycles=rng.choice([0, 4]),
    )
    s, k, p = rng.randint(1, 40), rng.randint(1, 50), rng.randint(1, 30)
    block = rng.choice([None, 4, 8, 16])
    if block is not None:
        across, down = range(-(-k // block)), -(-s // block)
        kept = [sorted(rng.sample(across, rng.randint(1, len(across)))) for _ in range(down)]
    else:
        kept = None
    result = run_reference(machine, arch="crisp-stc", s=s, k=k, p=p, n=n, m=m, block=block, block_cols=kept)
    for core in range(machine.cores):
        assert sum(getattr(result, state)[core] for state in STATES) == result.cycles
    assert result.cycles >= max(result.compute_bound_cycles, result.smem_bound_cycles)
    assert result.smem_write_bytes == s * p
    assert result.accumulator_read_bytes == result.accumulator_write_bytes
    assert sum(result.busy) > 0
