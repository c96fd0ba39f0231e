"""Running CACTI: its configuration, what it prints, what is kept, and (where it is installed) the table again."""

import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crispsim.sim import InputError
from crispsim.sim.energy import live_cacti
from crispsim.sim.energy.sram import PORTS, Figures, GridPoint, Sram, SramShape, Technology, find_sram

LSTP45 = Technology(node_nm=45, cell_type="itrs-lstp", temperature_k=300)
SMEM = SramShape(size_bytes=262144, word_bits=128, banks=16, ports="1rw")

# What CACTI of hwcomponents-cacti 1.0.40 wrote for SMEM at LSTP45.
HEAD = (
    "Tech node (nm), Capacity (bytes), Number of banks, Associativity, Output width (bits), Access time (ns), "
    "Random cycle time (ns), Dynamic search energy (nJ), Dynamic read energy (nJ), Dynamic write energy (nJ), "
    "Standby leakage per bank(mW), Area (mm2), Ndwl, Ndbl, Nspd, Ndcm, Ndsam_level_1, Ndsam_level_2, "
    "Data arrary area efficiency %, Ntwl, Ntbl, Ntspd, Ntcm, Ntsam_level_1, Ntsam_level_2, "
    "Tag arrary area efficiency %, "
)
ROW = (
    "45, 262144, 16, 1, 128, 2.23668, 1.12712, N/A, 0.065029, 0.0775033, 0.000575839, 0.961891, 2, 2, 2, 4, 1, 1, "
    "64.4587, N/A, N/A, N/A, N/A, N/A, N/A, N/A, "
)
OUTPUT = f"{HEAD}\n{ROW}\n"


KEPT = (live_cacti._folder, live_cacti._why_not_started, live_cacti._run)


def forget() -> None:
    """Let the process forget what it found before."""
    for function in KEPT:
        function.cache_clear()


NO_CACTI = live_cacti.available()
where_cacti_is = pytest.mark.skipif(NO_CACTI is not None, reason=f"no live CACTI: {NO_CACTI}")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own, on disk and in the process."""
    monkeypatch.setattr(live_cacti, "_cache_folder", lambda: tmp_path / "cache")
    forget()
    yield tmp_path / "cache"
    forget()


Install = Callable[[str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a stand-in of the package, whose CACTI is a shell script; importing it fails."""

    def make(script: str) -> Path:
        folder = tmp_path / "site" / live_cacti.PACKAGE
        (folder / "cacti").mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
        binary = folder / "cacti" / "cacti"
        binary.write_text(f"#!/bin/sh\n{script}\n")
        binary.chmod(0o755)
        return binary

    monkeypatch.syspath_prepend(tmp_path / "site")
    return make


# Says how to use it, or counts the run in `runs` beside it, checks its folder and its arguments, and answers.
ANSWERS = f"""
[ $# -eq 0 ] && {{ echo ' Invalid arguments -- how to use CACTI:' >&2; exit 1; }}
[ -f ./cacti ] && [ "$1" = -infile ] && [ -f "$2" ] || exit 9
echo run >> runs
cat "$2" > last.cfg
cat > "$2.out" <<'EOF'
{OUTPUT}EOF
"""

USAGE = "[ $# -eq 0 ] && { echo 'how to use CACTI' >&2; exit 1; }\n"


def runs(binary: Path) -> int:
    return len(binary.with_name("runs").read_text().splitlines())


def test_without_the_package_the_reason_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_cacti, "_folder", lambda: None)
    monkeypatch.setattr(live_cacti, "_PYTHON", (3, 11))
    assert live_cacti.available() == "hwcomponents-cacti needs Python >= 3.12; this is 3.11"


def test_a_newer_python_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_cacti, "_folder", lambda: None)
    monkeypatch.setattr(live_cacti, "_PYTHON", (3, 12))
    assert live_cacti.available() == "hwcomponents-cacti is not installed"
    with pytest.raises(InputError, match=r"^CACTI: hwcomponents-cacti is not installed$"):
        live_cacti.run(SMEM, LSTP45)


def test_a_binary_that_does_not_start_says_what_to_do(install: Install) -> None:
    binary = install("echo \"./cacti: libc.so.6: version 'GLIBC_2.38' not found\" >&2; exit 1")
    reason = live_cacti.available()
    assert reason is not None
    assert "does not start (./cacti: libc.so.6: version 'GLIBC_2.38' not found)" in reason
    assert reason.endswith(f"make -C {binary.parent} clean && make -C {binary.parent}")
    assert "\n" not in reason
    binary.chmod(0o644)
    forget()
    assert "does not start (Permission denied)" in str(live_cacti.available())
    binary.unlink()
    forget()
    assert "does not start (No such file or directory)" in str(live_cacti.available())


def test_a_run(install: Install) -> None:
    binary = install(ANSWERS)
    assert live_cacti.available() is None
    found = live_cacti.run(SMEM, LSTP45)
    assert found == Sram(
        shape=SMEM,
        technology=LSTP45,
        read_pj=65.029,
        write_pj=77.5033,
        leakage_mw=0.00921342,
        area_mm2=0.961891,
        access_ns=2.23668,
        cycle_ns=1.12712,
        origin="live",
        source=f"CACTI 7 run live ({live_cacti._version()}), 262144 B, 16 banks of 128-bit words, 1rw, "
        "45 nm itrs-lstp, 300 K",
    )
    assert binary.with_name("last.cfg").read_text() == live_cacti.configuration(SMEM, LSTP45)
    assert live_cacti.PACKAGE not in sys.modules


def test_it_is_run_once_a_process_and_once_a_machine(install: Install, cache: Path) -> None:
    binary = install(ANSWERS)
    first = live_cacti.run(SMEM, LSTP45)
    assert live_cacti.run(SMEM, LSTP45) is first
    forget()
    assert live_cacti.run(SMEM, LSTP45) == first
    assert runs(binary) == 1
    assert [path.suffix for path in cache.iterdir()] == [".csv"]
    live_cacti.run(replace(SMEM, ports="2rw"), LSTP45)
    live_cacti.run(SMEM, replace(LSTP45, temperature_k=350))
    assert runs(binary) == 3
    assert len(list(cache.iterdir())) == 3


def test_another_binary_is_run_again(install: Install) -> None:
    binary = install(ANSWERS)
    live_cacti.run(SMEM, LSTP45)
    install(ANSWERS + "# a later version\n")
    forget()
    live_cacti.run(SMEM, LSTP45)
    assert runs(binary) == 2


@pytest.mark.parametrize("kept", ["", "x", HEAD, OUTPUT[:-120], OUTPUT.replace("0.065029", "nan")])
def test_a_broken_file_of_the_cache_is_made_again(install: Install, cache: Path, kept: str) -> None:
    binary = install(ANSWERS)
    first = live_cacti.run(SMEM, LSTP45)
    (path,) = cache.iterdir()
    path.write_text(kept)
    forget()
    assert live_cacti.run(SMEM, LSTP45) == first
    assert runs(binary) == 2
    assert path.read_text() == OUTPUT


def test_files_of_the_cache_are_put_in_place_whole(
    install: Install, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(ANSWERS)

    def fail(self: Path, target: Path) -> Path:
        assert self.parent == cache
        assert self.read_text() == OUTPUT
        assert not target.exists()
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    assert live_cacti.run(SMEM, LSTP45).origin == "live"
    assert list(cache.iterdir()) == []


def test_no_cache_is_no_error(install: Install, cache: Path) -> None:
    install(ANSWERS)
    cache.write_text("a file where the folder should be")
    assert live_cacti.run(SMEM, LSTP45).origin == "live"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo ' Number of sets is too small: ' >&2; echo 'Need to ...' >&2; exit 0", "Number of sets is too small"),
        ("echo 'Cache size: 3'; echo 'ERROR: no valid data array organizations found'; exit 1", "no valid data array"),
        ("exit 0", "it does not say why"),
    ],
)
def test_a_refusal_is_a_line_with_cactis_reason(install: Install, cache: Path, script: str, reason: str) -> None:
    install(USAGE + script)
    with pytest.raises(InputError, match=f"^CACTI refuses 262144 B, 16 banks .* 300 K: {reason}") as caught:
        live_cacti.run(SMEM, LSTP45)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_an_answer_that_is_no_number_is_refused(install: Install, cache: Path) -> None:
    install(ANSWERS.replace("0.0775033", "-nan"))
    with pytest.raises(InputError, match=r"Dynamic write energy \(nJ\) is -nan"):
        live_cacti.run(SMEM, LSTP45)
    assert not cache.exists()


def test_an_endless_run_is_ended(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(USAGE + "exec sleep 60")
    monkeypatch.setattr(live_cacti, "LONGEST_RUN_SECONDS", 0.2)
    with pytest.raises(InputError, match=r"no answer in 0\.2 s"):
        live_cacti.run(SMEM, LSTP45)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"word_bits": 12}, "whole bytes"),
        ({"size_bytes": 1001}, "every bank"),
        ({"size_bytes": 1 << 40}, "at most 2147483647 B"),
    ],
)
def test_what_cacti_would_round_is_refused(install: Install, change: dict[str, int], rule: str) -> None:
    install(ANSWERS)
    with pytest.raises(InputError, match=rule):
        live_cacti.run(replace(SMEM, **change), LSTP45)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="cell type finfet: must be one of itrs-hp"):
        live_cacti.run(SMEM, replace(LSTP45, cell_type="finfet"))


def test_find_sram_runs_it(install: Install) -> None:
    install(ANSWERS)
    assert find_sram(replace(SMEM, banks=8), LSTP45).origin == "live"
    assert find_sram(SMEM, LSTP45).origin == "table"


def settings(what: SramShape, technology: Technology) -> dict[str, str]:
    """The last value of each key of a configuration, as CACTI would take it."""
    lines = live_cacti.configuration(what, technology).splitlines()
    keys = ("-size (bytes)", "-block size (bytes)", "-output/input bus width", "-UCA bank count", "-read-write port",
            "-exclusive read port", "-exclusive write port", "-technology (u)", "-Data array cell type -",
            "-Data array peripheral type -", "-operating temperature (K)", "-cache type", "-associativity",
            "-tag size (b)", "-Optimize ED or ED^2 (ED, ED^2, NONE):",
            "-Wire signaling (fullswing, lowswing, default) -",
            "-access mode (normal, sequential, fast) -", "-Add ECC -", "-Cache model (NUCA, UCA)  -",
            "-Interconnect projection -", "-Wire inside mat -", "-Wire outside mat -",
            "-design objective (weight delay, dynamic power, leakage power, cycle time, area)",
            "-deviate (delay, dynamic power, leakage power, cycle time, area)")  # fmt: skip
    found = {key: [line[len(key) + 1 :].strip('"') for line in lines if line.startswith(key + " ")] for key in keys}
    assert all(len(values) == 1 for values in found.values()), "each key once"
    return {key: value for key, (value,) in found.items()}


def test_the_configuration_is_that_of_the_tables_header() -> None:
    found = settings(SMEM, LSTP45)
    assert list(found.values()) == [
        "262144", "16", "128", "16", "1", "0", "0", "0.045", "itrs-lstp", "itrs-lstp", "300", "ram", "1", "0", "ED^2",
        "Global_30", "fast", "false", "UCA", "normal", "semi-global", "semi-global", "0:0:1000000:0:0",
        "20:10:100000:100:100",
    ]  # fmt: skip
    other = settings(
        SramShape(size_bytes=1024, word_bits=40, banks=1, ports="1r1w"),
        Technology(node_nm=22, cell_type="itrs-hp", temperature_k=350),
    )
    assert list(other.values())[:11] == ["1024", "5", "40", "1", "0", "1", "1", "0.022", "itrs-hp", "itrs-hp", "350"]
    assert [settings(replace(SMEM, ports=ports), LSTP45)["-read-write port"] for ports in PORTS] == ["1", "0", "2"]


def test_parse_gives_the_row_of_the_table() -> None:
    assert live_cacti.parse(OUTPUT, 16) == GridPoint(Figures(65.029, 77.5033, 0.00921342, 0.961891), 2.23668, 1.12712)
    # CACTI appends: the last row is that of the last run.
    assert live_cacti.parse(OUTPUT + ROW.replace("0.065029", "0.1") + "\n", 16).figures.read_pj == 100


@pytest.mark.parametrize("text", ["", HEAD, ROW, "a, b\n1, 2\n", OUTPUT.replace("1.12712", "0"), OUTPUT[:-30]])
def test_parse_refuses_what_is_no_table(text: str) -> None:
    with pytest.raises(ValueError):
        live_cacti.parse(text, 16)


POINTS = [
    (262144, 128, 16, "1rw", 45),
    (262144, 32, 4, "1rw", 45),
    (1024, 32, 1, "1r1w", 45),
    (16384, 256, 16, "1r1w", 45),
    (8192, 32, 2, "2rw", 45),
    (131072, 512, 4, "1rw", 22),
    (1024, 96, 1, "1rw", 22),
    (4096, 256, 4, "1r1w", 22),
]


@where_cacti_is
@pytest.mark.parametrize("point", POINTS, ids=lambda point: "-".join(map(str, point)))
def test_cacti_gives_the_rows_of_the_table(point: tuple[int, int, int, str, int]) -> None:
    size, word, banks, ports, node = point
    path = Path(__file__).parents[2] / "sim" / "energy" / "data" / "cacti_sram.csv"
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = (
            row
            for row in csv.DictReader(line for line in file if not line.startswith("#"))
            if [row[key] for key in ("size_bytes", "word_bits", "banks", "ports", "tech_nm", "temp_k", "cell_type")]
            == [*map(str, point), "300", "itrs-lstp"]
        )
    what = SramShape(size_bytes=size, word_bits=word, banks=banks, ports=next(p for p in PORTS if p == ports))
    found = live_cacti.run(what, replace(LSTP45, node_nm=node))
    for name in ("read_pj", "write_pj", "leakage_mw", "area_mm2", "access_ns", "cycle_ns"):
        assert getattr(found, name) == float(row[name])


@where_cacti_is
def test_cacti_refuses_in_a_line() -> None:
    with pytest.raises(InputError, match="power of 2"):
        live_cacti.run(replace(SMEM, banks=3, size_bytes=3 * 16384), LSTP45)
    with pytest.raises(InputError, match="no valid data array organizations found"):
        live_cacti.run(SramShape(size_bytes=64, word_bits=32, banks=1, ports="1rw"), LSTP45)
