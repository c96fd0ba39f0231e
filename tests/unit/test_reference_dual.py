"""The dual-side twin against cycle counts worked out by hand from docs/microarchitecture.md, and its sums."""

from dataclasses import replace

import numpy as np
import pytest

from tests.reference.dual import DualMachine, run_dual
from tests.reference.result import STATES, RefResult

# One MAC, sums and slices of one by one, latency 1, no pipeline: what the hand-worked cases start from. An item of
# one nonzero then has 1 byte of it, 1 of bitmap and, first of its stream in a band and turn, 1 of slice map (M21).
TINY = DualMachine(
    cores=1,
    core_columns=1,
    rows=1,
    lanes=1,
    tile_rows=1,
    tile_columns=1,
    slice_positions=1,
    step_rows=1,
    step_columns=1,
    latency_cycles=1,
    pipeline_cycles=0,
)


def mask(*rows: str) -> np.ndarray:
    """Return a boolean matrix from rows such as "1.1"."""
    return np.array([[mark == "1" for mark in row] for row in rows])


def attribution(result: RefResult) -> list[dict[str, int]]:
    """Return each core's states that took any cycles, having checked that they fill all of its cycles."""
    cores = [{state: getattr(result, state)[core] for state in STATES} for core in range(len(result.busy))]
    assert all(sum(states.values()) == result.cycles for states in cores)
    return [{state: cycles for state, cycles in states.items() if cycles} for states in cores]


# --- one core ---


def test_one_slice_of_one_position():
    # B goes first (M23): 3 bytes at one a cycle in 0-2, usable in 2 + 2 = 4; A in 3-5, usable in 7.
    # The step runs in 7, e = 8; its byte is requestable in 8 + 4 = 12 and written in 12; cycles = 12 + 2.
    # smem 0-6, busy 7, drain 8-12, idle 13.
    machine = replace(TINY, read_bytes_per_cycle=1, write_bytes_per_cycle=1, latency_cycles=2, pipeline_cycles=4)
    result = run_dual(machine, mask("1"), mask("1"))
    assert result.cycles == 14
    assert attribution(result) == [{"busy": 1, "idle": 1, "stall_smem": 7, "stall_drain": 5}]
    assert (result.mode, result.column_tile) == ("dual", 1)
    assert (result.compute_bound_cycles, result.smem_bound_cycles) == (1, 6)
    assert (result.weight_bytes, result.metadata_bytes, result.activation_bytes) == (1, 2 + 2, 1)
    assert (result.smem_read_bytes, result.smem_write_bytes) == (6, 1)
    assert (result.macs_issued, result.mux_selections) == (1, 0)
    # Two bitmaps and two operands, in and out; one sum written, read and drained.
    assert (result.rf_write_bytes, result.rf_read_bytes) == (4, 4)
    assert (result.accumulator_write_bytes, result.accumulator_read_bytes) == (4, 4 + 4)


@pytest.mark.parametrize("slots", [1, 2])
def test_zero_cycle_step_before_another(slots):
    # Slices of two positions: in the first weights and activations never meet, in the second always.
    # B items: 1 + 1 + 1 = 3 and 2 + 1 = 3 bytes, A items the same; one byte a cycle. With two slots:
    #     B0 0-2 (usable 3), B1 3-5 (6), A0 6-8 (9), A1 9-11 (12)
    # Step 0 starts and ends in 9. Step 1 runs in 12-13, e = 14, its byte is written in 14; cycles = 15.
    # With one slot: B0 0-2 (3), A0 3-5 (6); step 0 starts and ends in 6, and both slots can be served in 6:
    #     B1 6-8 (9), A1 9-11 (12), and the rest is the same.
    machine = replace(TINY, slice_positions=2, slice_slots=slots, read_bytes_per_cycle=1)
    result = run_dual(machine, mask("1.11"), mask(".", "1", "1", "1"))
    assert result.cycles == 15
    assert attribution(result) == [{"busy": 2, "stall_smem": 12, "stall_drain": 1}]
    assert result.macs_issued == 2
    assert result.rf_write_bytes == 2 * (1 + 1) + 2 * (2 + 1)
    assert result.rf_read_bytes == 4 + 2 * (1 + 1)  # the zero-cycle step reads its bitmaps, and no operands


def test_zero_cycle_step_ends_a_tile():
    # The same slices the other way round: B0 2 + 1 + 1 = 4 bytes 0-3 (usable 4), B1 1 + 1 = 2 bytes 4-5 (6),
    # A0 6-9 (10), A1 10-11 (12). Step 0 runs in 10-11; in 12 step 1 starts and ends, and with it the tile.
    # The byte is written in 12; cycles = 13.
    machine = replace(TINY, slice_positions=2, read_bytes_per_cycle=1)
    result = run_dual(machine, mask("111."), mask("1", "1", ".", "1"))
    assert result.cycles == 13
    assert attribution(result) == [{"busy": 2, "stall_smem": 10, "stall_drain": 1}]


def test_several_zero_cycle_steps_in_one_cycle():
    # Three zero-cycle steps. Cycle 0 serves two slices of each side, usable in 1: both steps start and end in 1,
    # the third slices are served in that cycle and usable in 2. The tile ends in 2, is written in 2; cycles = 3.
    result = run_dual(replace(TINY, slice_positions=2), mask("1.1.1."), mask(*".1.1.1"))
    assert result.cycles == 3
    assert attribution(result) == [{"stall_smem": 2, "stall_drain": 1}]
    assert (result.compute_bound_cycles, result.macs_issued, result.rf_read_bytes) == (0, 0, 6)


def test_tiles_without_steps():
    # Five tiles of one column: the first, third and last have no activations. Cycle 0 serves the items of the two
    # others, 4 of 3 bytes, usable in 1. Results of 2 bytes at one a cycle, pipeline 3:
    # Tile 0 ends in 0: written in 3-4. Tile 1's step waits for that, runs in 5, e = 6; tile 2 ends in 6 as well;
    # both are requestable in 9: 9-10, 11-12. Tile 3's step runs in 13, e = 14; with tile 4: 17-18, 19-20.
    # smem 0, drain 1-4, busy 5, drain 6-12, busy 13, drain 14-20.
    machine = replace(TINY, output_bytes=2, write_bytes_per_cycle=1, pipeline_cycles=3)
    result = run_dual(machine, mask("1"), mask(".1.1."))
    assert result.cycles == 21
    assert attribution(result) == [{"busy": 2, "stall_smem": 1, "stall_drain": 18}]
    assert (result.weight_bytes, result.metadata_bytes, result.activation_bytes) == (2, 8, 2)
    assert (result.smem_write_bytes, result.smem_bound_cycles) == (10, 10)
    assert (result.accumulator_write_bytes, result.accumulator_read_bytes) == (2 * 4, 2 * 4 + 5 * 4)


def test_no_steps_at_all():
    # Both tiles end in 0 and are requestable in 3: 3-4, 5-6; cycles = 7. Nothing is read.
    machine = replace(TINY, output_bytes=2, write_bytes_per_cycle=1, pipeline_cycles=3)
    result = run_dual(machine, mask("."), mask("11"))
    assert result.cycles == 7
    assert attribution(result) == [{"stall_drain": 7}]
    assert (result.smem_read_bytes, result.compute_bound_cycles, result.smem_bound_cycles) == (0, 0, 4)
    assert (result.rf_read_bytes, result.rf_write_bytes, result.accumulator_read_bytes) == (0, 0, 8)


def test_stall_rf_is_counted_position_by_position():
    # One tile of 4 x 4, one slice of 4 positions, steps of 2 x 4 MACs, 5 sums a cycle:
    #     a = 4, b = 4: 2 * 1 blocks, ceil(16/5) = 4 cycles: 2 of them stall_rf
    #     a = 1, b = 2: 1 block, 1 cycle;   a = 1, b = 4: 1 block, 1 cycle;   a = 0, b = 4: nothing
    # 4 busy, 2 stall_rf. (Over the whole step, 22 sums would take 5 cycles.)
    # A: 6 nonzeros, 16 bits of bitmap, map: 6 + 2 + 1 = 9 bytes; B: 14 + 2 + 1 = 17; all in cycle 0, usable in 1.
    # The step runs in 1-6, the 16 bytes are written in 7; cycles = 8.
    machine = replace(
        TINY,
        rows=2,
        lanes=4,
        tile_rows=4,
        tile_columns=4,
        slice_positions=4,
        step_rows=2,
        step_columns=4,
        accumulator_values_per_cycle=5,
    )
    result = run_dual(machine, mask("1.1.", "1...", "11..", "1..."), mask("1111", "..11", "1111", "1111"))
    assert result.cycles == 8
    assert attribution(result) == [{"busy": 4, "stall_rf": 2, "stall_smem": 1, "stall_drain": 1}]
    assert (result.compute_bound_cycles, result.smem_bound_cycles) == (6, 1)
    assert (result.weight_bytes, result.metadata_bytes, result.activation_bytes) == (6, 6, 14)
    assert result.macs_issued == 16 + 2 + 4
    assert result.rf_write_bytes == (6 + 2) + (14 + 2)
    # Bitmaps; then weights once and activations ceil(a/2) times: 4 + 4*2, 1 + 2, 1 + 4, and nothing without weights.
    assert result.rf_read_bytes == 4 + 12 + 3 + 5
    assert (result.accumulator_write_bytes, result.accumulator_read_bytes) == (22 * 4, 22 * 4 + 16 * 4)


def test_drain_gates_the_next_tile():
    # Two tiles of two columns. Everything is read in cycle 0. Step 0 runs in 1-2, e = 3; 2 sums of 3 bytes,
    # requestable in 5, one byte a cycle: 5-10. Step 1 runs in 11-12, e = 13, 15-20; cycles = 21.
    machine = replace(TINY, tile_columns=2, output_bytes=3, write_bytes_per_cycle=1, pipeline_cycles=2)
    result = run_dual(machine, mask("1"), mask("1111"))
    assert result.cycles == 21
    assert attribution(result) == [{"busy": 4, "stall_smem": 1, "stall_drain": 16}]


def test_drain_gates_a_zero_cycle_step():
    # Two tiles; in each, slice 0 is a zero-cycle step and slice 1 takes one cycle. Cycle 0 serves tile 0's items,
    # usable in 1: step 0 starts and ends in 1, step 1 runs in 1. Slice 0 of tile 1 takes the slots of step 0 in
    # cycle 1, slice 1 those of step 1 in cycle 2; usable in 2 and 3. Tile 0: e = 2, 3 bytes in 2-4.
    # In 5 tile 1's first step starts and ends, its second runs in 5, e = 6, 6-8; cycles = 9.
    # smem 0, busy 1, drain 2-4, busy 5, drain 6-8.
    machine = replace(TINY, slice_positions=2, output_bytes=3, write_bytes_per_cycle=1)
    result = run_dual(machine, mask("1.1."), mask("..", "11", "11", ".."))
    assert result.cycles == 9
    assert attribution(result) == [{"busy": 2, "stall_smem": 1, "stall_drain": 6}]


# --- several cores ---


def test_a_partner_skips_a_slice():
    # Two cores of one core row; core 1 has no activations in slice 1. One byte a cycle, first items 3 bytes, then 2:
    #     B_0 s0 0-2 (usable 3), B_1 s0 3-5 (6), B_0 s1 6-7 (8), B_1 s2 8-9 (10): the B slots are full
    #     A s0 10-12 (13), A s1 13-14 (15)
    # Both cores run s0 in 13, e = 14: slots of B_0, B_1 and A come free. Core 0 runs s1 in 15.
    #     B_0 s2 15-16 (17), A s2 17-18 (19)
    # Both run s2 in 19, e = 20: core 0 writes in 20, core 1 in 21; cycles = 22.
    # core 0: smem 0-12, busy 13, smem 14, busy 15, smem 16-18, busy 19, drain 20, idle 21
    # core 1: smem 0-12, busy 13, smem 14-18, busy 19, drain 20-21
    machine = replace(TINY, cores=2, core_columns=2, read_bytes_per_cycle=1, write_bytes_per_cycle=1)
    result = run_dual(machine, mask("111"), mask("11", "1.", "11"))
    assert result.cycles == 22
    assert attribution(result) == [
        {"busy": 3, "idle": 1, "stall_smem": 17, "stall_drain": 1},
        {"busy": 2, "stall_smem": 18, "stall_drain": 2},
    ]
    assert (result.weight_bytes, result.metadata_bytes, result.activation_bytes) == (3, 8 + 3, 5)
    assert result.rf_write_bytes == (2 * 2 + 2 + 2 * 2) + 5 * 2  # slice 1 of A goes to core 0 only
    assert (result.macs_issued, result.rf_read_bytes) == (5, 5 * 4)


def test_a_shared_slice_stays_for_the_slower_core():
    # One slot. Cycle 0 serves slice 0 of B_0, B_1 and A. Core 0 (b = 1) runs in 1, core 1 (b = 2) in 1-2.
    # In 2 only B_0 has its slot back, in 3 B_1 and A: slice 1 of A is usable in 4 for both. Core 0 runs in 4,
    # writes in 5; core 1 in 4-5, writes in 6; cycles = 7.
    machine = replace(TINY, cores=2, core_columns=2, tile_columns=2, slice_slots=1)
    result = run_dual(machine, mask("11"), mask("1.11", "1.11"))
    assert result.cycles == 7
    assert attribution(result) == [
        {"busy": 2, "idle": 1, "stall_smem": 3, "stall_drain": 1},
        {"busy": 4, "stall_smem": 2, "stall_drain": 1},
    ]


def test_slots_come_free_in_any_order():
    # Core 0 takes slices 1 and 2, core 1 slices 0 (4 cycles) and 2. Cycle 0 serves all of B, and slices 0 and 1 of A.
    # Core 0 runs slice 1 in 1, which frees a slot of A in 2, while slice 0 stays until 5. Slice 2 is served in 2.
    # Core 0 runs it in 3, e = 4, writes in 4; core 1 runs slice 0 in 1-4, 2 in 5, writes in 6; cycles = 7.
    machine = replace(TINY, cores=2, core_columns=2, tile_columns=4)
    result = run_dual(machine, mask("111"), mask("....1111", "1.......", "1...1..."))
    assert result.cycles == 7
    assert attribution(result) == [
        {"busy": 2, "idle": 2, "stall_smem": 2, "stall_drain": 1},
        {"busy": 5, "stall_smem": 1, "stall_drain": 1},
    ]


def test_b_before_a_and_taking_turns():
    # Two by two cores, two slices, one byte a cycle:
    #     B_0 s0 0-2 (3), B_1 s0 3-5 (6), B_0 s1 6-7 (8), B_1 s1 8-9 (10)
    #     A_0 s0 10-12 (13), A_1 s0 13-15 (16), A_0 s1 16-17 (18), A_1 s1 18-19 (20)
    # Cores 0, 1 run in 13 and 18, e = 19, and write in 19 and 20; cores 2, 3 in 16 and 20, and write in 21 and 22.
    machine = replace(TINY, cores=4, core_columns=2, read_bytes_per_cycle=1, write_bytes_per_cycle=1)
    result = run_dual(machine, mask("11", "11"), mask("11", "11"))
    assert result.cycles == 23
    assert attribution(result) == [
        {"busy": 2, "idle": 3, "stall_smem": 17, "stall_drain": 1},
        {"busy": 2, "idle": 2, "stall_smem": 17, "stall_drain": 2},
        {"busy": 2, "idle": 1, "stall_smem": 19, "stall_drain": 1},
        {"busy": 2, "stall_smem": 19, "stall_drain": 2},
    ]


def test_the_round_robin_within_b_remembers():
    # Two by two cores, tiles of 4 x 2, three slices, one slot, one byte a cycle. a = 1 in core row 0, 4 in row 1;
    # b = 1 everywhere but 2 in slice 0 of B_0. Items: B_0 4, 2, 2 bytes, B_1 3, 2, 2, A_0 3, 2, 2, A_1 6, 5, 5.
    #     B_0 s0 0-3 (4), B_1 s0 4-6 (7), A_0 s0 7-9 (10), A_1 s0 10-15 (16)
    # Core 0 runs in 10-11, core 1 in 10, core 2 in 16-23, core 3 in 16-19. A_0 is free in 12, B_1 in 20, B_0 and
    # A_1 in 24:
    #     A_0 s1 16-17 (18), B_1 s1 20-21 (22), B_0 s1 24-25 (26), A_1 s1 26-30 (31)
    # Core 1 runs in 22, core 0 in 26, cores 2 and 3 in 31-34. A_0 is free in 27, all others in 35:
    #     A_0 s2 31-32 (33), and, as B_0 was the last B: B_1 s2 35-36 (37), B_0 s2 37-38 (39), A_1 s2 39-43 (44)
    # Core 1 runs in 37 and writes in 38, core 0 in 39 and 40; cores 2 and 3 run in 44-47 and write in 48 and 49.
    machine = replace(
        TINY,
        cores=4,
        core_columns=2,
        tile_rows=4,
        tile_columns=2,
        slice_slots=1,
        read_bytes_per_cycle=1,
        write_bytes_per_cycle=8,
    )
    weights = mask("111", "...", "...", "...", "111", "111", "111", "111")
    result = run_dual(machine, weights, mask("111.", "1.1.", "1.1."))
    assert result.cycles == 50
    assert attribution(result) == [
        {"busy": 4, "idle": 9, "stall_smem": 36, "stall_drain": 1},
        {"busy": 3, "idle": 11, "stall_smem": 35, "stall_drain": 1},
        {"busy": 16, "idle": 1, "stall_smem": 32, "stall_drain": 1},
        {"busy": 12, "stall_smem": 36, "stall_drain": 2},
    ]


def test_ragged_rows_positions_and_columns():
    # Tiles of 2 x 3 on S = 3, P = 4: 2 x 3, 2 x 1, 1 x 3 and 1 x 1, one on each core. Slices of 4 on K = 5: 4 and 1.
    # Everything nonzero, operands of 2 bytes. Items (nonzeros + bitmap + map):
    #     A_0 16 + 1 + 1, 4 + 1;  A_1 8 + 1 + 1, 2 + 1;  B_0 24 + 2 + 1, 6 + 1;  B_1 8 + 1 + 1, 2 + 1
    # 83 bytes, all in cycle 0. Steps of 2 x 2: cores 0 and 2 two cycles a position, in 1-10; 1 and 3 one, in 1-5.
    # Writes at 4 bytes a cycle: in 6 core 1 (2 bytes) and core 3 (1 byte); from 11 core 0 (6 bytes, 11-12) and core 2
    # (3 bytes, 12-13); cycles = 14.
    machine = replace(
        TINY,
        cores=4,
        core_columns=2,
        rows=2,
        lanes=2,
        tile_rows=2,
        tile_columns=3,
        slice_positions=4,
        step_rows=2,
        step_columns=2,
        operand_bytes=2,
        read_bytes_per_cycle=100,
        write_bytes_per_cycle=4,
    )
    result = run_dual(machine, np.ones((3, 5), bool), np.ones((5, 4), bool))
    assert result.cycles == 14
    assert attribution(result) == [
        {"busy": 10, "idle": 1, "stall_smem": 1, "stall_drain": 2},
        {"busy": 5, "idle": 7, "stall_smem": 1, "stall_drain": 1},
        {"busy": 10, "stall_smem": 1, "stall_drain": 3},
        {"busy": 5, "idle": 7, "stall_smem": 1, "stall_drain": 1},
    ]
    assert (result.weight_bytes, result.metadata_bytes, result.activation_bytes) == (30, 9 + 4, 40)
    assert (result.compute_bound_cycles, result.smem_bound_cycles, result.macs_issued) == (10, 3, 60)
    assert result.rf_write_bytes == 2 * (83 - 4)  # every item goes to two cores, its map to none
    # Bitmaps: cores 0 and 2 (1 + 2) + (1 + 1), cores 1 and 3 (1 + 1) + (1 + 1). Operands at each of 5 positions:
    # 2 + 3, 2 + 1, 1 + 3 and 1 + 1, of 2 bytes.
    assert result.rf_read_bytes == 18 + 5 * 14 * 2
    assert (result.accumulator_write_bytes, result.accumulator_read_bytes) == (60 * 4, 60 * 4 + 12 * 4)


def test_bands_then_turns_and_cores_that_sit_one_out():
    # Two cores of one core row, one slot, S = 2, P = 3: core 0 has tiles (0,0), (0,2), (1,0), (1,2), core 1 (0,1) and
    # (1,1); in the turn of column 2 it has nothing. A's items: band 0 turn 0, 0 1, 1 0, 1 1.
    # Served and usable: the first of each stream in 0 (1). Both cores run in 1 and write in 2; all slots are free in 2:
    # the second of each in 2 (3), core 0 runs in 3; the third of A and of B_0 in 4 (5), both cores run in 5; the
    # fourth in 6 (7), core 0 runs in 7 and writes in 8; cycles = 9.
    # core 0: smem in 0, 2, 4, 6, busy in 1, 3, 5, 7, drain 8
    # core 1: smem 0, busy 1, smem 2-4 (for A's third item), busy 5, drain 6, idle 7-8
    machine = replace(TINY, cores=2, core_columns=2, slice_slots=1)
    result = run_dual(machine, mask("1", "1"), mask("111"))
    assert result.cycles == 9
    assert attribution(result) == [
        {"busy": 4, "stall_smem": 4, "stall_drain": 1},
        {"busy": 2, "idle": 2, "stall_smem": 4, "stall_drain": 1},
    ]
    assert (result.weight_bytes, result.activation_bytes) == (4, 6)  # both sides are read again in every band and turn


def test_cores_without_tiles_are_idle():
    # Core 0 as in the first test; there is no second row tile, and no second column tile.
    machine = replace(
        TINY,
        cores=4,
        core_columns=2,
        read_bytes_per_cycle=1,
        write_bytes_per_cycle=1,
        latency_cycles=2,
        pipeline_cycles=4,
    )
    result = run_dual(machine, mask("1"), mask("1"))
    assert result.cycles == 14
    working = {"busy": 1, "idle": 1, "stall_smem": 7, "stall_drain": 5}
    assert attribution(result) == [working, {"idle": 14}, {"idle": 14}, {"idle": 14}]


def test_writes_go_by_request_then_core():
    # Two cores, all in one core row; core 1 has no step and ends in 0, core 0 steps in 1, e = 2. Writes of 4 bytes,
    # one byte a cycle: core 1's is the older request, in 0-3; core 0's in 4-7; cycles = 8. The other way round
    # (core 0 without a step) core 0 writes in 0-3, core 1 in 4-7.
    machine = replace(TINY, cores=2, core_columns=2, output_bytes=4, write_bytes_per_cycle=1)
    stepping, empty = {"busy": 1, "stall_smem": 1, "stall_drain": 6}, {"idle": 4, "stall_drain": 4}
    assert attribution(run_dual(machine, mask("1"), mask("1."))) == [stepping, empty]
    assert attribution(run_dual(machine, mask("1"), mask(".1"))) == [empty, stepping]


# --- sums, and what is refused ---


def random_machine(rng: np.random.Generator) -> DualMachine:
    core_columns, tile_rows, tile_columns, step_rows, step_columns = (int(n) for n in rng.integers(1, 6, 5))
    return DualMachine(
        cores=core_columns * int(rng.integers(1, 4)),
        core_columns=core_columns,
        rows=step_rows,
        lanes=step_columns,
        tile_rows=2 * tile_rows,
        tile_columns=2 * tile_columns,
        slice_positions=int(rng.integers(1, 12)),
        slice_slots=int(rng.integers(1, 4)),
        step_rows=step_rows,
        step_columns=step_columns,
        accumulator_values_per_cycle=int(rng.integers(1, 20)),
        operand_bytes=int(rng.integers(1, 3)),
        output_bytes=int(rng.integers(1, 3)),
        read_bytes_per_cycle=int(rng.integers(1, 40)),
        write_bytes_per_cycle=int(rng.integers(1, 20)),
        latency_cycles=int(rng.integers(1, 4)),
        pipeline_cycles=int(rng.integers(0, 5)),
    )


@pytest.mark.parametrize("seed", range(100))
def test_sums(seed):
    rng = np.random.default_rng(seed)
    machine = random_machine(rng)
    s, k, p = (int(n) for n in rng.integers(1, 40, 3))
    density = rng.choice([0.0, 0.03, 0.3, 1.0], 2, p=[0.1, 0.3, 0.4, 0.2])
    weights, activations = rng.random((s, k)) < density[0], rng.random((k, p)) < density[1]
    result = run_dual(machine, weights, activations)

    assert len(attribution(result)) == machine.cores
    assert sum(sum(getattr(result, state)) for state in STATES) == result.cycles * machine.cores
    assert result.stall_sync == [0] * machine.cores
    assert result.cycles >= max(result.compute_bound_cycles, result.smem_bound_cycles)
    assert result.macs_issued == np.count_nonzero(weights[:, :, None] & activations[None])
    assert result.smem_write_bytes == s * p * machine.output_bytes

    # M20 as it is written: what each core is busy with and stalls for depends on no clock.
    core_rows = machine.cores // machine.core_columns
    busy, steps = [0] * machine.cores, [0] * machine.cores
    for r, row in enumerate(range(0, s, machine.tile_rows)):
        for q, column in enumerate(range(0, p, machine.tile_columns)):
            core = r % core_rows * machine.core_columns + q % machine.core_columns
            a = weights[row : row + machine.tile_rows].sum(axis=0)
            b = activations[:, column : column + machine.tile_columns].sum(axis=1)
            blocks = -(-a // machine.step_rows) * -(-b // machine.step_columns)
            busy[core] += blocks.sum()
            steps[core] += np.maximum(blocks, -(-a * b // machine.accumulator_values_per_cycle)).sum()
    assert result.busy == busy
    assert [both + rf for both, rf in zip(result.busy, result.stall_rf, strict=True)] == steps


def test_the_default_machine_takes_a_layer():
    rng = np.random.default_rng(0)
    result = run_dual(DualMachine(), rng.random((70, 90)) < 0.1, rng.random((90, 60)) < 0.4)
    attribution(result)
    assert result.column_tile == 32
    assert result.stall_rf == [0] * 4  # a step of 8 x 8 makes 64 sums at most


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"accumulator_bytes": 4095}, "accumulator_bytes=4095"),
        ({"sum_bytes": 5}, "accumulator_bytes"),
        ({"step_rows": 9}, "9 x 8"),
        ({"lanes": 7}, "8 x 8"),
        ({"core_columns": 3}, "core_columns=3"),
        ({"core_columns": 8}, "core_columns=8"),
        ({"slice_slots": 0}, "slice_slots=0"),
        ({"latency_cycles": 0}, "latency_cycles=0"),
        ({"pipeline_cycles": -1}, "pipeline_cycles=-1"),
    ],
)
def test_refused_machines(change, reason):
    with pytest.raises(ValueError, match=reason):
        DualMachine(**change)


def test_machines_at_the_limit():
    DualMachine(accumulator_bytes=4096, step_rows=4, step_columns=16, core_columns=4)


@pytest.mark.parametrize(
    ("weights", "activations"),
    [
        (np.ones((2, 3), bool), np.ones((4, 2), bool)),
        (np.ones((2, 0), bool), np.ones((0, 2), bool)),
        (np.ones(3, bool), np.ones((3, 2), bool)),
        (np.ones((2, 3)), np.ones((3, 2), bool)),
    ],
)
def test_refused_matrices(weights, activations):
    with pytest.raises(ValueError, match=r"weights|activations"):
        run_dual(TINY, weights, activations)
