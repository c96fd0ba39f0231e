"""CACTI 7, run: the binary that hwcomponents-cacti bundles, with the settings of `data/cacti_sram.csv`.

The package's own Python classes have read-write ports only and scale widths and depths by formulas of their own, so
that they do not reproduce the table; its binary does, given this file's configuration. The package is found but not
imported. Its binary is built for a recent glibc; where it does not start it has to be made again in place (`make clean`
first: the objects that come with it make a plain `make` copy the old binary), and `available` says so.

CACTI takes a fraction of a second to some seconds an SRAM; what it printed is kept in the user's cache, under a name
that hashes the configuration and the binary.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import importlib.util
import math
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import platformdirs

from ..errors import InputError
from .sram import Figures, GridPoint, Ports, Sram, SramShape, Technology

PACKAGE = "hwcomponents_cacti"
DISTRIBUTION = "hwcomponents-cacti"
_PYTHON = sys.version_info[:2]
LONGEST_RUN_SECONDS = 300
LARGEST_BYTES = (1 << 31) - 1  # CACTI counts bytes in 32 bits
CELL_TYPES = ("itrs-hp", "itrs-lop", "itrs-lstp")

# Read-write, exclusive read and exclusive write ports of a bank.
_PORTS: dict[Ports, tuple[int, int, int]] = {"1rw": (1, 0, 0), "1r1w": (0, 1, 1), "2rw": (2, 0, 0)}

# default_cfg.cfg of hwcomponents-cacti 1.0.40, written out so that another version's defaults change nothing. CACTI
# wants the lines about DRAM too; they have no effect on an SRAM's figures.
_SETTINGS = """\
-Array Power Gating - "false"
-WL Power Gating - "false"
-CL Power Gating - "false"
-Bitline floating - "false"
-Interconnect Power Gating - "false"
-Power Gating Performance Loss "default"
-single ended read ports 0
-page size (bits) 0
-burst length 8
-internal prefetch width 8
-Tag array cell type - "itrs-lstp"
-Tag array peripheral type - "itrs-lstp"
-access mode (normal, sequential, fast) - "fast"
-design objective (weight delay, dynamic power, leakage power, cycle time, area) 0:0:1000000:0:0
-deviate (delay, dynamic power, leakage power, cycle time, area) 20:10:100000:100:100
-NUCAdesign objective (weight delay, dynamic power, leakage power, cycle time, area) 100:100:0:0:100
-NUCAdeviate (delay, dynamic power, leakage power, cycle time, area) 10:10000:10000:10000:10000
-Optimize ED or ED^2 (ED, ED^2, NONE): "ED^2"
-Cache model (NUCA, UCA)  - "UCA"
-NUCA bank count 0
-Wire signaling (fullswing, lowswing, default) - "Global_30"
-Wire inside mat - "semi-global"
-Wire outside mat - "semi-global"
-Interconnect projection - "normal"
-Core count 1
-Add ECC - "false"
-Print level (DETAILED, CONCISE) - "DETAILED"
-Print input parameters - "true"
-Force cache config - "false"
-Ndwl 1
-Ndbl 1
-Nspd 0
-Ndcm 1
-Ndsam1 0
-Ndsam2 0
-dram_type "DDR3"
-io state "WRITE"
-addr_timing 1.0
-mem_density 4 Gb
-bus_freq 800 MHz
-duty_cycle 1.0
-activity_dq 1.0
-activity_ca 0.5
-num_dq 72
-num_dqs 18
-num_ca 25
-num_clk  2
-num_mem_dq 2
-mem_data_width 8
-rtt_value 10000
-ron_value 34
-tflight_value
-num_bobs 1
-capacity 80
-num_channels_per_bob 1
-first metric "Cost"
-second metric "Bandwidth"
-third metric "Energy"
-DIMM model "ALL"
-mirror_in_bob "F"
-cache type "ram"
-tag size (b) 0
-associativity 1
"""


def available() -> str | None:
    """None if CACTI can be run here, else why not, in one line."""
    folder = _folder()
    if folder is None:
        if _PYTHON < (3, 12):
            return f"{DISTRIBUTION} needs Python >= 3.12; this is {'.'.join(map(str, _PYTHON))}"
        return f"{DISTRIBUTION} is not installed"
    return _why_not_started(folder)


def run(shape: SramShape, technology: Technology) -> Sram:
    """Run CACTI, or take what it printed for the same SRAM before.

    Raises
    ------
    InputError
        CACTI cannot be run here, does not accept the SRAM or finds no layout for it.
    """
    _check(shape, technology)
    return _run(shape, technology)


def configuration(shape: SramShape, technology: Technology) -> str:
    """Text of CACTI's configuration file."""
    read_write, read, write = _PORTS[shape.ports]
    return (
        _SETTINGS
        + f"-size (bytes) {shape.size_bytes}\n"
        + f"-block size (bytes) {shape.word_bits // 8}\n"
        + f"-output/input bus width {shape.word_bits}\n"
        + f"-UCA bank count {shape.banks}\n"
        + f"-read-write port {read_write}\n"
        + f"-exclusive read port {read}\n"
        + f"-exclusive write port {write}\n"
        + f"-technology (u) {technology.node_nm / 1000:g}\n"
        + f'-Data array cell type - "{technology.cell_type}"\n'
        + f'-Data array peripheral type - "{technology.cell_type}"\n'
        + f"-operating temperature (K) {technology.temperature_k}\n"
    )


def parse(output: str, banks: int) -> GridPoint:
    """Figures in the table that CACTI writes beside its configuration file (its last row), to its six digits.

    Raises
    ------
    ValueError
        It is not such a table, or a figure is not a positive number.
    """
    rows = list(csv.reader(output.splitlines(), skipinitialspace=True))
    if len(rows) < 2 or len(rows[-1]) != len(rows[0]):
        raise ValueError("not a table of CACTI's")
    row = dict(zip(rows[0], rows[-1], strict=True))
    names = [
        ("Dynamic read energy (nJ)", 1000),
        ("Dynamic write energy (nJ)", 1000),
        ("Standby leakage per bank(mW)", banks),
        ("Area (mm2)", 1),
        ("Access time (ns)", 1),
        ("Random cycle time (ns)", 1),
    ]
    values = []
    for name, factor in names:
        if name not in row:
            raise ValueError(f"no column {name}")
        value = float(row[name]) * factor
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {row[name]}")
        values.append(float(f"{value:.6g}"))
    return GridPoint(Figures(*values[:4]), *values[4:])


def _check(shape: SramShape, technology: Technology) -> None:
    """What CACTI would round or cut without a word. (It also leaves out part of a word at the end: so be it.)"""
    if shape.word_bits % 8:
        raise InputError(f"CACTI: {shape}: words must be whole bytes")
    if shape.size_bytes % shape.banks:
        raise InputError(f"CACTI: {shape}: every bank must be as large as the others, in whole bytes")
    if shape.size_bytes > LARGEST_BYTES:
        raise InputError(f"CACTI: {shape}: at most {LARGEST_BYTES} B")
    if technology.cell_type not in CELL_TYPES:
        raise InputError(f"CACTI: cell type {technology.cell_type}: must be one of {', '.join(CELL_TYPES)}")


@functools.cache
def _run(shape: SramShape, technology: Technology) -> Sram:
    folder = _folder()
    reason = available()
    if folder is None or reason is not None:
        raise InputError(f"CACTI: {reason}")
    text = configuration(shape, technology)
    kept = _cache_folder() / f"{_name(text, folder / 'cacti')}.csv"
    try:
        point = parse(kept.read_text("utf-8"), shape.banks)
    except (OSError, ValueError):  # not there, or not whole
        output = _output(folder, text, f"{shape}, {technology}")
        try:
            point = parse(output, shape.banks)
        except ValueError as error:
            raise InputError(f"CACTI: {shape}, {technology}: {error}") from None
        _keep(kept, output)
    return Sram(
        shape=shape,
        technology=technology,
        **point.figures._asdict(),
        access_ns=point.access_ns,
        cycle_ns=point.cycle_ns,
        origin="live",
        source=f"CACTI 7 run live ({_version()}), {shape}, {technology}",
    )


@functools.cache
def _folder() -> Path | None:
    """Where the package keeps CACTI, if it is installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).resolve().parent / "cacti"


@functools.cache
def _why_not_started(folder: Path) -> str | None:
    """Start the binary without arguments: it then says how to use it."""
    try:
        done = subprocess.run(
            ["./cacti"], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        said = done.stdout + done.stderr
        if "how to use CACTI" in said:
            return None
        reason = next((line.strip() for line in said.splitlines() if line.strip()), f"exit code {done.returncode}")
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
    return f"the CACTI of {DISTRIBUTION} does not start ({reason}): make -C {folder} clean && make -C {folder}"


def _output(folder: Path, text: str, what: str) -> str:
    """Run CACTI in a folder of its own (it reads its parameters from the working folder) and give its table."""
    with tempfile.TemporaryDirectory(prefix="crispsim-cacti-") as name:
        config = Path(name) / "sram.cfg"
        config.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run(
                ["./cacti", "-infile", str(config)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=LONGEST_RUN_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"CACTI: {what}: no answer in {LONGEST_RUN_SECONDS} s") from None
        except OSError as error:
            raise InputError(f"CACTI: {what}: cannot be run: {error.strerror}") from None
        # CACTI's exit code is 0 too where it refuses: whether there is a table is what counts.
        with suppress(OSError):
            return config.with_name("sram.cfg.out").read_text("utf-8")
    raise InputError(f"CACTI refuses {what}: {_reason(done.stdout, done.stderr)}")


def _reason(stdout: str, stderr: str) -> str:
    """What CACTI says of a refusal: on the standard error, or last on the standard output."""
    errors = [line.strip() for line in stderr.splitlines() if line.strip()]
    lines = [line.strip() for line in stdout.splitlines() if line.strip()]
    reason = errors[0] if errors else lines[-1] if lines else "it does not say why"
    return reason.removeprefix("ERROR:").strip().rstrip(".:")


def _cache_folder() -> Path:
    return Path(platformdirs.user_cache_dir("crispsim", appauthor=False)) / "cacti"


def _name(text: str, binary: Path) -> str:
    return hashlib.sha256(text.encode() + b"\0" + hashlib.sha256(binary.read_bytes()).digest()).hexdigest()[:32]


def _keep(path: Path, output: str) -> None:
    """Write a file of the cache, whole or not at all; where there can be no cache there is none."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(output)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


def _version() -> str:
    try:
        return f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}"
    except metadata.PackageNotFoundError:
        return DISTRIBUTION
