"""A trace says the same as the result: every sum is taken again from the file alone. And viewers can read it."""

import gzip
import io
import json
from collections import Counter, defaultdict

import pytest

from crispsim.sim import ARCHITECTURES, Layer, load_arch, simulate
from crispsim.sim.engine_state import CAUSES
from crispsim.sim.trace import AS_BUDGETED, DEFAULT_CYCLES, LEAST_CYCLES, Tracer, Window, write_trace

NAMES = dict(zip(CAUSES, ("MAC", *CAUSES[1:]), strict=True))
SMALL = {"s": 40, "k": 72, "p": 21}
CASES = {
    "blocks of 64": ({"s": 64, "k": 128, "p": 40}, {"nm": "2:4", "block": 64, "sparsity": 0.75}, {}),
    "two sets, ragged": ({"s": 72, "k": 250, "p": 67}, {"nm": "2:4", "block": 16, "sparsity": 0.75}, {}),
    "1:4, a fractional port": (SMALL, {"nm": "1:4", "block": 32, "sparsity": 0.8}, {"smem.bytes_per_cycle": 42}),
    "register-file stalls": (SMALL, {"nm": "2:4", "block": None}, {"rf.read_bytes_per_cycle": 7}),
    "few sums a cycle": (SMALL, {"nm": "2:4", "block": 16, "sparsity": 0.5}, {"dstc.accumulator_values_per_cycle": 8}),
    "tiles of two columns": (SMALL, {"nm": "3:4", "block": 16}, {"column_tile": 2, "smem.latency_cycles": 9}),
    "dense": ({"s": 9, "k": 16, "p": 1}, {"nm": "dense", "block": None}, {}),
    "empty slices and steps": (
        {"s": 70, "k": 200, "p": 70}, {"nm": "1:4", "block": 16, "sparsity": 0.95, "activation_sparsity": 0.98}, {}
    ),
    "no input at all": (SMALL, {"nm": "2:4", "block": 16, "sparsity": 0.75, "activation_sparsity": 1.0}, {}),
    "slow writes": (SMALL, {"nm": "2:4", "block": 16}, {"smem.write_bytes_per_cycle": 3, "core.pipeline_cycles": 30}),
    "a small SMEM and a DRAM": (
        {"s": 72, "k": 250, "p": 67}, {"nm": "2:4", "block": 16, "sparsity": 0.75},
        {"smem.capacity_bytes": 24_000, "dram.bytes_per_cycle": 17, "dram.latency_cycles": 50},
    ),
    "a slow DRAM": (
        SMALL, {"nm": "2:4", "block": 16, "sparsity": 0.5},
        {"dram.bytes_per_cycle": 3, "dram.latency_cycles": 20, "dram.burst_bytes": 24},
    ),
}  # fmt: skip
WITH_DRAM = [name for name, (_, _, machine) in CASES.items() if "dram.bytes_per_cycle" in machine]


def gemm(name="l", *, s, k, p, **fields):
    return Layer(
        name=name, kind="gemm", in_height=p, in_width=1, kernel_h=1, kernel_w=1, in_channels=k, out_channels=s, **fields
    )


WHOLE = Window(0, 10**6)


def run(layers, *, window=WHOLE, names=None, machine=None, compress=False, most=1 << 20, **options):
    """The bytes of a trace of all architectures, the results, and the tracer's notice."""
    specs = [load_arch(name, "edge", machine or {}) for name in ARCHITECTURES]
    tracer = Tracer(names or [layer.name for layer in layers], specs, window, most_events=most)
    results = simulate(layers, specs, observer=tracer, **options)
    file = io.BytesIO()
    write_trace(file, tracer, version="0", compress=compress)
    return file.getvalue(), results, tracer.notice()


def thousandths(time):
    """A time of the file, exactly."""
    cycles, _, rest = time.partition(".")
    return int(cycles) * 1000 + int(rest.ljust(3, "0") or 0)


class Trace:
    """A trace read from its file alone: rows of (start, end, name, args) in thousandths, counters, layers."""

    def __init__(self, data):
        events = json.loads(data, parse_float=str, parse_int=str)["traceEvents"]
        process, thread = {}, {}
        self.rows, self.counters, self.order = defaultdict(list), defaultdict(list), defaultdict(list)
        for event in events:
            if event["ph"] == "M" and event["name"] == "process_name":
                process[event["pid"]] = event["args"]["name"]
            elif event["ph"] == "M" and event["name"] == "thread_name":
                row = process[event["pid"]], event["args"]["name"]
                thread[event["pid"], event["tid"]] = row
                self.order[row[0]].append((row[1], int(event["tid"])))
        for event in events:
            if event["ph"] in "Xi":
                start = thousandths(event["ts"])
                end = start + (thousandths(event["dur"]) if event["ph"] == "X" else 0)
                args = {key: int(value) for key, value in event["args"].items()}
                self.rows[thread[event["pid"], event["tid"]]].append((start, end, event["name"], args))
            elif event["ph"] == "C":
                (value,) = event["args"].values()
                self.counters[process[event["pid"]], event["name"]].append((thousandths(event["ts"]), float(value)))

    def of(self, arch, words):
        """The slices of an architecture's rows whose name has these words."""
        return [piece for (own, row), pieces in self.rows.items() if own == arch and words in row for piece in pieces]

    def time(self, arch, row):
        """Thousandths by name of slice."""
        times = Counter()
        for start, end, name, _ in self.rows[arch, row]:
            times[name] += end - start
        return times


@pytest.fixture(scope="module", params=CASES)
def whole(request):
    shape, options, machine = CASES[request.param]
    options.setdefault("sparsity", None)
    data, results, notice = run([gemm(**shape)], machine=machine, **options)
    assert notice == ""
    return request.param, Trace(data), results


def test_cycles_of_every_core_by_cause(whole):
    _, trace, results = whole
    for row in results.rows:
        for core, cycles in enumerate(row.group.core_cycles.tolist()):
            times = trace.time(row.arch, f"core {core} MACs")
            assert {cause: times.pop(NAMES[cause], 0) for cause in CAUSES} == {
                cause: 1000 * number for cause, number in zip(CAUSES, cycles, strict=True)
            }
            assert set(times) <= {"empty step"}
            assert times["empty step"] == 0
            pieces = sorted(trace.rows[row.arch, f"core {core} MACs"], key=lambda piece: piece[:2])
            assert [piece[0] for piece in pieces] == [0, *(piece[1] for piece in pieces[:-1])]  # no gap
            assert pieces[-1][1] == 1000 * row.cycles


def test_bytes_of_both_ports(whole):
    _, trace, results = whole
    for row in results.rows:
        passed = [(name, args) for _, _, name, args in trace.of(row.arch, "read port")]
        assert sum(args["bytes"] for _, args in passed) == row.group.smem_read_bytes
        read = [args for name, args in passed if not name.startswith("write-back")]
        assert sum(args["metadata_bytes"] for args in read) == row.group.metadata_bytes
        for what, expected in (("weights", row.group.weight_bytes), ("activations", row.group.activation_bytes)):
            stored = [args for _, _, _, args in trace.of(row.arch, what)]
            assert sum(args["bytes"] - args["metadata_bytes"] for args in stored) == expected
        written = [args["bytes"] for _, _, _, args in trace.of(row.arch, "write port")]
        assert sum(written) == row.group.smem_write_bytes


def test_an_item_lies_in_its_slot_from_its_transfer_until_after_it_is_usable(whole):
    _, trace, results = whole
    for row in results.rows:
        latency = row.machine.smem.latency_cycles
        passed = {}
        for start, end, name, args in trace.of(row.arch, "read port"):
            stream, _, item = name.partition(": ")
            if not item:
                continue  # a write-back
            passed[stream, item, args.get("band"), args.get("turn")] = start, args
            last_byte = (end - 1) // 1000 if end > start else start // 1000
            assert abs(args["usable_from"] - latency - last_byte) <= (end % 1000 == 0)
        assert len(passed) == sum(": " in piece[2] for piece in trace.of(row.arch, "read port"))
        lain = 0
        for (arch, place), pieces in trace.rows.items():
            if arch == row.arch and ", slot " in place:
                for start, end, item, args in pieces:
                    stream = place.partition(", slot")[0]
                    assert passed[stream, item, args.get("band"), args.get("turn")] == (start, args)
                    assert end >= 1000 * args["usable_from"]
                    lain += 1
        assert lain == len(passed)


def test_a_step_has_its_operands_while_it_runs(whole):
    _, trace, results = whole
    for row in results.rows:
        sets = {int(name.split()[3].strip(",")) for name, _ in trace.order[row.arch] if name.startswith("activations")}
        for core in range(row.machine.core.count):
            own = core * max(1, len(sets)) // row.machine.core.count
            streams = f"activations of set {own},", f"weights of core {core},"
            lain = {item: (start, end) for name in streams for start, end, item, _ in trace.of(row.arch, name)}
            steps = [piece for piece in trace.rows[row.arch, f"core {core} MACs"] if piece[2] == "MAC"]
            assert [args["step"] for _, _, _, args in steps] == list(range(len(steps))) or row.arch == "dstc"
            for start, end, _, args in steps:
                for item in () if row.arch == "dstc" else (f"chunk {args['step']}", f"wave {args['wave']}"):
                    assert lain[item][0] < start
                    assert end <= lain[item][1]


def test_occupancy_of_the_ports(whole):
    _, trace, results = whole
    for row in results.rows:
        smem, group = row.machine.smem, row.group
        ports = [
            ("read port", smem.read_bytes_per_cycle, group.smem_read_bytes),
            ("write port", smem.write_bytes_per_cycle, group.smem_write_bytes),
        ]
        if row.machine.has_dram:
            moved = group.dram_read_bytes + group.dram_write_bytes
            ports.append(("DRAM channel", row.machine.dram.bytes_per_cycle, moved))
        assert {name for arch, name in trace.counters if arch == row.arch} == {f"{port[0]} occupancy" for port in ports}
        for port, bandwidth, total in ports:
            values = trace.counters[row.arch, f"{port} occupancy"]
            bytes_passed = 0
            for (start, value), (end, following) in zip(values, values[1:], strict=False):
                assert 0 <= value <= 100
                assert start % 1000 == 0
                assert value != following or end == 1000 * row.cycles
                bytes_passed += round(value * bandwidth / 100) * (end - start) // 1000
            assert bytes_passed == total
            assert values[0][0] == 0
            assert values[-1] == (1000 * row.cycles, 0)


def test_pieces_and_write_backs_on_the_channel(whole):
    """Every piece goes over the channel, and into the SMEM, whole."""
    case, trace, results = whole
    for row in results.rows:
        channel, group = trace.rows[row.arch, "DRAM channel"], row.group
        if case not in WITH_DRAM:
            assert not channel
            continue
        width = row.machine.dram.bytes_per_cycle
        back = sum(end - start for start, end, name, _ in channel if name.startswith("write-back"))
        assert abs(back * width - 1000 * group.dram_write_bytes) <= 2 * width * len(channel)  # times are rounded down
        written = Counter()
        sizes = {}
        for _, _, name, args in trace.of(row.arch, "write port"):
            if "piece" in args:
                written[name] += args["bytes"]
                assert sizes.setdefault(name, args["piece_bytes"]) == args["piece_bytes"]
                assert args["cycle"] >= args["arrived"]
        assert written == sizes
        assert sum(written.values()) == group.dram_read_bytes
        assert {name for _, _, name, _ in channel if "piece" in name} == set(written)
        for kind, total in (("inputs", group.dram_input_bytes), ("weights", group.dram_weight_bytes)):
            assert sum(size for piece, size in sizes.items() if kind in piece) == total
            numbers = [args["piece"] for _, _, piece, args in channel if f"DRAM {kind}" in piece]
            assert numbers == sorted(numbers)


def test_selection_works_when_the_macs_do(whole):
    _, trace, results = whole
    for row in results.rows:
        selects = row.arch == "dstc" or row.group.mux_selections > 0
        for core in range(row.machine.core.count):
            times = trace.time(row.arch, f"core {core} selection")
            assert sum(times.values()) == (trace.time(row.arch, f"core {core} MACs")["MAC"] if selects else 0)


def test_slices_of_a_row_do_not_overlap(whole):
    _, trace, _ = whole
    for pieces in trace.rows.values():
        ordered = sorted(pieces, key=lambda piece: piece[:2])
        for (_, end, _, _), (start, _, _, _) in zip(ordered, ordered[1:], strict=False):
            assert end <= start


def test_the_cases_are_what_they_are_called(whole):
    name, trace, _ = whole
    if name == "empty slices and steps":
        assert any(piece[2] == "empty step" for piece in trace.of("dstc", "MACs"))
    elif name == "two sets, ragged":
        assert trace.of("crisp-stc", "activations of set 1")
    elif name == "register-file stalls":
        assert {piece[2] for piece in trace.of("crisp-stc", "MACs")} >= {"MAC", "stall_rf"}
    elif name == "few sums a cycle":
        assert "stall_rf" in {piece[2] for piece in trace.of("dstc", "MACs")}
    elif name in WITH_DRAM:
        for arch in ARCHITECTURES:
            assert "stall_dram" in {piece[2] for piece in trace.of(arch, "MACs")}


def clipped(piece, first, last):
    """A slice or an instant cut to a window; None if it does not touch it."""
    start, end = max(piece[0], first), min(piece[1], last)
    return (start, end, *piece[2:]) if start < end or (piece[0] == piece[1] and first <= start < last) else None


@pytest.mark.parametrize(
    "name", ["two sets, ragged", "few sums a cycle", "empty slices and steps", "slow writes", *WITH_DRAM]
)
def test_a_window_shows_what_the_whole_trace_shows_there(name):
    shape, options, machine = CASES[name]
    layers = [gemm(**shape)]
    data, results, _ = run(layers, machine=machine, **options)
    whole, cycles = Trace(data), {row.arch: row.cycles for row in results.rows}
    for first, last in ((0, 1), (0, 50), (37, 38), (60, 95), (100, 260), (301, 420)):
        if last < min(cycles.values()):
            trace = Trace(run(layers, machine=machine, window=Window(first, last), **options)[0])
            assert trace.order == whole.order
            lo, hi = 1000 * first, 1000 * last
            for row, pieces in whole.rows.items():
                if row[1] != "layer":
                    cut = [clipped(piece, lo, hi) for piece in sorted(pieces, key=str)]
                    assert sorted(trace.rows[row], key=str) == sorted(filter(None, cut), key=str)
            for row, values in whole.counters.items():
                inside = [(time, value) for time, value in values if lo < time < hi]
                assert trace.counters[row] == [
                    (lo, [value for time, value in values if time <= lo][-1]), *inside, (hi, 0.0)
                ]  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["dense", "no input at all", "a slow DRAM"])
def test_every_cycle_of_a_window_has_a_name(name):
    """Cores that are done before a window, and wait for their last writes in it, included."""
    shape, options, machine = CASES[name]
    _, results, _ = run([gemm(**shape)], machine=machine, **options)
    cycles = {row.arch: row.cycles for row in results.rows}
    for first in range(0, max(cycles.values()), 7):
        trace = Trace(run([gemm(**shape)], machine=machine, window=Window(first, first + 3), **options)[0])
        for arch, end in cycles.items():
            for core in range(4):
                expected = 1000 * max(0, min(3, end - first))
                assert sum(trace.time(arch, f"core {core} MACs").values()) == expected


LAYERS = [
    gemm("a", **SMALL), gemm("b", s=64, k=64, p=300), gemm("c", s=16, k=32, p=4, groups=2), gemm('"d"', s=8, k=8, p=1)
]  # fmt: skip


def test_layers_stand_one_after_another_at_the_same_place_on_all_architectures():
    data, results, notice = run(LAYERS, window=Window(10, 110), nm="2:4", block=None)
    trace = Trace(data)
    starts = {arch: [piece[0] // 1000 for piece in trace.rows[arch, "layer"]] for arch in ARCHITECTURES}
    assert len({tuple(own) for own in starts.values()}) == 1
    assert starts["dense"] == [10, 210, 410, 510]
    cycles = {(row.layer.name, row.arch): row.cycles // row.layer.groups for row in results.rows}
    a, b, c, d = trace.rows["crisp-stc", "layer"]
    ended = cycles["a", "crisp-stc"]
    assert a[2] == f"a 40x72x21, cycles 10-{min(110, ended)} of {ended:,}"
    assert (a[3]["first"], a[3]["cycles"]) == (10, ended)
    assert "group 1 of 2" in c[2]
    assert d[2].startswith('"d" 8x8x1')
    assert b[1] - b[0] == 100_000
    for arch in ARCHITECTURES:
        assert trace.order[arch] == sorted(trace.order[arch], key=lambda row: row[1])
        kinds = [name for name, _ in trace.order[arch]]
        expected = ["layer", "core 0 MACs", "core 3 MACs", "core 0 selection", "slot 0", "read port", "write port"]
        places = [next(at for at, name in enumerate(kinds) if word in name) for word in expected if word in str(kinds)]
        assert places == sorted(places)
        assert ("core 0 selection" in kinds) == (arch != "dense")
    assert notice.startswith("cycles 10-110 of each layer; 4 layers on 4 architectures, ")
    assert notice.endswith("; of layers with several groups the first group")


def test_only_the_layers_asked_for_are_traced():
    trace = Trace(run(LAYERS, names=["b"], window=Window(0, 50), nm="2:4", block=None)[0])
    assert [piece[2].split()[0] for piece in trace.rows["stc", "layer"]] == ["b"]


def test_a_layer_that_ends_before_the_window_says_so():
    data, results, notice = run([LAYERS[3], LAYERS[1]], window=Window(200, 230), nm="2:4", block=None)
    trace = Trace(data)
    for row in results.rows[:4]:
        short = trace.rows[row.arch, "layer"][0]
        assert short[:2] == (200_000, 200_000)
        assert short[2] == f'"d" 8x8x1, ended at cycle {row.cycles}'
    assert "4 runs ended before cycle 200" in notice


@pytest.mark.parametrize(("count", "cycles"), [(20, DEFAULT_CYCLES // 80), (60, LEAST_CYCLES)])
def test_without_a_window_the_layers_share_a_budget(count, cycles):
    names = [str(index) for index in range(count)]  # of a run of which two layers are simulated here
    layers = [gemm(name, s=32, k=8, p=600) for name in names[:2]]
    trace = Trace(run(layers, names=names, window=AS_BUDGETED, nm="dense", block=None)[0])
    assert [end - start for start, end, _, _ in trace.rows["dense", "layer"]] == [1000 * cycles] * 2


def test_a_window_of_too_many_events_is_shortened_and_says_so():
    data, results, notice = run([LAYERS[1]], window=Window(0, 250), most=4 * 100, nm="2:4", block=None)
    trace = Trace(data)
    shorter = 0
    for row in results.rows:
        _, end, name, args = trace.rows[row.arch, "layer"][0]
        assert end == 1000 * args["last"]
        assert f"cycles 0-{args['last']} of" in name
        shorter += 0 < args["last"] < min(250, row.cycles)
    assert shorter >= 3
    assert f"{shorter} windows shortened further, to 100 events" in notice
    assert json.loads(data)["otherData"]["window"] == notice


def test_the_same_run_gives_the_same_bytes_whatever_the_jobs():
    one = run(LAYERS, window=Window(5, 90), nm="2:4", block=None, jobs=1)[0]
    assert one == run(LAYERS, window=Window(5, 90), nm="2:4", block=None, jobs=2)[0]
    compressed = run(LAYERS, window=Window(5, 90), nm="2:4", block=None, jobs=2, compress=True)[0]
    assert compressed == run(LAYERS, window=Window(5, 90), nm="2:4", block=None, compress=True)[0]
    assert compressed[3] == 0  # flags: no name
    assert compressed[4:8] == bytes(4)  # no time
    assert gzip.decompress(compressed) == one


def test_every_event_is_as_the_format_wants_it():
    document = json.loads(run(LAYERS, window=Window(0, 80), nm="2:4", block=None)[0])
    assert set(document) == {"otherData", "traceEvents"}
    about = document["otherData"]
    assert about["version"] == "crispsim 0"
    assert about["unit"] == "1 us is 1 cycle"
    required = {
        "X": {"name", "ph", "ts", "dur", "pid", "tid", "args"},
        "i": {"name", "ph", "s", "ts", "pid", "tid", "args"},
        "C": {"name", "ph", "ts", "pid", "args"},
        "M": {"name", "ph", "pid", "tid", "args"},
    }
    threads = {}
    for event in document["traceEvents"]:
        assert set(event) - {"cname"} == required[event["ph"]]
        assert isinstance(event["name"], str)
        assert all(isinstance(event[key], int | float) and event[key] >= 0 for key in ("ts", "dur") if key in event)
        assert event.get("dur", 1) > 0
        if event["ph"] == "M" and event["name"] == "thread_name":
            assert event["tid"] not in threads  # Perfetto's rule
            threads[event["tid"]] = event["pid"]
        elif event["ph"] in "Xi":
            assert threads[event["tid"]] == event["pid"]
    assert {event["ph"] for event in document["traceEvents"]} >= {"X", "C", "M"}
