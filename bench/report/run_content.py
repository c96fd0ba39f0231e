"""What a report says of a run's folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...sim import InputError
from ...sim.archs import BASELINE
from ...sim.machine import flatten
from ...sim.result import CAUSE_COLUMNS
from ..run_folder import RunFolder
from .content import (
    Block,
    Cell,
    Code,
    Column,
    Heading,
    Notes,
    Picture,
    Report,
    Section,
    Table,
    Text,
    listed,
    significant,
)
from .layer_columns import LAYER_COLUMNS, MAIN, layer_columns
from .machine_content import machine_blocks, memory_blocks, origin_of, plain_value, source_blocks

# The parts of energy, with what they are.
PARTS = {
    "mac_uj": ("MACs", "multiplications and additions"),
    "select_uj": ("selection", "MUXes, popcounts, crossbars"),
    "rf_uj": ("register files", "operands"),
    "accumulator_uj": ("partial sums", "wherever they are held"),
    "smem_uj": ("SMEM", "weights and activations read, results written"),
    "metadata_uj": ("metadata", "read from the SMEM"),
    "leakage_uj": ("leakage", "of all memory arrays, over the latency"),
}
CAUSES = {
    "busy": "cores multiply",
    "stall_drain": "own sums of the tile before, or the last results, are not written out yet",
    "stall_smem": "an operand of the core's own has not arrived from the SMEM",
    "stall_rf": "a step takes longer than its MACs need, for a port of the register file or accumulation buffer",
    "stall_sync": "only another core of the sharing set is not ready",
    "idle": "no rows in this band, or all done",
}
# Whole units that a total is shown in: the largest of which every architecture has at least one.
LATENCY = ((1e6, "s"), (1e3, "ms"), (1, "µs"))
ENERGY = ((1e6, "J"), (1e3, "mJ"), (1, "µJ"))
EDP = ((1e12, "J·s"), (1e9, "mJ·s"), (1e6, "µJ·s"), (1e3, "nJ·s"), (1, "pJ·s"))
INSTALL = "pip install 'crispsim[plot]'"
MOST_NAMED = 24  # layers of one kind in the text
POWER_NOTE = "1 TOPS/W is one operation a picojoule; a MAC is two operations"


def run_report(run: RunFolder, pictures: Sequence[Picture] | None) -> Report:
    """The report of a run that `check_run` has looked at; pictures None: matplotlib to draw them is not installed.

    Raises
    ------
    InputError
        Its config.toml cannot be read.
    """
    energy = run.summary.get("energy")
    sections = [
        Section(id="results", title="Results", blocks=_headline(run)),
        Section(id="reading", title="What to know when reading it", blocks=_reading(run, energy)),
        Section(id="figures", title="Figures", blocks=_figures(pictures)),
        Section(id="layers", title="Layers", blocks=_layers(run)),
        Section(id="stalls", title="Where the core-cycles went", blocks=_stalls(run)),
    ]
    if run.has_energy:
        sections.append(Section(id="energy", title="Where the energy went", blocks=_energy_parts(run)))
    sections.append(Section(id="totals", title="All totals", blocks=_all_totals(run)))
    sections.append(Section(id="machine", title="Machine", blocks=[*machine_blocks(run), *memory_blocks(energy)]))
    if energy:
        sections.append(Section(id="sources", title="Where the energy figures come from", blocks=source_blocks(energy)))
    sections.append(Section(id="again", title="How to run it again", blocks=_again(run)))
    version = run.summary.get("versions", {}).get("crispsim", "")
    return Report(
        title=f"{network_name(run)} on {listed(run.archs)}",
        facts=_facts(run, energy),
        sections=sections,
        made_by=f"Made by crispsim report from the results.csv, summary.json and config.toml of crispsim {version}.",
        notices=[] if pictures is not None else [f"no figures: matplotlib is not installed: {INSTALL}"],
    )


def network_name(run: RunFolder) -> str:
    """The name of the layer table or packed file."""
    options = run.summary.get("options", {})
    path = options.get("layer_csv") or options.get("weights")
    return Path(str(path)).stem if path else "A network"


def check_run(run: RunFolder) -> None:
    """Look at what a report takes for granted: which values are tables, lists and numbers.

    Raises
    ------
    InputError
        A file of the folder has a shape that no run writes.
    """

    def need(holds: bool, what: str) -> None:
        if not holds:
            raise InputError(f"{run.path}: not a run's folder: {what}")

    for column in _NEEDED:
        need(column in run.rows.columns, f"results.csv: column {column} is missing")
    for column in run.rows.columns:
        if LAYER_COLUMNS.get(column, Column(label="")).form not in ("text", "any"):
            need(run.rows[column].dtype.kind in "iuf", f"results.csv: column {column}: must hold numbers")
    for arch, total in run.summary["totals"].items():
        need(isinstance(total, dict), f"summary.json: totals.{arch}: must be a table")
        for key, value in flatten(total).items():
            need(key == "arch" or value is None or _number(value), f"summary.json: totals.{arch}.{key}: not a number")
        need((total.get("cycles") or 0) > 0, f"summary.json: totals.{arch}.cycles: must be positive")
        causes = total.get("core_cycles")
        need(isinstance(causes, dict), f"summary.json: totals.{arch}.core_cycles: must be a table")
        need(not run.has_energy or _number(total.get("energy_uj")), f"summary.json: totals.{arch}.energy_uj is missing")
    for key, kind in _SHAPES.items():
        need(isinstance(run.summary.get(key, kind()), kind), f"summary.json: {key}: must be a {_KINDS[kind]}")
    energy = run.summary.get("energy")
    need(energy is None or isinstance(energy, dict), "summary.json: energy: must be a table or null")
    for key, kind in _ENERGY_SHAPES.items():
        need(isinstance((energy or {}).get(key, kind()), kind), f"summary.json: energy.{key}: must be a {_KINDS[kind]}")
    for key, entries in _energy_entries(energy or {}):
        need(
            isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries),
            f"summary.json: energy.{key}: must be a list of tables",
        )
    for arch, area in ((energy or {}).get("area_mm2") or {}).items():
        need(
            isinstance(area, dict) and all(value is None or _number(value) for value in area.values()),
            f"summary.json: energy.area_mm2.{arch}: must be a table of numbers",
        )
    for arch in run.config["arch"]:
        machine = arch.get("machine")
        need(isinstance(machine, dict), f"config.toml: arch {arch['name']}: machine: must be a table")
        clock = machine.get("clock_ghz")
        need(clock is None or _number(clock), f"config.toml: arch {arch['name']}: clock_ghz: must be a number")


_NEEDED = (
    "layer", "arch", "calls", "s", "k", "p", "groups", "nm", "block", "mask", "weight_sparsity", "cycles", "speedup",
    "macs_dense", "macs_issued", "smem_read_bytes", "smem_write_bytes", *CAUSE_COLUMNS.values(),
)  # fmt: skip
_SHAPES = {
    "options": dict, "versions": dict, "dense_by_rule": dict, "without_blocks": dict, "notices": list, "warnings": list,
}  # fmt: skip
_ENERGY_SHAPES = {"figures": list, "memories": dict, "area_mm2": dict, "left_out": list, "pj_per_count": dict}
_KINDS = {dict: "table", list: "list"}


def _energy_entries(energy: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """What must be lists of tables, with where it stands."""
    yield "figures", energy.get("figures", [])
    for key in ("memories", "pj_per_count"):
        for arch, entries in energy.get(key, {}).items():
            yield f"{key}.{arch}", entries


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- results


def _facts(run: RunFolder, energy: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The settings that a reader asks for first."""
    options = run.summary.get("options", {})
    facts = [("layers", f"{run.rows['layer'].nunique():,}")]
    if options.get("weights"):
        facts.append(("weights", str(options["weights"])))
    elif "nm" in options:
        block = options.get("block", "none")
        blocks = "no blocks" if block == "none" else f"blocks of {block}"
        facts.append(("pattern asked", f"{options['nm']}, {blocks}"))
        if options.get("sparsity") is not None:
            facts.append(("weight sparsity asked", _percent(options["sparsity"])))
    if options.get("activation_sparsity") is not None:
        facts.append(("activation sparsity asked", _percent(options["activation_sparsity"])))
    clocks = {arch["machine"].get("clock_ghz") for arch in run.config["arch"]} - {None}
    if clocks:
        facts.append(("clock", f"{listed([f'{clock:g}' for clock in sorted(clocks)])} GHz"))
    if energy:
        facts.append(("energy table", f"{energy.get('table', '')}, {energy.get('node_nm', '?')} nm"))
    else:
        facts.append(("energy", "not computed"))
    facts.append(("memory", "SMEM-resident ideal"))
    facts.append(("seed", str(run.summary.get("seed", ""))))
    return facts


def _percent(share: float) -> str:
    return f"{100 * share:g}%"


def _totals(run: RunFolder, key: str) -> list[Any]:
    """A number of every architecture's total; None where it is not there."""
    return [total.get(key) for total in run.summary["totals"].values()]


def _unit(values: Sequence[float | None], units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    there = [value for value in values if value]
    return next(((size, unit) for size, unit in units if there and min(there) >= size), units[-1])


def _headline(run: RunFolder) -> list[Block]:
    """The totals that one looks at first, the best of each marked."""
    archs, reference = run.archs, BASELINE in run.archs
    rows: list[list[Cell]] = [[f"{arch} (reference)" if arch == BASELINE else arch] for arch in archs]
    columns = [Column(label="architecture", form="text")]
    best: set[tuple[int, int]] = set()

    def add(key: str, column: Column, better: Callable[..., float] | None, scale: float = 1) -> None:
        values = _totals(run, key)
        if all(value is None for value in values):
            return
        there = [value for value in values if value is not None]
        for row, value in zip(rows, values, strict=True):
            row.append(value if value is None or scale == 1 else value / scale)
        if better and len(set(there)) > 1:
            best.update((row, len(columns)) for row, value in enumerate(values) if value == better(there))
        columns.append(column)

    add("cycles", Column(label="cycles", form="count"), min)
    scale, unit = _unit(_totals(run, "latency_us"), LATENCY)
    add("latency_us", Column(label="latency", unit=unit, form="significant"), min, scale)
    add("speedup", Column(label="speedup", unit="×", form="fixed"), max)
    for key, label, units in (("energy_uj", "energy", ENERGY), ("edp_uj_us", "EDP", EDP)):
        scale, unit = _unit(_totals(run, key), units)
        add(key, Column(label=label, unit=unit, form="significant"), min, scale)
        if key == "energy_uj":
            add("energy_gain", Column(label="energy gain", unit="×", form="fixed"), max)
    for key, label in (("tops_per_watt_dense", "dense"), ("tops_per_watt_effectual", "effectual")):
        add(key, Column(label=f"efficiency, {label}", unit="TOPS/W", form="significant"), max)
    add("utilization", Column(label="utilization", unit="%", form="percent"), None)

    lines = [
        f"Speedup{' and energy gain' if run.has_energy else ''}: against {BASELINE} on the same machine"
        + ("." if reference else f", which was simulated for this and is not among the {len(archs)} shown."),
    ]
    if len(archs) > 1:
        lines.append("Bold: the best of a column.")
    lines.append(
        "Utilization is of MACs issued, multiplications by zero included, so that a high one is no merit by itself."
    )
    if run.has_energy:
        lines.append(f"Dense efficiency counts all MACs of the network, effectual those of two nonzeros; {POWER_NOTE}.")
    lines.append(f"Totals are {run.summary['totals_are']}." if "totals_are" in run.summary else "")
    return [
        Text(text=_verdict(run), role="lead"),
        Table(
            id="headline", columns=columns, rows=rows, best=frozenset(best), caption=" ".join(filter(None, lines))
        ),
    ]  # fmt: skip


def _verdict(run: RunFolder) -> str:
    """One or two sentences that say what came out."""
    totals = run.summary["totals"]
    network = network_name(run)

    def time_of(arch: str) -> str:
        value = totals[arch].get("latency_us")
        scale, unit = _unit([value], LATENCY)
        return "" if value is None else f" ({significant(value / scale)} {unit})"

    def energy_of(arch: str) -> str:
        value = totals[arch]["energy_uj"]
        scale, unit = _unit([value], ENERGY)
        return f"{significant(value / scale)} {unit}"

    if len(totals) == 1:
        (arch,) = totals
        line = f"{network} takes {totals[arch]['cycles']:,} cycles{time_of(arch)} on {arch}"
        if arch != BASELINE and totals[arch].get("speedup"):
            line += f", {totals[arch]['speedup']:.2f} times as fast as {BASELINE}"
        return line + (f", and {energy_of(arch)}." if totals[arch].get("energy_uj") else ".")
    latencies = {arch: total.get("latency_us") or math.inf for arch, total in totals.items()}
    fast = min(latencies, key=lambda arch: latencies[arch])
    line = f"{fast} is the fastest{time_of(fast)}"
    if fast != BASELINE and totals[fast].get("speedup"):
        line += f": {totals[fast]['speedup']:.2f} times as fast as {BASELINE}"
    if not run.has_energy or any(total.get("energy_uj") is None for total in totals.values()):
        return line + "."
    least = min(totals, key=lambda arch: totals[arch]["energy_uj"])
    who = "It also" if least == fast else least
    line += f". {who} takes the least energy ({energy_of(least)})"
    if least != BASELINE and totals[least].get("energy_gain"):
        line += f": {BASELINE} takes {totals[least]['energy_gain']:.2f} times as much"
    return line + "."


def _all_totals(run: RunFolder) -> list[Block]:
    """Every number of every total."""
    totals = {arch: flatten(total) for arch, total in run.summary["totals"].items()}
    keys = [key for key in dict.fromkeys(key for total in totals.values() for key in total) if key != "arch"]
    columns = [
        Column(label="total", form="text"), Column(label="unit", form="text"), *(Column(label=arch) for arch in totals),
    ]  # fmt: skip
    rows = [[key, _unit_of(key), *(total.get(key) for total in totals.values())] for key in keys]
    return [Table(id="all-totals", columns=columns, rows=rows, caption="As in summary.json, by its names.")]


_UNITS = {"speedup": "×", "energy_gain": "×", "utilization": "of 1", "layers_beyond_smem": "layers"}


def _unit_of(key: str) -> str:
    """The unit of a total, by its name."""
    if key.startswith("core_cycles."):
        return "core-cycle"
    if key in _UNITS:
        return _UNITS[key]
    if key in LAYER_COLUMNS:
        return LAYER_COLUMNS[key].unit
    return "B" if key.endswith("_bytes") else ""


# --- what one must know to read it


def _reading(run: RunFolder, energy: Mapping[str, Any] | None) -> list[Block]:
    summary, blocks = run.summary, []
    warnings = [("Warning", str(text)) for text in summary.get("warnings", [])]
    if warnings:
        blocks.append(Notes(items=warnings, role="warning"))
    items = [("Memory", _residency(run)), *_masks(run), *_exempt(run), *_clocks(run)]
    if run.has_energy:
        items += _interpolated(run, energy)
    if energy and energy.get("left_out"):
        items.append(("Left out of the energy", "; ".join(str(text).rstrip(".") for text in energy["left_out"]) + "."))
    if not run.has_energy:
        items.append(("Energy", "not computed in this run."))
    items += [("Notice", str(text)) for text in summary.get("notices", [])]
    return [*blocks, Notes(items=items)]


def _residency(run: RunFolder) -> str:
    """The SMEM-resident ideal, and how far the run is from it."""
    ideal = str(run.summary.get("memory") or "SMEM-resident ideal: every tensor is taken to lie in SMEM").rstrip(".")
    capacities = {arch["machine"].get("smem", {}).get("capacity_bytes") for arch in run.config["arch"]} - {None}
    line = ideal + (f" ({listed([_bytes(size) for size in sorted(capacities)])})" if capacities else "")
    layers = run.rows["layer"].nunique()
    beyond = {arch: total.get("layers_beyond_smem") for arch, total in run.summary["totals"].items()}
    if all(count is None for count in beyond.values()):
        return line + "."
    if not any(beyond.values()):
        return f"{line}; all of them fit."
    parts = [
        f"{arch} {count} of {layers} layers, by up to "
        f"{_bytes(run.summary['totals'][arch].get('largest_smem_excess_bytes') or 0)}"
        if count
        else f"{arch} none"
        for arch, count in beyond.items()
        if count is not None
    ]
    return f"{line}. In truth some need more than it holds, which neither time nor energy includes: {'; '.join(parts)}."


def _bytes(size: int) -> str:
    """Bytes in KiB, or in MiB from ten of them on."""
    if size < 1024:
        return f"{size:,} B"
    whole, unit = (1 << 10, "KiB") if size < 10 << 20 else (1 << 20, "MiB")
    return f"{significant(size / whole) if size % whole else f'{size // whole:,}'} {unit}"


def _masks(run: RunFolder) -> list[tuple[str, str]]:
    """Whose weights differ from the others'."""
    own = [arch["name"] for arch in run.config["arch"] if arch.get("masks") == "unstructured"]
    others = [arch["name"] for arch in run.config["arch"] if arch.get("masks") != "unstructured"]
    if not own:
        return []
    line = f"{listed(own)} {_verb(own)} given unstructured weights of the same sparsity, layer by layer"
    return [("Masks", f"{line}; {listed(others)} the pruned ones, alike." if others else f"{line}.")]


def _verb(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _exempt(run: RunFolder) -> Iterable[tuple[str, str]]:
    """Layers that were not pruned as asked, by reason."""
    for key, head in (("dense_by_rule", "Dense by rule"), ("without_blocks", "N:M without blocks")):
        reasons: dict[str, list[str]] = {}
        for layer, reason in run.summary.get(key, {}).items():
            reasons.setdefault(str(reason), []).append(layer)
        if reasons:
            yield head, "; ".join(f"{reason}: {_named(layers)}" for reason, layers in reasons.items()) + "."


def _named(layers: Sequence[str]) -> str:
    """Names of layers; of many the first ones."""
    if len(layers) <= MOST_NAMED:
        return ", ".join(layers)
    return f"{', '.join(layers[:MOST_NAMED])} and {len(layers) - MOST_NAMED} more (column note of the layers)"


def _clocks(run: RunFolder) -> list[tuple[str, str]]:
    clocks = {arch["name"]: arch["machine"].get("clock_ghz") for arch in run.config["arch"]}
    if len(set(clocks.values())) < 2:
        return []
    own = ", ".join(f"{name} {clock:g} GHz" for name, clock in clocks.items() if clock is not None)
    return [("Clocks", f"they differ ({own}); speedup compares cycles, latency has the clock in it.")]


def _interpolated(run: RunFolder, energy: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Memories whose figures do not stand in the table as they are."""
    if "sram_energy" not in run.rows.columns:
        return []
    owners: dict[str, list[str]] = {}
    for arch, origin in dict.fromkeys(zip(run.rows["arch"], run.rows["sram_energy"], strict=True)):
        owners.setdefault(str(origin), []).append(arch)
    if set(owners) <= {"table", ""}:
        return []
    arrays = [array for own in (energy or {}).get("memories", {}).values() for array in own]
    parts = []
    for origin, archs in owners.items():
        which = dict.fromkeys(str(array.get("part")) for array in arrays if array.get("origin") == origin)
        of = "every architecture" if archs == run.archs else listed(archs)
        parts.append(f"{origin_of(origin)} for {of}" + (f" ({', '.join(which)})" if which else ""))
    unknown = " An interpolated memory has no cycle time to check the clock by." if "interpolated" in owners else ""
    return [("Memory figures", f"{'; '.join(parts)}.{unknown}")]


# --- figures, layers, breakdowns


def _figures(pictures: Sequence[Picture] | None) -> list[Block]:
    if pictures is None:
        return [
            Text(text="There are no figures: matplotlib is not installed. Install it, and make the report again:"),
            Code(text=INSTALL),
        ]
    return list(pictures)


def _layers(run: RunFolder) -> list[Block]:
    """Every row and column of results.csv."""
    columns = layer_columns(list(run.rows.columns))
    cells = [[_plain(value) for value in run.rows[name].tolist()] for name in columns]
    table = Table(
        id="layer-table",
        columns=list(columns.values()),
        rows=list(zip(*cells, strict=True)),
        heads=2,
        caption="A row is one call of a layer on an architecture; results.csv has every column.",
        explore=True,
        shown_groups=(MAIN,),
    )
    return [table]


def _plain(value: Any) -> Cell:
    return None if value == "" or (isinstance(value, float) and math.isnan(value)) else value


def _breakdown(
    run: RunFolder, id: str, head: str, unit: str, parts: Mapping[str, tuple[str, str]], of: Callable[[str, str], Any],
    sum_name: str, whole: Callable[[str], Any],
) -> Table:  # fmt: skip
    """A table of parts: a row each, for each architecture the amount and its share of the whole."""
    columns = [Column(label=head, form="text")]
    for arch in run.archs:
        columns += [Column(label=arch, unit=unit), Column(label="share", unit="%", form="percent")]
    columns.append(Column(label="what it is", form="text"))
    wholes = {arch: whole(arch) for arch in run.archs}
    rows = []
    for key, (name, meaning) in {**parts, "": (sum_name, "")}.items():
        row: list[Cell] = [name]
        for arch in run.archs:
            value = of(arch, key) if key else wholes[arch]
            row += [value, value / wholes[arch] if value is not None and wholes[arch] else None]
        rows.append([*row, meaning])
    return Table(id=id, columns=columns, rows=rows)


def _stalls(run: RunFolder) -> list[Block]:
    totals = run.summary["totals"]
    parts = {cause: (cause, CAUSES.get(cause, "")) for cause in CAUSE_COLUMNS}
    parts |= {cause: (cause, "") for total in totals.values() for cause in total["core_cycles"] if cause not in parts}
    table = _breakdown(
        run, "stall-table", "cause", "core-cycle", parts, lambda arch, cause: totals[arch]["core_cycles"].get(cause),
        "all", lambda arch: sum(totals[arch]["core_cycles"].values()),
    )  # fmt: skip
    bounds = [
        [arch, total["cycles"], *(value for key in _BOUNDS for value in _share_of(total.get(key), total["cycles"]))]
        for arch, total in totals.items()
    ]
    columns = [
        Column(label="architecture", form="text"),
        Column(label="cycles", form="count"),
        Column(label="compute bound", unit="cycle", form="count"),
        Column(label="of cycles", unit="%", form="percent"),
        Column(label="SMEM bound", unit="cycle", form="count"),
        Column(label="of cycles", unit="%", form="percent"),
    ]
    caption = (
        "The bounds are summed over the layers: what the busiest core computes, and what the SMEM's ports must move. "
        "Cycles beyond them are what the stalls above explain."
    )
    return [
        Text(text="Every cycle of every core has one cause; they add up to cycles times cores."),
        table,
        Heading(text="How near it is to its bounds"),
        Table(id="bounds", columns=columns, rows=bounds, caption=caption),
    ]


_BOUNDS = ("compute_bound_cycles", "smem_bound_cycles")


def _share_of(value: Any, whole: Any) -> tuple[Cell, Cell]:
    return value, None if value is None else value / whole


def _energy_parts(run: RunFolder) -> list[Block]:
    totals = run.summary["totals"]
    unit = LAYER_COLUMNS["energy_uj"].unit
    table = _breakdown(
        run, "energy-table", "part", unit, PARTS, lambda arch, part: totals[arch].get(part), "all",
        lambda arch: totals[arch].get("energy_uj"),
    )  # fmt: skip
    text = "Energy of the whole network, each layer as often as it is called. The parts are disjoint and add up."
    return [Text(text=text), table]


def _again(run: RunFolder) -> list[Block]:
    summary, config = run.summary, run.config
    versions = ", ".join(f"{name} {version}" for name, version in summary.get("versions", {}).items())
    facts: list[list[Cell]] = [["seed", plain_value(summary.get("seed"))], ["versions", versions]]
    facts += [["option " + key, plain_value(value)] for key, value in summary.get("options", {}).items()]
    for file in config.get("input", []):
        facts.append([f"input {file.get('path', '')}", f"SHA-256 {file['sha256']}" if "sha256" in file else "no hash"])
    blocks: list[Block] = [
        Code(text=str(summary.get("command", ""))),
        Table(id="settings", columns=[Column(label="setting", form="text"), Column(label="value", form="text")],
              rows=facts),
    ]  # fmt: skip
    try:
        text = (run.path / "config.toml").read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{run.path}: cannot read: {error.strerror}") from error
    return [*blocks, Code(text=text, title="config.toml, with every field of every machine", folded=True)]
