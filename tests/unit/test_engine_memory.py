"""The engine with a DRAM behind the SMEM, on plans made by hand: exact cycles worked out on paper (D8-D18).

Causes of a core's cycles stand in the order of CAUSES: busy, stall_rf, idle, stall_smem, stall_drain, stall_sync,
stall_dram. "Usable 4" says: in cycle 4 a step may start on it; a piece is "there 4" if it can be read in cycle 4. A
step "1..3" starts in cycle 1 and ends at 4. The SMEM's latency and, unless said otherwise, the DRAM's is 1.
"""

import pytest

from crispsim.sim.engine import record, run
from crispsim.sim.engine_state import DRAIN_CYCLES, DRAM_CYCLES, IDLE_CYCLES
from crispsim.sim.event_log import BACK, CARRIED, EMPTIED, FILLED, FROM, READ, SIZE, TO, WAITED, WHAT, WHO
from crispsim.sim.plan import EVERY_MEMBER
from tests.plans import assert_causes, fills, make_plan, stream, tile, timing, wave

pytestmark = pytest.mark.kernel

NOTHING = (-1, -1)


def waves_of_weights(*, busy, size=4, register_slots=2, waves=3, memory, **ports):
    """One core and one tile; a step a wave, each with weights of its own."""
    return make_plan(
        teams=[[0, 1, 0, 1]],
        team_streams=[[0]],
        streams=[stream(0, slots=register_slots, tiles=(0, 1))],
        tiles=[tile(0, waves)],
        waves=[wave(busy, (size,))] * waves,
        memory=memory,
        **ports,
    )


def cells_of_outputs(cells, *, size=1, outputs, register_slots=4, memory, **ports):
    """One core; a step of one cycle a tile, its weights in the SMEM from the start; so many bytes of outputs a tile."""
    return make_plan(
        teams=[[0, 1, 0, cells]],
        team_streams=[[0]],
        streams=[stream(0, slots=register_slots, tiles=(0, cells))],
        tiles=[tile(0, 1)] * cells,
        waves=[wave(1, (size,))],
        drain=outputs,
        memory={"needs": [NOTHING] * cells, "writes_back": True} | memory,
        **ports,
    )


# --- fills ---


@pytest.mark.parametrize(("burst", "write", "there"), [(8, 1 << 20, 7), (8, 2, 10), (4, 1 << 20, 7), (4, 2, 8)])
def test_a_read_waits_for_its_piece(burst, write, there):
    # 8 bytes at 2 B/cycle, latency 3: the last byte goes in 3 and arrives in 6. At 2 B/cycle into the SMEM: one burst
    # takes 6..9; of two, the first, gone in 1, takes 4, 5, the second 6, 7. Read in the cycle after, usable one later.
    plan = waves_of_weights(
        waves=1,
        busy=2,
        memory={"needs": [(-1, 0)], "weights": fills((0, [8])), "bytes_per_cycle": 2, "latency": 3, "burst": burst},
        read=4,
        write=write,
    )
    assert_causes(plan, there + 4, (2, 0, 0, 1, 1, 0, there))
    assert timing(plan).smem_write_bytes == 8 + 1


def test_an_input_piece_gates_chunks_and_a_weight_piece_weights():
    # Channel 1 B/cycle: the input's 6 bytes (first: D10) go in 0..5, there 7; the weights' 3 in 6..8, there 10. The
    # head of the queue is the chunk: in 7, usable 8; the weights in 10, usable 11. Step 11, its write in 12.
    plan = make_plan(
        teams=[[0, 1, 0, 1]],
        team_streams=[[0, 1]],
        streams=[
            stream(0, slots=1, tiles=(0, 1), per_step=1, member=EVERY_MEMBER),
            stream(0, slots=2, tiles=(0, 1), column=1),
        ],
        tiles=[tile(0, 1)],
        waves=[wave(1, (1, 1))],
        memory={"needs": [(0, 0)], "inputs": fills((0, [6])), "weights": fills((0, [3])), "stream_fill": [0, 1]},
    )
    assert_causes(plan, 13, (1, 0, 0, 1, 1, 0, 10))
    log = record(plan, 0, 100)
    assert [row[FROM] for row in log.of(READ).tolist()] == [7, 10]


@pytest.mark.parametrize(("slots", "cycles", "core"), [(2, 9, (3, 0, 0, 2, 1, 0, 3)), (3, 7, (3, 0, 0, 1, 1, 0, 2))])
def test_a_piece_waits_for_its_slot(slots, cycles, core):
    # Pieces of 4 bytes at 4 B/cycle: 0 in cycle 0, there 2, 1 there 3. Item 0 in 2, usable 3: step 3; item 1 in 3,
    # step 4.
    # Two slots: piece 2 in 4, when step 0 has ended, there 6; read in 6, usable 7: step 7, its write in 8.
    # Three: piece 2 in 2, there 4; read in 4, when step 0 has left the register's slot, usable 5: step 5, write in 6.
    plan = waves_of_weights(
        busy=1, memory={"needs": [(-1, 0)], "weights": fills((0, [4] * 3), slots=slots), "bytes_per_cycle": 4}, read=4
    )
    assert_causes(plan, cycles, core)


def test_slots_are_freed_in_order_by_the_last_step_of_any_team():
    # Two cores on weights of their own, both with piece 0, then 1; one slot. Piece 0 in 0, there 2: items in 2, 3
    # (1 B), steps 3..3 and 4..9. Piece 1 in 10, there 12: items in 12, 13, usable 13, 14.
    plan = make_plan(
        teams=[[0, 1, 0, 1], [1, 1, 1, 2]],
        team_streams=[[0], [1]],
        streams=[stream(q, slots=2, tiles=(q, q + 1)) for q in (0, 1)],
        tiles=[tile(0, 2), tile(2, 4)],
        waves=[wave(1, (1,))] * 2 + [wave(6, (1,))] * 2,
        memory={
            "needs": [(-1, 0)] * 2, "pieces": [(0, 0), (0, 1)] * 2, "weights": fills((0, [1, 1])), "passes": [0, 0],
        },
    )  # fmt: skip
    # Core 0: 2 dram, 1 smem, step 3, then 12 - 4 dram, 1 smem, step 13, write in 14, idle to 21 (core 1's write in 20).
    # Core 1: 2 dram, 2 smem, steps 4..9, 12 - 10 dram, 2 smem, steps 14..19, write in 20.
    assert_causes(plan, 21, (2, 0, 6, 2, 1, 0, 10), (12, 0, 0, 4, 1, 0, 4))


def test_pieces_in_the_order_in_which_they_are_needed():
    # By cell, by place in the visit, inputs first. All have a slot.
    plan = waves_of_weights(
        busy=1,
        waves=2,
        memory={
            "needs": [(0, 0)], "inputs": fills((0, [4]), (1, [4]), slots=2), "weights": fills((0, [4, 4]), slots=2),
            "bytes_per_cycle": 4, "burst": 2,
        },
    )  # fmt: skip
    rows = record(plan, 0, 100).of(CARRIED).tolist()
    assert [(row[WHO], row[WHAT]) for row in rows] == [(0, 0)] * 2 + [(1, 0)] * 2 + [(1, 1)] * 2 + [(0, 1)] * 2
    assert [(row[FROM], row[TO]) for row in rows] == [(at, at + 2) for at in range(0, 16, 2)]


def test_prefetched_pieces_are_there_from_the_start():
    memory = {"needs": [(-1, 0)], "weights": fills((0, [4] * 3), slots=2, prefetched=2), "bytes_per_cycle": 4}
    plan = waves_of_weights(busy=1, memory=memory, read=4)
    # Items 0, 1 in 0, 1, steps 1, 2. Piece 2 in 2, there 4: read in 4, usable 5, step 5, its write in 6.
    assert_causes(plan, 7, (3, 0, 0, 2, 1, 0, 1))
    assert timing(plan).smem_write_bytes == 4 + 1
    assert [row[WHAT] for row in record(plan, 0, 9).of(FILLED).tolist()] == [2]


def test_nothing_of_a_pass_is_read_before_the_pass_before():
    # Two chunks and the weights a cell; the weights of the second cell stand at position 0, before chunk 1.
    def order(passes):
        plan = make_plan(
            teams=[[0, 1, 0, 2]],
            team_streams=[[0, 1]],
            streams=[
                stream(0, slots=1, tiles=(0, 2), per_step=1, member=EVERY_MEMBER),
                stream(0, slots=2, tiles=(0, 2), column=1),
            ],
            tiles=[tile(0, 1, steps=2)] * 2,
            waves=[wave(1, (1, 1))],
            memory={"needs": [NOTHING] * 2, "passes": passes, "stream_fill": [0, 1]},
        )
        return [(row[WHO], row[WHAT]) for row in record(plan, 0, 100).of(READ).tolist()]

    assert order([0, 0]) == [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 3)]
    assert order([0, 1]) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (0, 3)]


# --- write-backs ---


def three_bursts(**memory):
    """Outputs of 12 bytes, bursts of 4, channel 1 B/cycle.

    Item 0 in 0, step 1, outputs in 2, stall_drain until 3. Bursts 0 and 1 are read in 3 and 4 (4 B/cycle) and fill both
    buffers. Burst 0 is on the channel from 4 on.
    """
    return cells_of_outputs(1, size=4, outputs=12, memory={"burst": 4} | memory, read=4)


@pytest.mark.parametrize(
    ("memory", "cycles", "idle", "third", "sent"),
    [
        pytest.param({}, 16, 0, 8, [4, 8, 12, 16], id="burst 0 4..7, its buffer free from 8, burst 2 12..15"),
        pytest.param({"latency": 5}, 20, 4, 8, [4, 8, 12, 16], id="done 5 cycles after the last byte's"),
        pytest.param({"residual": True}, 28, 0, 12, [4, 12, 20, 28], id="twice the bytes: 4..11, 12..19, 20..27"),
        pytest.param({"nonzeros": 1, "values": 2}, 13, 0, 7, [4, 7, 10, 13], id="4 values: 2 nonzeros and a byte"),
    ],
)
def test_two_burst_buffers_between_the_read_port_and_the_channel(memory, cycles, idle, third, sent):
    plan = three_bursts(**memory)
    assert_causes(plan, cycles, (1, 0, idle, 1, 1, 0, sent[-1] - 3))
    log = record(plan, 0, 100)
    assert [(row[FROM], row[TO]) for row in log.of(EMPTIED).tolist()] == [
        (4 * cycle, 4 * cycle + 4) for cycle in (3, 4, third)
    ]
    assert [(row[WHO], row[FROM], row[TO]) for row in log.of(CARRIED).tolist()] == [
        (BACK, start, end) for start, end in zip(sent, sent[1:], strict=False)
    ]
    moved = timing(plan).memory
    residual = sent[-1] - 4 - moved.sent_bytes
    assert (moved.writeback_bytes, moved.residual_bytes) == (12, residual if memory.get("residual") else 0)
    assert moved.sent_bytes == (9 if "values" in memory else 12)


def test_write_backs_are_read_before_operands():
    # 1 B/cycle, one register slot. Item 0 (4 B) 0..3, step 4, outputs in 5; item 1 5..8, step 9, outputs in 10.
    # From 9 on the 6 bytes of cell 0, bursts of 4 and 2: 9..12, 13, 14. Then those of cell 1, before item 2, which has
    # its slot since 10: 15..18 and, buffer 1 free since 16, 19, 20. Item 2 21..24: step 25, outputs in 26. Cell 2 is
    # read in 27..30, 31, 32; its last burst is on the channel in 33.
    # Cell 2 could start from 15 on, when cell 0 was read (D16): 10..14 are stall_dram; 27..33 are, too.
    memory = {"burst": 4, "bytes_per_cycle": 4}
    plan = cells_of_outputs(3, size=4, outputs=6, register_slots=1, memory=memory)
    assert_causes(plan, 34, (3, 0, 0, 4 + 4 + 10, 1, 0, 5 + 7))


def test_a_cell_waits_for_the_staging_of_the_last_but_one():
    # 8 B/cycle: four items in 0, usable 1. Cell 0 in 1, outputs in 2; cell 1 in 3, outputs in 4; cell 0 is read in 3;
    # cell 2 in 5. Channel 1 B/cycle: cell 0's bursts 4..7, 8..11; cell 1's are read when a buffer is free, in 8 and 12.
    # So cell 3 starts in 13; 6..12 are stall_dram. All 32 bytes are on the channel in 4..35.
    plan = cells_of_outputs(4, outputs=8, memory={"burst": 4}, read=8)
    assert_causes(plan, 36, (4, 0, 0, 1, 3, 0, 7 + 21))
    # Outputs that stay: cells in 1, 3, 5, 7, each when the sums before it are free.
    stay = cells_of_outputs(4, outputs=8, memory={"burst": 4, "writes_back": False}, read=8)
    assert_causes(stay, 9, (4, 0, 0, 1, 4, 0, 0))


def test_a_write_back_goes_before_a_fill():
    # Piece 0 (4 B, 1 B/cycle) 0..3, there 5: item in 5, usable 6, step 6, outputs in 7, read in 8 (4 B/cycle), on the
    # channel from 9 on. Piece 1 of 12 bytes, needed by cell 1, goes in bursts of 4: 4..7, 8..11; then the write-back
    # 12..15, then the third burst 16..19, there 21. Item 1 in 21, step 22, outputs in 23; they go in 25..28.
    plan = make_plan(
        teams=[[0, 1, 0, 2]],
        team_streams=[[0]],
        streams=[stream(0, slots=2, tiles=(0, 2))],
        tiles=[tile(0, 1)] * 2,
        waves=[wave(1, (4,))],
        drain=4,
        read=4,
        memory={
            "needs": [(-1, 0), (-1, 1)], "pieces": [(0, 0)], "weights": fills((0, [4]), (1, [12]), slots=2),
            "burst": 4, "writes_back": True,
        },
    )  # fmt: skip
    rows = record(plan, 0, 100).of(CARRIED).tolist()
    assert [(row[WHO], row[FROM]) for row in rows] == [(1, 0), (1, 4), (1, 8), (BACK, 12), (1, 16), (BACK, 25)]
    assert_causes(plan, 29, (2, 0, 0, 2, 1, 0, 5 + 14 + 5))


# --- what the log of a window says, and whole repetitions ---


@pytest.mark.parametrize("last", [4, 8, 15, 16, 19])
def test_a_window_knows_when_write_backs_end_beyond_it(last):
    log = record(three_bursts(latency=5), 0, last)
    waited = [(row[WHAT], row[FROM], row[TO]) for row in log.of(WAITED).tolist() if row[FROM] > 0]
    ends = [(DRAIN_CYCLES, 2, 3), (DRAM_CYCLES, 3, 16), (IDLE_CYCLES, 16, 20)]
    assert waited == [row for row in ends if row[1] < last]


def test_bursts_into_the_smem_say_when_they_arrived():
    memory = {"needs": [(-1, 0)], "weights": fills((0, [10])), "bytes_per_cycle": 2, "latency": 3, "burst": 4}
    log = record(waves_of_weights(waves=1, busy=1, memory=memory, read=4, write=1), 0, 100)
    # Gone in 1, 3, 4, arrived in 4, 6, 7; written in 4..7, 8..11, 12, 13.
    assert [(row[FROM], row[TO], row[SIZE]) for row in log.of(FILLED).tolist()] == [(4, 8, 4), (8, 12, 6), (12, 14, 7)]


@pytest.mark.parametrize("writes_back", [False, True])
def test_waves_are_skipped_while_nothing_moves_behind_the_smem(writes_back):
    """`timing` compares both; here that there is something to compare."""
    plan = make_plan(
        teams=[[0, 1, 0, 3]],
        team_streams=[[0]],
        streams=[stream(0, slots=2, tiles=(0, 3))],
        tiles=[tile(0, 300, period=1)] * 3,
        waves=[wave(3, (5,))] * 300,
        drain=7,
        read=3,
        memory={
            "needs": [(-1, 0), (-1, 1), (-1, 1)], "pieces": [(0, 0)] * 300, "writes_back": writes_back,
            "weights": fills((0, [40]), (1, [90]), slots=1),
        },
    )  # fmt: skip
    slow, fast = timing(plan), run(plan)
    assert fast.events < slow.events / 3
