"""The reference twin's DRAM level against cycles and blockings worked out by hand from docs/microarchitecture.md."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))  # the checkout: plain `pytest` does not add it

from tests.reference import blocking
from tests.reference.blocking import NAMES, Units, choose_blocking, order_cells
from tests.reference.dram import FillWrite, RefDram, RefInput, WriteQueue
from tests.reference.dual import DualMachine, run_dual
from tests.reference.ports import Write
from tests.reference.result import STATES, RefResult
from tests.reference.stationary import RefMachine, run_reference
from tests.reference.tiling import kept_channels


def attribution(result: RefResult) -> list[dict[str, int]]:
    """Return each core's states that took any cycles."""
    cores = [{state: getattr(result, state)[core] for state in STATES} for core in range(len(result.busy))]
    assert all(sum(states.values()) == result.cycles for states in cores)
    return [{state: cycles for state, cycles in states.items() if cycles} for states in cores]


# --- pixels and units (D2, D3) ---


def test_units_of_ragged_columns():
    # Pixels 3, 5, 7, 9 become 0-3. hi: -1 1 1 2 2 3, lo: 0 0 0 1 1 1, so the units are turns 0, 1-2, 3-4, 5.
    units = Units([[], [3, 5], [3], [7], [], [5, 9]], [1] * 6, len, resident=False)
    assert (units.hi, units.lo) == ([-1, 1, 1, 2, 2, 3], [0, 0, 0, 1, 1, 1])
    assert units.turns == [[0], [1, 2], [3, 4], [5]]
    assert [units.has_piece(unit) for unit in range(4)] == [False, True, True, True]
    assert [units.piece(unit) for unit in range(4)] == [0, 2, 1, 1]
    assert [units.span(unit, unit) for unit in range(4)] == [0, 2, 2, 3]
    assert [units.largest(j) for j in (1, 2, 3, 4, 9)] == [3, 3, 4, 4, 4]


def test_every_turn_is_a_unit_of_an_input_that_stays():
    units = Units([[0], [0], [1]], [1, 2 - 1, 1], len, resident=True)
    assert units.turns == [[0], [1], [2]]
    assert not any(units.has_piece(unit) or units.piece(unit) for unit in range(3))
    assert units.largest(2) == 0


def test_columns_must_fit_the_turns():
    with pytest.raises(ValueError, match="3 columns"):
        Units([[0], [1], [2]], [2, 2], len, resident=False)


def test_kept_channels():
    # Positions 0, 1 and 4, 5 of 8, with 4 channels: 0 and 1; with 8 channels all four.
    assert kept_channels(8, 4, 2, [[0], [2]]) == 2
    assert kept_channels(8, 8, 2, [[0], [2]]) == 4
    assert kept_channels(5, 8, 2, [[0], [2]]) == 3  # position 5 is beyond K
    assert kept_channels(8, 4, None, None) == 4


# --- blockings (D6, D7) ---


def choose(capacity: int, streamed_piece: int = 10, staging: int = 0):
    """Choose for 4 turns of 10 input bytes and 2 bands of two pieces of 5: I = 40, V = 2, w = 5, W = 20; r = 2."""
    units = Units([[0], [1], [2], [3]], [1] * 4, lambda raster: 10 * len(raster), resident=False)
    chosen = choose_blocking(
        capacity=capacity,
        staging=staging,
        units=units,
        weights=[[5, 5]] * 2,
        streamed=[[[streamed_piece] * 2] * 4] * 2,
        slots=2,
    )
    return chosen.name, chosen.depth, chosen.bytes_read, chosen.input_slots, chosen.weight_slots


def test_blockings_of_less_and_less_smem():
    # inputs: in(2T) + 20, T = 4 as soon as all 40 bytes of input fit; reads 40 + 20. Slots: 4 pieces, all 4 pieces.
    assert choose(1000) == choose(60) == ("inputs", 4, 60, 4, 4)
    # weights: 20 + 20, G = 2 as min(2G, 2) is 2 anyway; reads 20 + 40; (59 - 20) / 5 is more than there are, and leaves
    # 19 of 59 for inputs, which is one unit more.
    assert choose(59) == choose(50) == ("weights", 2, 60, 3, 4)
    assert choose(49) == choose(40) == ("weights", 2, 60, 2, 4)
    # weights-single: 20 + 3 * 5 with G = 1; reads 20 + 2 * 40. (inputs-single: 20 + 15 too, but 40 + 4 * 20.)
    assert choose(39) == choose(35) == ("weights-single", 1, 100, 2, 3)
    # weights-streamed: 20 + 10; reads 40 + 4 * 20. (streamed: 10 + 20 too, but 80 + 160.)
    assert choose(34) == choose(30) == ("weights-streamed", 1, 120, 2, 2)
    with pytest.raises(ValueError, match="no blocking fits 29"):
        choose(29)
    assert choose(107, staging=47) == choose(60)  # "rest" leaves the staging out as well


def test_blockings_of_streamed_inputs():
    # x = 4, X = 8 * 8: inputs-streamed needs 3 * 5 + 2 * 4 (G = 1) or 4 * 5 + 8 (G = 2) and reads 20 + 64.
    assert choose(39, 4) == ("inputs-streamed", 2, 84, 4, 4)
    assert choose(28, 4) == ("inputs-streamed", 2, 84, 2, 4)
    assert choose(27, 4) == choose(27, 4) == ("inputs-streamed", 1, 84, 3, 3)
    # streamed: 2 * 5 + 2 * 4; reads 4 * 20 + 64.
    assert choose(22, 4) == choose(18, 4) == ("streamed", 1, 144, 2, 2)


def test_blockings_of_panels():
    # 5 turns of 10 bytes, 10 bands of one piece of 10: I = 50, W = 100, V = 1.
    units = Units([[0], [1], [2], [3], [4]], [1] * 5, lambda raster: 10 * len(raster), resident=False)

    def choose(capacity: int):
        chosen = choose_blocking(
            capacity=capacity, staging=0, units=units, weights=[[10]] * 10, streamed=[[[50]] * 5] * 10, slots=9
        )
        return chosen.name, chosen.depth, chosen.bytes_read, chosen.input_slots, chosen.weight_slots

    # inputs: all 50 bytes and 20.
    assert choose(70) == ("inputs", 5, 150, 5, 2)
    # inputs: 40 + 20 with T = 2, 50 + 3 * 100. inputs-single: 40 + 20 with T = 3, 50 + 2 * 100. weights: 20 + 40 with
    # G = 2, 100 + 5 * 50. weights-single: 20 + 40 with G = 3, 100 + 4 * 50.
    assert choose(69) == choose(60) == ("inputs-single", 3, 250, 4, 2)
    # inputs-single: T = 2, 50 + 3 * 100; weights-single, the same, comes later in the table.
    assert choose(59) == choose(50) == ("inputs-single", 2, 350, 3, 2)


def test_order_of_cells():
    units = Units([[0], [1], [2], [3]], [1] * 4, len, resident=False)

    def cells(name: str, depth: int) -> tuple[list[tuple[int, int]], list[int]]:
        found = order_cells(name, depth, units, 2)
        assert [cell.number for cell in found] == list(range(8))
        return [(cell.band, cell.turn) for cell in found], [cell.pass_number for cell in found]

    panels = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
    assert cells("inputs", 3) == (panels, [0, 0, 0, 1, 1, 1, 2, 3])
    by_bands = [(band, turn) for band in range(2) for turn in range(4)]
    by_turns = [(band, turn) for turn in range(4) for band in range(2)]
    assert cells("weights", 1) == (by_bands, list(range(8)))
    assert cells("inputs-streamed", 2) == (by_turns, [0, 0, 1, 1, 2, 2, 3, 3])
    assert cells("weights-streamed", 1) == cells("streamed", 1) == (by_turns, list(range(8)))


# --- the stationary machine ---

# One window of 2 positions, one chunk of 2 columns: 4 bytes of input, 4 of weights, 4 of outputs, as in
# test_reference.py; every port and the channel move a byte a cycle, DRAM has latency 3, SMEM 2, the pipeline 4.
ONE_CHUNK = RefMachine(cores=1, rows=2, lanes=2, read_bytes_per_cycle=1, write_bytes_per_cycle=1)
SLOW = RefDram(bytes_per_cycle=1, latency_cycles=3, burst_bytes=2, capacity_bytes=1000)


def run_one_chunk(**changes) -> RefResult:
    return run_reference(ONE_CHUNK, arch="dense", s=2, k=2, p=2, dram=replace(SLOW, **changes))


def test_one_chunk_there_and_back():
    # Channel: inputs in 0-1 and 2-3, weights in 4-5 and 6-7 (D10); bursts enter in 4, 6, 8, 10 (D11) and are written
    # in 4-7 and 8-11: the inputs are there from 8, the weights from 12 (D13). Chunk read in 8-11, weights in 12-15,
    # usable in 17; step in 17-18, e = 19, write served from 23: 23-26. Write-back (D14): read in 27-28 and 29-30,
    # on the channel from 30: 30-31, 32-33. cycles = max(33 + 3, 26 + 2).
    # dram 0-11, smem 12-16, busy 17-18, drain 19-26, dram 27-33, idle 34-35.
    result = run_one_chunk()
    assert result.cycles == 36
    assert attribution(result) == [{"stall_dram": 12 + 7, "stall_smem": 5, "busy": 2, "stall_drain": 8, "idle": 2}]
    assert (result.dram_read_bytes, result.dram_write_bytes, result.dram_bound_cycles) == (8, 4, 12)
    assert (result.dram_weight_bytes, result.dram_input_bytes, result.dram_residual_bytes) == (4, 4, 0)
    assert (result.writeback_bytes, result.smem_read_bytes, result.smem_write_bytes) == (4, 12, 12)
    assert (result.smem_bound_cycles, result.blocking) == (12, "inputs")


def test_the_input_stays():
    # Weights on the channel in 0-3, written in 4-7, there from 8. The chunk is read in 0-3, weights in 8-11, usable
    # in 13; step in 13-14, e = 15, write in 19-22, read back in 23-26, channel in 26-29; cycles = 29 + 3.
    result = run_one_chunk(kept_input_bytes=4)
    assert result.cycles == 32
    assert attribution(result) == [{"stall_dram": 8 + 7, "stall_smem": 5, "busy": 2, "stall_drain": 8, "idle": 2}]
    assert (result.dram_read_bytes, result.dram_input_bytes, result.dram_write_bytes) == (4, 0, 4)


def test_the_outputs_stay():
    # As there and back until the write in 23-26; cycles = max(7 + 3, 26 + 2).
    result = run_one_chunk(kept_output_bytes=4)
    assert result.cycles == 28
    assert attribution(result) == [{"stall_dram": 12, "stall_smem": 5, "busy": 2, "stall_drain": 8, "idle": 1}]
    assert (result.dram_read_bytes, result.dram_write_bytes, result.writeback_bytes) == (8, 0, 0)


def test_prefetched_weights():
    # The chunk heads the reads (M10) and waits until 8; weights in 12-15 all the same. In 8 all pieces are there.
    result = run_one_chunk(prefetched_pieces=1)
    assert result.cycles == 36
    assert attribution(result) == [{"stall_dram": 8 + 7, "stall_smem": 9, "busy": 2, "stall_drain": 8, "idle": 2}]
    assert (result.dram_read_bytes, result.smem_write_bytes) == (8, 12)
    assert (result.dram_bound_cycles, result.smem_bound_cycles) == (8, 12)
    with pytest.raises(ValueError, match="prefetched_pieces=2"):
        run_one_chunk(prefetched_pieces=2)


def test_a_residual_input_takes_the_channel_twice():
    # Bursts of 2 bytes take 4 cycles: 30-33 and 34-37; cycles = 37 + 3.
    result = run_one_chunk(residual=True)
    assert result.cycles == 40
    assert attribution(result) == [{"stall_dram": 12 + 11, "stall_smem": 5, "busy": 2, "stall_drain": 8, "idle": 2}]
    assert (result.dram_read_bytes, result.dram_write_bytes, result.dram_residual_bytes) == (12, 4, 4)
    assert result.dram_bound_cycles == 16


def test_two_burst_buffers():
    # Bursts of 1 byte arrive a cycle earlier, and the write is in 22-25. Back bursts are read in 26 and 27, on the
    # channel, two bytes each, in 28-29 and 30-31; the third is read in 30 and goes in 32-33, the fourth in 32, 34-35.
    result = run_one_chunk(residual=True, burst_bytes=1)
    assert result.cycles == 38
    assert attribution(result) == [{"stall_dram": 11 + 10, "stall_smem": 5, "busy": 2, "stall_drain": 8, "idle": 2}]


def test_the_third_cell_waits_for_the_staging_of_the_first():
    # One band of one wave, three turns of one column; the input stays and the weights are there, so the channel has
    # nothing but write-backs. Cycle 0 reads three chunks and two weights, cycle 2 the third. Step 0 in 1, write in 2,
    # its 4 bursts of a byte read in 3, 3, 5, 6 and on the channel in 4-7. Step 1 in 3, write in 4, bursts read in
    # 7-10, channel in 8-11. Step 2 not before 7 (D16): write in 8, bursts read in 11-14, channel in 12-15.
    machine = RefMachine(cores=1, rows=4, lanes=1, chunk_columns=1, column_tile=1, latency_cycles=1, pipeline_cycles=0)
    dram = RefDram(
        bytes_per_cycle=1, latency_cycles=1, burst_bytes=1, capacity_bytes=99, kept_input_bytes=3, prefetched_pieces=1
    )
    result = run_reference(machine, arch="dense", s=4, k=1, p=3, dram=dram)
    assert result.cycles == 16
    # smem 0; busy 1; drain 2; busy 3; dram 4-6; busy 7; drain 8; dram 9-15.
    assert attribution(result) == [{"stall_dram": 3 + 7, "stall_smem": 1, "busy": 3, "stall_drain": 2}]


def test_nothing_overtakes_in_the_write_queue():
    queue = WriteQueue(64, Counter(), 4, None)  # type: ignore[arg-type]  # choosing needs no level
    fill = FillWrite(3, 0, 8, order=1)
    late_fill = FillWrite(4, 0, 8, order=2)
    drains = [Write(3 + 4, core, 8) for core in (1, 0)]  # both of cycle 3
    queue.waiting = [late_fill, fill, *drains]
    assert queue.choose(3) is None  # the drains of cycle 3 stand first, and can be served from 7 on
    assert queue.choose(6) is None
    assert [queue.choose(7) for _ in range(5)] == [drains[1], drains[0], fill, late_fill, None]


def test_refusals():
    with pytest.raises(ValueError, match="no blocking fits"):
        run_one_chunk(capacity_bytes=15)  # 8 for outputs, 4 for weights and 4 for inputs
    assert run_one_chunk(capacity_bytes=16).blocking == "inputs"
    with pytest.raises(ValueError, match="no blocking fits"):
        run_one_chunk(capacity_bytes=18, kept_input_bytes=7)  # 8 and 4
    assert run_one_chunk(capacity_bytes=19, kept_input_bytes=7).cycles == 32
    with pytest.raises(ValueError, match="never stay"):
        replace(SLOW, residual=True, kept_output_bytes=4)
    with pytest.raises(ValueError, match="latency_cycles=0"):
        replace(SLOW, latency_cycles=0)
    with pytest.raises(ValueError, match="multiple of output_bytes"):
        run_reference(replace(ONE_CHUNK, output_bytes=3), arch="dense", s=2, k=2, p=2, dram=SLOW)


def least_capacity(run: Callable[[int], RefResult]) -> RefResult:
    """Return the result with the least SMEM, by tens of bytes, that is not refused."""
    for capacity in range(10, 10000, 10):
        try:
            return run(capacity)
        except ValueError:
            continue
    raise AssertionError("always refused")


@pytest.mark.parametrize("name", NAMES)
def test_every_blocking_runs_in_the_least_smem(name, monkeypatch):
    # The twin itself asserts that the SMEM suffices, that bytes are conserved and that nothing locks up. A 3 x 3
    # convolution of 4 channels on 5 x 6 pixels, padded by one; blocks of 4 and four sharing sets of two.
    monkeypatch.setattr(blocking, "NAMES", (name,))
    machine = RefMachine(cores=8, rows=2, lanes=4, rf_bytes=256, column_tile=4, read_bytes_per_cycle=16)
    height, width = range(5), range(6)
    columns = [
        [
            10 * row + column
            for row in range(y - 1, y + 2)
            for column in range(x - 1, x + 2)
            if row in height and column in width
        ]
        for y in height
        for x in width
    ]
    block_cols = [[0, 2, 3], [1, 3, 7], [0, 7, 8], [4, 5, 8], [1, 2, 6]]

    def run(capacity: int) -> RefResult:
        dram = RefDram(bytes_per_cycle=8, latency_cycles=9, burst_bytes=16, capacity_bytes=capacity)
        pattern = {"n": 2, "m": 4, "block": 4, "block_cols": block_cols}
        return run_reference(
            machine, arch="crisp-stc", s=18, k=36, p=30, **pattern, dram=dram, pixels=RefInput(columns, 4)
        )

    result = least_capacity(run)
    assert result.blocking == name
    assert result.cycles >= max(result.compute_bound_cycles, result.smem_bound_cycles, result.dram_bound_cycles)


# --- dstc ---

DUAL = DualMachine(
    cores=1, core_columns=1, rows=1, lanes=1, tile_rows=1, tile_columns=1, slice_positions=1, step_rows=1,
    step_columns=1, read_bytes_per_cycle=1, write_bytes_per_cycle=1,
)  # fmt: skip


def test_dual_there_and_back():
    # Input: 1 nonzero and 1 byte of bits; weights the same and a byte of slice map (D3, D4). Channel: 0-1 and 2-4,
    # written in 4-5 and 7-9, there from 6 and 10. B read in 6-8, A in 10-12, usable in 14; step in 14, e = 15, write
    # in 19, read back in 20; on the channel from 22, one value and its bits: 22-23. cycles = max(23 + 3, 19 + 2).
    # dram 0-9, smem 10-13, busy 14, drain 15-19, dram 20-23, idle 24-25.
    one = np.ones((1, 1), bool)
    result = run_dual(DUAL, one, one, replace(SLOW, burst_bytes=8))
    assert result.cycles == 26
    assert attribution(result) == [{"stall_dram": 10 + 4, "stall_smem": 4, "busy": 1, "stall_drain": 5, "idle": 2}]
    assert (result.dram_weight_bytes, result.dram_input_bytes, result.dram_write_bytes) == (3, 2, 2)
    assert (result.smem_read_bytes, result.writeback_bytes, result.smem_write_bytes) == (6 + 1, 1, 5 + 1)


def test_dual_outputs_are_as_sparse_as_the_input():
    # One nonzero of two values in. A tile of 1 x 2 leaves in one burst, 1 value and 1 byte of bits, or in two of them.
    machine = replace(DUAL, tile_columns=2)
    activations = np.array([[True, False]])
    for burst_bytes, written in ((2, 2), (1, 4)):
        result = run_dual(machine, np.ones((1, 1), bool), activations, replace(SLOW, burst_bytes=burst_bytes))
        assert result.dram_write_bytes == written
        residual = replace(SLOW, burst_bytes=burst_bytes, residual=True)
        result = run_dual(machine, np.ones((1, 1), bool), activations, residual)
        assert (result.dram_write_bytes, result.dram_residual_bytes) == (written, written)


def test_dual_moves_pieces_that_no_step_needs():
    # Positions 0 and 1 have weights, 2 has activations: no step, yet all pieces are moved and the outputs written.
    # Weights: 1 + 1 each, the first with a map of 1. Units of one pixel of 3 channels would be 1 + 1 and 0 + 1 bytes;
    # streamed, position 2 of the first turn is 1 + 1 and nothing else is moved, so that inputs-streamed is chosen.
    weights = np.array([[True, True, False]])
    activations = np.array([[False, False], [False, False], [True, False]])
    result = run_dual(DUAL, weights, activations, SLOW)
    assert (result.blocking, result.dram_weight_bytes, result.dram_input_bytes) == ("inputs-streamed", 5, 2)
    assert result.weight_bytes + result.metadata_bytes + result.activation_bytes == 0
    assert result.writeback_bytes == 2


@pytest.mark.parametrize("name", NAMES)
def test_dual_every_blocking_runs_in_the_least_smem(name, monkeypatch):
    monkeypatch.setattr(blocking, "NAMES", (name,))
    rng = np.random.default_rng(3)
    weights, activations = rng.random((20, 24)) < 0.3, rng.random((24, 22)) < 0.5
    machine = DualMachine(tile_rows=4, tile_columns=4, slice_positions=8, read_bytes_per_cycle=16)

    def run(capacity: int) -> RefResult:
        dram = RefDram(bytes_per_cycle=8, latency_cycles=9, burst_bytes=16, capacity_bytes=capacity)
        return run_dual(machine, weights, activations, dram)

    result = least_capacity(run)
    assert result.blocking == name
    assert result.cycles >= max(result.compute_bound_cycles, result.smem_bound_cycles, result.dram_bound_cycles)
