"""SRAM figures: exact from the table, between its rows, refused outside it, and how far off interpolation is."""

import csv
import hashlib
import math
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from crispsim.bench.validation import sram_interpolation
from crispsim.bench.validation.sram_interpolation import interpolation_errors
from crispsim.sim import InputError
from crispsim.sim.energy import live_cacti, sram
from crispsim.sim.energy.sram import SramShape, Technology, find_sram, interpolate

DATA = Path(__file__).parents[2] / "sim" / "energy" / "data"
FIGURES = ("read_pj", "write_pj", "leakage_mw", "area_mm2")
LSTP45 = Technology(node_nm=45, cell_type="itrs-lstp", temperature_k=300)


def shape(size: int, word: int, banks: int = 1, ports: sram.Ports = "1rw") -> SramShape:
    return SramShape(size_bytes=size, word_bits=word, banks=banks, ports=ports)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (DATA / "cacti_sram.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def asked(row: dict[str, str]) -> tuple[SramShape, Technology]:
    technology = Technology(node_nm=int(row["tech_nm"]), cell_type=row["cell_type"], temperature_k=int(row["temp_k"]))
    ports = cast(sram.Ports, row["ports"])
    return shape(int(row["size_bytes"]), int(row["word_bits"]), int(row["banks"]), ports), technology


def offline(what: SramShape, technology: Technology = LSTP45) -> sram.Sram:
    return find_sram(what, technology, live=False)


def refusal(what: SramShape, technology: Technology = LSTP45, part: str = "smem") -> str:
    with pytest.raises(InputError) as caught:
        find_sram(what, technology, part=part, live=False)
    assert len(caught.value.lines) == 1
    assert "\n" not in caught.value.lines[0]
    return caught.value.lines[0]


def test_the_data_are_those_handed_over() -> None:
    # Regenerating the table is allowed; changing it by accident (an editor, a line-ending filter) is not.
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in DATA.glob("*.csv")}
    assert digests == {"cacti_sram.csv": "0b018244ba486fa4", "compute_energy.csv": "68781639f4bfba1a"}


def test_every_row_is_found_as_it_stands(rows: list[dict[str, str]]) -> None:
    assert len(rows) == 1920
    for row in rows:
        found = offline(*asked(row))
        assert found.origin == "table"
        for name in (*FIGURES, "access_ns", "cycle_ns"):
            assert getattr(found, name) == float(row[name])
    assert sum(len(points) for points in sram.grids().values()) == len(rows)


def test_a_row_says_what_it_is() -> None:
    found = offline(shape(262144, 128, 16))
    assert found.source == "CACTI 7, 262144 B, 16 banks of 128-bit words, 1rw, 45 nm itrs-lstp, 300 K"
    assert (found.read_pj, found.cycle_ns) == (65.029, 1.12712)
    assert "1 bank of 32-bit" in offline(shape(1024, 32)).source


def test_the_table_is_read_fast_and_once() -> None:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        sram.grids.__wrapped__()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.030
    assert sram.grids() is sram.grids()


@pytest.mark.parametrize("size", [200_000, 131_073, 262_143, 1_000_000])
@pytest.mark.parametrize(("word", "banks", "ports"), [(128, 16, "1rw"), (32, 4, "1r1w"), (64, 1, "2rw")])
def test_between_sizes_is_a_line_in_logarithms(
    rows: list[dict[str, str]], size: int, word: int, banks: int, ports: sram.Ports
) -> None:
    of_word = [(what.size_bytes, row) for row in rows for what, process in [asked(row)]
               if process == LSTP45 and (what.word_bits, what.banks, what.ports) == (word, banks, ports)]  # fmt: skip
    of_word.sort(key=lambda pair: pair[0])
    known = np.log([known for known, _ in of_word])
    found = offline(shape(size, word, banks, ports))
    for name in FIGURES:
        values = np.log([float(row[name]) for _, row in of_word])
        assert getattr(found, name) == pytest.approx(math.exp(np.interp(math.log(size), known, values)), rel=1e-12)
    assert (found.access_ns, found.cycle_ns, found.origin) == (None, None, "interpolated")


def test_between_words_is_a_line_in_logarithms(rows: list[dict[str, str]]) -> None:
    # 16 banks have words of 32, 128, 256 and 512 bits.
    found = offline(shape(262144, 64, 16))
    ends = [offline(shape(262144, word, 16)) for word in (32, 128)]
    for name in FIGURES:
        assert getattr(found, name) == pytest.approx(math.sqrt(math.prod(getattr(end, name) for end in ends)))
    assert found.source.endswith("300 K, interpolated (log-log) between 32- and 128-bit words")


def test_the_closer_neighbours_are_taken() -> None:
    # Of 49152 B there are 32- and 256-bit words, three octaves apart; of 128-bit words 32 and 64 KiB, one apart.
    found = offline(shape(49152, 128))
    assert found.source.endswith("interpolated (log-log) between 32768 and 65536 B")


def test_between_sizes_and_words_is_the_smallest_rectangle() -> None:
    found = offline(shape(200_000, 100, 16))
    assert found.source.endswith("between 131072 and 262144 B and between 32- and 128-bit words")
    # A corner is missing: 16 banks of 256-bit words begin at 16384 B, of 128-bit words at 8192 B.
    assert offline(shape(20_000, 200, 16)).source.endswith("16384 and 32768 B and between 128- and 256-bit words")
    refusal(shape(12_000, 200, 16))


def point(value: float) -> sram.GridPoint:
    return sram.GridPoint(sram.Figures(value, 2 * value, 1.0, value**2), 1.0, 1.0)


def test_a_rectangle_is_small_by_its_area() -> None:
    # Around 2048 B of 12 bits: two octaves by one, and one octave by three.
    flat = {(1024, 8): point(1), (4096, 8): point(1), (1024, 16): point(1), (4096, 16): point(1)}
    tall = {(1448, 8): point(1), (2896, 8): point(1), (1448, 64): point(1), (2896, 64): point(1)}
    found = interpolate(flat | tall, 2048, 12)
    assert found is not None
    assert (found.sizes, found.words) == ((1024, 4096), (8, 16))


def test_a_point_at_the_place_does_not_count() -> None:
    found = interpolate({(1024, 8): point(1), (2048, 8): point(9), (4096, 8): point(4)}, 2048, 8)
    assert found is not None
    assert found.figures.read_pj == pytest.approx(2)


def test_a_rectangle_by_hand() -> None:
    points = {(1024, 8): point(1), (4096, 8): point(16), (1024, 32): point(4), (4096, 32): point(1)}
    found = interpolate(points, 2048, 16)
    assert found is not None
    assert found.figures == pytest.approx((math.sqrt(math.sqrt(64)), 2 * math.sqrt(8), 1, 8))
    assert (found.sizes, found.words) == ((1024, 4096), (8, 32))
    assert interpolate({**points, (2048, 64): point(1)}, 2048, 33) is None


def test_nothing_is_extrapolated() -> None:
    for what in (shape(4_194_305, 64), shape(255, 64), shape(1024, 7), shape(1 << 20, 1025)):
        refusal(what)


def test_no_mix_of_processes_ports_or_banks() -> None:
    refusal(shape(262144, 128, 8))
    refusal(shape(262144, 128, 16, "1r1w"), replace(LSTP45, node_nm=32))
    refusal(shape(262144, 128), replace(LSTP45, node_nm=28))
    refusal(shape(262144, 128), replace(LSTP45, temperature_k=310))


def test_too_large_names_the_largest() -> None:
    line = refusal(shape(8 << 20, 64))
    assert line.startswith(
        "smem: 8388608 B, 1 bank of 64-bit words, 1rw, 45 nm itrs-lstp, 300 K: not in the SRAM table"
    )
    assert "nearest there: 4194304 B;" in line
    assert line.endswith("; --energy none runs without energy")
    assert offline(shape(4194304, 64)).origin == "table"


def test_missing_banks_name_those_there_are() -> None:
    assert "nearest there: 4 or 16 banks;" in refusal(shape(262144, 64, 8))
    assert "nearest there: 16 or 4 banks;" in refusal(shape(262144, 128, 12))
    assert "nearest there: 1 or 4 banks, or ports 2rw;" in refusal(shape(262144, 128, 2))
    assert offline(shape(262144, 64, 4)).origin == offline(shape(262144, 64, 16)).origin == "interpolated"


def test_missing_ports_name_those_there_are() -> None:
    line = refusal(shape(262144, 32, 16, "2rw"))
    assert "ports 1rw or 1r1w" in line
    assert "8192 B" in line
    assert offline(shape(262144, 32, 16, "1r1w")).origin == offline(shape(8192, 32, 16, "2rw")).origin == "table"


def test_unknown_node_names_the_nearest() -> None:
    assert "nearest there: 32 or 22 nm;" in refusal(shape(262144, 128), replace(LSTP45, node_nm=28))
    assert "nearest there: 22 nm;" in refusal(shape(262144, 128), replace(LSTP45, node_nm=7))


def test_unknown_cell_type_and_temperature_name_those_there_are() -> None:
    assert "itrs-hp or itrs-lop or itrs-lstp cells" in refusal(shape(1024, 32), replace(LSTP45, cell_type="finfet"))
    assert "300 or 350 K" in refusal(shape(1024, 32), replace(LSTP45, temperature_k=310))


WORD = re.compile(r"nearest there: (\d+) B, (\d+) banks? of (\d+)-bit words, (\w+), (\d+) nm (\S+), (\d+) K;")


@pytest.mark.parametrize(
    ("what", "technology"),
    [
        (shape(1 << 30, 64, 64, "2rw"), LSTP45),
        (shape(1 << 23, 64, 16), replace(LSTP45, node_nm=28)),
        (shape(1, 4096, 3, "1r1w"), replace(LSTP45, cell_type="finfet", temperature_k=1)),
    ],
)
def test_where_one_change_is_not_enough_a_row_is_named(what: SramShape, technology: Technology) -> None:
    match = WORD.search(refusal(what, technology))
    assert match
    size, banks, word, ports, node, cell, temperature = match.groups()
    assert ports == what.ports
    near = Technology(node_nm=int(node), cell_type=cell, temperature_k=int(temperature))
    assert offline(replace(what, size_bytes=int(size), word_bits=int(word), banks=int(banks)), near).origin == "table"


def test_a_refusal_says_what_is_asked_for() -> None:
    assert refusal(shape(10, 64), part="rf").startswith("rf: 10 B, 1 bank of 64-bit words")


@pytest.mark.parametrize("change", [{"size_bytes": 0}, {"word_bits": -1}, {"banks": 0}, {"ports": "3rw"}])
def test_a_shape_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        replace(shape(1024, 32), **change)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="node_nm: value 0"):
        replace(LSTP45, node_nm=0)


# Live CACTI, by stand-ins: what is asked of it, and when.


def test_live_is_not_asked_for_what_the_table_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_cacti, "available", lambda: pytest.fail("asked"))
    assert find_sram(shape(1024, 32), LSTP45).origin == "table"
    assert find_sram(shape(1025, 32), LSTP45, live=False).origin == "interpolated"


def test_live_comes_before_interpolation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_cacti, "available", lambda: None)
    monkeypatch.setattr(live_cacti, "run", lambda what, technology: replace(offline(shape(1024, 32)), origin="live"))
    assert find_sram(shape(1040, 32), LSTP45).origin == "live"
    assert find_sram(shape(1024, 32, 2), LSTP45).origin == "live"


def test_what_live_refuses_is_interpolated_or_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(what: SramShape, technology: Technology) -> sram.Sram:
        raise InputError("CACTI refuses it")

    monkeypatch.setattr(live_cacti, "available", lambda: None)
    monkeypatch.setattr(live_cacti, "run", refuse)
    assert find_sram(shape(1040, 32), LSTP45).origin == "interpolated"
    with pytest.raises(InputError, match=r"; no live CACTI: CACTI refuses it; --energy none"):
        find_sram(shape(1024, 32, 2), LSTP45)


def test_without_live_cacti_a_refusal_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_cacti, "available", lambda: "it is raining")
    assert find_sram(shape(1040, 32), LSTP45).origin == "interpolated"
    with pytest.raises(InputError, match=r"^rf: .*; no live CACTI: it is raining; --energy none runs"):
        find_sram(shape(1024, 32, 2), LSTP45, part="rf")


# How far off interpolation is.


def test_errors_between_sizes_by_hand(rows: list[dict[str, str]]) -> None:
    """The worst read energy of SRAMs in the middle of their two neighbours of twice and half the size."""
    curves: dict[tuple[object, ...], dict[int, float]] = {}
    for what, process, energy in ((*asked(row), float(row["read_pj"])) for row in rows):
        if process == LSTP45:
            curves.setdefault((what.word_bits, what.banks, what.ports), {})[what.size_bytes] = energy
    errors = []
    for curve in curves.values():
        sizes = sorted(curve)
        for below, size, above in zip(sizes, sizes[1:], sizes[2:], strict=False):
            if below * above == size * size:
                errors.append(abs(math.sqrt(curve[below] * curve[above]) / curve[size] - 1))
    found = interpolation_errors(LSTP45, "size left out")[0]
    assert found.figure == "read_pj"
    assert len(errors) > 250
    assert found.worst == pytest.approx(max(errors))
    assert found.median == pytest.approx(float(np.median(errors)), abs=0.01)


@pytest.mark.parametrize("node", [45, 22])
def test_errors_are_what_the_documents_say(node: int) -> None:
    technology = replace(LSTP45, node_nm=node)
    # Median 6% and at most 25% between powers of two (docs/energy.md); worse over the doubled gaps of leaving one out.
    for errors in interpolation_errors(technology, "powers of two"):
        assert (errors.srams, errors.median < 0.065, errors.worst < 0.25) == (60, True, True)
    for errors in interpolation_errors(technology):
        assert 440 < errors.srams < 460
        assert errors.median <= errors.ninetieth <= errors.worst < 0.45
        assert errors.median < 0.055


def test_the_study_prints_its_table() -> None:
    lines = sram_interpolation.markdown().splitlines()
    assert len(lines) == 2 + 4 * 2 * 4
    assert "| powers of two | 45 | read_pj | 60 | 6.4% |" in "\n".join(lines)
    with pytest.raises(ValueError, match="no SRAM"):
        interpolation_errors(replace(LSTP45, node_nm=28))
