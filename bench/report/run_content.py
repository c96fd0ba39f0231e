"""What a report says of a run's folder."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...sim import InputError
from ...sim.archs import BASELINE
from ...sim.machine import flatten
from ...sim.result import IDEAL
from ..run_folder import RunFolder
from ..vocabulary import CAUSES, EDP, ENERGY, LATENCY, MEMORIES, PART_COLUMNS, PARTS, parts_in, unit_for
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
from .shared_blocks import exempt_notes, figure_blocks, figure_notices

POWER_NOTE = "1 TOPS/W is one operation a picojoule; a MAC is two operations"

# In which order DRAM is read (docs/microarchitecture.md, D6).
BLOCKINGS = {
    "inputs": "panels of the input stay while all weights stream past, the next panel's fill at the same time",
    "weights": "groups of weights stay while the whole input streams past, the next group's fill at the same time",
    "inputs-single": "as inputs, without room for the next panel beside",
    "weights-single": "as weights, without room for the next group beside",
    "weights-streamed": "neither fits: weights are moved anew for every tile of columns",
    "inputs-streamed": "neither fits: inputs are moved anew, wave by wave, for every tile",
    "streamed": "weights and inputs are moved anew for every tile",
    "mixed": "convolution groups of the layer differ",
}
# What crosses the DRAM's channel: columns, names and meanings.
MOVED = {
    "dram_weight_bytes": ("weights", "with their metadata; read"),
    "dram_input_bytes": ("inputs", "read"),
    "dram_residual_bytes": ("residual inputs", "what is added to results; read"),
    "dram_write_bytes": ("results", "written"),
}


def run_report(run: RunFolder, pictures: Sequence[Picture] | None) -> Report:
    """The report of a run; pictures None: matplotlib to draw them is not installed."""
    energy = run.summary["energy"]
    sections = [
        Section(id="results", title="Results", blocks=_headline(run)),
        Section(id="reading", title="What to know when reading it", blocks=_reading(run, energy)),
        Section(id="figures", title="Figures", blocks=figure_blocks(pictures)),
        Section(id="layers", title="Layers", blocks=_layers(run)),
        Section(id="stalls", title="Where the core-cycles went", blocks=_stalls(run)),
    ]
    if run.has_dram:
        sections.append(Section(id="dram", title="What DRAM moved", blocks=_dram(run)))
    if energy:
        sections.append(Section(id="energy", title="Where the energy went", blocks=_energy_parts(run)))
    sections.append(Section(id="totals", title="All totals", blocks=_all_totals(run)))
    memories = memory_blocks(energy) if energy else []
    sections.append(Section(id="machine", title="Machine", blocks=[*machine_blocks(run), *memories]))
    if energy:
        sections.append(Section(id="sources", title="Where the energy figures come from", blocks=source_blocks(energy)))
    sections.append(Section(id="again", title="How to run it again", blocks=_again(run)))
    version = run.summary["versions"].get("crispsim", "")
    return Report(
        title=f"{network_name(run)} on {listed(run.archs)}",
        facts=_facts(run, energy),
        sections=sections,
        made_by=f"Made by crispsim report from the results.csv, summary.json and config.toml of crispsim {version}.",
        notices=figure_notices(pictures),
    )


def network_name(run: RunFolder) -> str:
    """The name of the layer table or packed file."""
    options = run.summary["options"]
    path = options.get("layer_csv") or options.get("weights")
    return Path(str(path)).stem if path else "A network"


# --- results


def _facts(run: RunFolder, energy: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The settings that a reader asks for first."""
    options = run.summary["options"]
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
    clocks = {machine.clock_ghz for machine in run.machines.values()}
    facts.append(("clock", f"{listed([f'{clock:g}' for clock in sorted(clocks)])} GHz"))
    if energy:
        facts.append(("energy table", f"{energy['table']}, {energy['node_nm']} nm"))
    else:
        facts.append(("energy", "not computed"))
    facts.append(("machine", run.summary["machine"]))
    facts.append(("memory", f"DRAM: {run.summary['dram']}" if run.has_dram else "SMEM-resident ideal"))
    facts.append(("seed", str(run.summary["seed"])))
    return facts


def _percent(share: object) -> str:
    """A share as asked for; "as N:M gives" stands as it is."""
    return f"{100 * share:g}%" if isinstance(share, int | float) else str(share)


def _totals(run: RunFolder, key: str) -> list[Any]:
    """A number of every architecture's total."""
    return [total[key] for total in run.summary["totals"].values()]


def _headline(run: RunFolder) -> list[Block]:
    """The totals that one looks at first, the best of each marked."""
    archs, reference = run.archs, BASELINE in run.archs
    rows: list[list[Cell]] = [[f"{arch} (reference)" if arch == BASELINE else arch] for arch in archs]
    columns = [Column(label="architecture", form="text")]
    best: set[tuple[int, int]] = set()

    def add(key: str, column: Column, better: Callable[..., float] | None, scale: float = 1) -> None:
        values = _totals(run, key)
        add_real(column, values, better, scale)
        if run.has_dram and key in IDEAL:
            beside = [total.get(f"ideal_{key}") for total in run.summary["totals"].values()]
            for row, value in zip(rows, beside, strict=True):
                row.append(value if value is None or scale == 1 else value / scale)
            columns.append(replace(column, label=f"{column.label}, ideal"))

    def add_real(column: Column, values: Sequence[float], better: Callable[..., float] | None, scale: float) -> None:
        for row, value in zip(rows, values, strict=True):
            row.append(value if scale == 1 else value / scale)
        if better:
            tied = _best_as_shown(column, values, better, scale)
            best.update((row, len(columns)) for row in tied if len(tied) < len(values))
        columns.append(column)

    add("cycles", Column(label="cycles", form="count"), min)
    scale, unit = unit_for(_totals(run, "latency_us"), LATENCY)
    add("latency_us", Column(label="latency", unit=unit, form="significant"), min, scale)
    add("speedup", Column(label="speedup", unit="×", form="fixed"), max)
    if run.has_energy:
        scale, unit = unit_for(_totals(run, "energy_uj"), ENERGY)
        add("energy_uj", Column(label="energy", unit=unit, form="significant"), min, scale)
        add("energy_gain", Column(label="energy gain", unit="×", form="fixed"), max)
        scale, unit = unit_for(_totals(run, "edp_uj_us"), EDP)
        add("edp_uj_us", Column(label="EDP", unit=unit, form="significant"), min, scale)
        for key, label in (("tops_per_watt_dense", "dense"), ("tops_per_watt_effectual", "effectual")):
            add(key, Column(label=f"efficiency, {label}", unit="TOPS/W", form="significant"), max)
    add("utilization", Column(label="utilization", unit="%", form="percent"), None)
    lines = [
        f"Speedup{' and energy gain' if run.has_energy else ''}: against {BASELINE} on the same machine"
        + ("." if reference else f", which was simulated for this and is not among the {len(archs)} shown."),
    ]
    if run.has_dram:
        lines.append("Ideal: SMEM-resident, the same machine with every tensor taken to lie in the SMEM, no DRAM.")
    if len(archs) > 1:
        lines.append("Bold: the best of a column, to the digits shown.")
    lines.append(
        "Utilization is of MACs issued, multiplications by zero included, so that a high one is no merit by itself."
    )
    if run.has_energy:
        lines.append(f"Dense efficiency counts all MACs of the network, effectual those of two nonzeros; {POWER_NOTE}.")
    lines.append(f"Totals are {run.summary['totals_are']}.")
    return [
        Text(text=_verdict(run), role="lead"),
        *_warnings(run),
        *_level(run),
        Table(id="headline", columns=columns, rows=rows, best=frozenset(best), caption=" ".join(lines)),
        *_memory_table(run),
    ]


def _ideal_beside(run: RunFolder, archs: Sequence[str]) -> str:
    """A sentence on what these architectures would take without their DRAM, of those that have one; else empty."""
    totals, told = run.summary["totals"], list[str]()
    for arch in archs:
        if not run.machines[arch].has_dram:
            continue
        total = totals[arch]
        scale, unit = unit_for(_totals(run, "latency_us"), LATENCY)
        latency = total["ideal_cycles"] / (run.machines[arch].clock_ghz * 1000)
        line = f"{arch} would take {total['ideal_cycles']:,} cycles ({significant(latency / scale)} {unit})"
        if arch != BASELINE:
            line += f", {total['ideal_speedup']:.2f} times as fast as {BASELINE}"
        if run.has_energy:
            scale, unit = unit_for(_totals(run, "energy_uj"), ENERGY)
            line += f", and {significant(total['ideal_energy_uj'] / scale)} {unit}"
            if arch != BASELINE:
                line += f" ({BASELINE} takes {total['ideal_energy_gain']:.2f} times as much)"
        told.append(line)
    return f" With every tensor in the SMEM, an ideal without DRAM, {'; '.join(told)}." if told else ""


def _verdict(run: RunFolder) -> str:
    """One or two sentences that say what came out; with a DRAM one more, on the ideal beside it."""
    totals = run.summary["totals"]
    network = network_name(run)
    machines = list(run.machines.values())
    reference = BASELINE if all(own == machines[0] for own in machines) else f"{BASELINE} on the same machine"

    def told(arch: str, key: str, units: Sequence[tuple[float, str]]) -> str:
        scale, unit = unit_for(_totals(run, key), units)
        return f"{significant(totals[arch][key] / scale)} {unit}"

    def best(key: str, units: Sequence[tuple[float, str]]) -> list[str]:
        values = _totals(run, key)
        places = _best_as_shown(Column(label=key, form="significant"), values, min, unit_for(values, units)[0])
        return [run.archs[place] for place in places]

    def ratio(archs: Sequence[str], key: str) -> str:
        values = [f"{totals[arch][key]:.2f}" for arch in sorted(archs, key=lambda arch: totals[arch][key])]
        return values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"

    if len(totals) == 1:
        (arch,) = totals
        line = f"{network} takes {totals[arch]['cycles']:,} cycles ({told(arch, 'latency_us', LATENCY)}) on {arch}"
        if arch != BASELINE:
            line += f", {totals[arch]['speedup']:.2f} times as fast as {BASELINE}"
        line += f", and {told(arch, 'energy_uj', ENERGY)}." if run.has_energy else "."
        return line + _ideal_beside(run, [arch])
    fast = best("latency_us", LATENCY)
    if len(fast) == len(totals):
        line = f"{listed(fast)} take equally long ({told(fast[0], 'latency_us', LATENCY)})"
    else:
        which = "is the fastest" if len(fast) == 1 else "are equally fast, before all others"
        line = f"{listed(fast)} {which} ({told(fast[0], 'latency_us', LATENCY)})"
        if BASELINE not in fast:
            line += f": {ratio(fast, 'speedup')} times as fast as {reference}"
    if not run.has_energy:
        return f"{line}.{_ideal_beside(run, fast)}"
    least = best("energy_uj", ENERGY)
    ideal = _ideal_beside(run, list(dict.fromkeys([*fast, *least])))
    amount = told(least[0], "energy_uj", ENERGY)
    if len(least) == len(totals):
        who = "They also" if least == fast else listed(least)
        return f"{line}. {who} take equally much energy ({amount}).{ideal}"
    if least == fast:
        who = "It also takes" if len(least) == 1 else "They also take"
    else:
        who = f"{listed(least)} {'takes' if len(least) == 1 else 'take'}"
    line += f". {who} the least energy ({amount})"
    if BASELINE not in least:
        line += f": {reference} takes {ratio(least, 'energy_gain')} times as much"
    return f"{line}.{ideal}"


def _best_as_shown(
    column: Column, values: Sequence[float], better: Callable[..., float], scale: float = 1
) -> list[int]:
    """Places of the best of a column, those that look alike with it."""
    shown = [column.shown(value / scale if scale != 1 else value) for value in values]
    return [place for place, text in enumerate(shown) if text == shown[values.index(better(values))]]


def _memory_table(run: RunFolder) -> list[Block]:
    """What the headline is to be read with: DRAM's traffic and stalls, or layers beyond an SMEM taken to hold all."""
    columns, totals = [Column(label="architecture", form="text")], run.summary["totals"]
    rows: list[list[Cell]] = [[arch] for arch in totals]

    def add(column: Column, of: Callable[[Mapping[str, Any]], Cell], with_dram: bool) -> None:
        columns.append(column)
        for row, (arch, total) in zip(rows, totals.items(), strict=True):
            row.append(of(total) if run.machines[arch].has_dram == with_dram else None)

    if run.has_dram:
        for key, label in (("dram_read_bytes", "DRAM read"), ("dram_write_bytes", "DRAM written")):
            add(Column(label=label, unit="MB", form="significant"), lambda total, key=key: total[key] / 1e6, True)
        bound = Column(label="DRAM bound of cycles", unit="%", form="percent")
        add(bound, lambda total: total["dram_bound_cycles"] / total["cycles"], True)
        stalled = Column(label="stall_dram of core-cycles", unit="%", form="percent")
        add(stalled, lambda total: total["core_cycles"]["stall_dram"] / sum(total["core_cycles"].values()), True)
        if run.has_energy:
            share = Column(label="DRAM of energy", unit="%", form="percent")
            add(share, lambda total: total["dram_uj"] / total["energy_uj"], True)
    if any(total["layers_beyond_smem"] and not run.machines[arch].has_dram for arch, total in totals.items()):
        beyond = Column(label="beyond the SMEM", unit="layers", form="count")
        add(beyond, lambda total: total["layers_beyond_smem"], False)
        excess = Column(label="by up to", unit="B", form="count")
        add(excess, lambda total: total["largest_smem_excess_bytes"], False)
    return [Table(id="memory", columns=columns, rows=rows)] if len(columns) > 1 else []


def _level(run: RunFolder) -> list[Block]:
    """Which memory the results are of, below the first sentence: a warning where no such machine can be."""
    said: dict[str, list[str]] = {}
    for arch, machine in run.machines.items():
        if machine.has_dram:
            kept = ", but for those that --fuse leaves in the SMEM for the next layer" if run.fused else ""
            line = f"Tensors start and end in DRAM ({machine.dram_line}){kept}"
        else:
            line = "SMEM-resident ideal, no DRAM: every tensor is taken to lie in the SMEM"
        said.setdefault(line, []).append(arch)
    layers, blocks = run.rows["layer"].nunique(), list[Block]()
    for line, archs in said.items():
        beyond = max(run.summary["totals"][arch]["layers_beyond_smem"] for arch in archs)
        doubtful = bool(beyond) and not run.machines[archs[0]].has_dram
        if doubtful:
            line += f", though up to {beyond} of {layers} layers need more than it holds (marked among the layers)"
        whose = "" if len(said) == 1 else f" This is of {listed(archs)}."
        blocks.append(Text(text=f"{line}.{whose}", role="warning" if doubtful else ""))
    return blocks


def _warnings(run: RunFolder) -> list[Block]:
    """What makes the headline doubtful: memories that cannot make their machine's clock."""
    items = [("Warning", text) for text in run.summary["warnings"]]
    return [Notes(items=items, role="warning")] if items else []


def _all_totals(run: RunFolder) -> list[Block]:
    """Every number of every total."""
    totals = {arch: flatten(total) for arch, total in run.summary["totals"].items()}
    keys = [key for key in dict.fromkeys(key for total in totals.values() for key in total) if key != "arch"]
    columns = [
        Column(label="total", form="text"), Column(label="unit", form="text"), *(Column(label=arch) for arch in totals),
    ]  # fmt: skip
    rows = [[key, _unit_of(key), *(plain_value(total.get(key)) for total in totals.values())] for key in keys]
    return [Table(id="all-totals", columns=columns, rows=rows, caption="As in summary.json, by its names.")]


_UNITS = {"speedup": "×", "energy_gain": "×", "utilization": "of 1", "layers_beyond_smem": "layers"}


def _unit_of(key: str) -> str:
    """The unit of a total, by its name."""
    key = key.removeprefix("unfused_").removeprefix("ideal_")
    if key.startswith("core_cycles."):
        return "core-cycle"
    if key in _UNITS:
        return _UNITS[key]
    if key in LAYER_COLUMNS:
        return LAYER_COLUMNS[key].unit
    return "B" if key.endswith("_bytes") else ""


# --- what one must know to read it


def _reading(run: RunFolder, energy: Mapping[str, Any] | None) -> list[Block]:
    summary = run.summary
    exempt = exempt_notes(summary["dense_by_rule"], summary["without_blocks"])
    items = [("Memory", _residency(run)), *_masks(run), *exempt, *_clocks(run)]
    if energy:
        items += [*_interpolated(run, energy), *(("Clock and SMEM", f"{text}.") for text in energy["clock_notes"])]
        items.append(("Left out of the energy", "; ".join(text.rstrip(".") for text in energy["left_out"]) + "."))
    else:
        items.append(("Energy", "not computed in this run."))
    items += [("Notice", text) for text in summary["notices"]]
    return [Notes(items=items)]


def _residency(run: RunFolder) -> str:
    """The DRAM, or the SMEM-resident ideal and how far the run is from it."""
    capacities = sorted({machine.smem.capacity_bytes for machine in run.machines.values()})
    line = f"{run.summary['memory'].rstrip('.')} ({listed([_bytes(size) for size in capacities])})"
    layers = run.rows["layer"].nunique()
    resident = [arch for arch, machine in run.machines.items() if not machine.has_dram]
    if not resident:
        return f"{line}. DRAM: {run.summary['dram']}."
    beyond = {arch: total["layers_beyond_smem"] for arch, total in run.summary["totals"].items() if arch in resident}
    if not any(beyond.values()):
        return f"{line}; all of them fit."
    parts = [
        f"{arch} {count} of {layers} layers, by up to "
        f"{_bytes(run.summary['totals'][arch]['largest_smem_excess_bytes'])}"
        if count
        else f"{arch} none"
        for arch, count in beyond.items()
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
    own = [arch["name"] for arch in run.config["arch"] if arch["masks"] == "unstructured"]
    others = [arch["name"] for arch in run.config["arch"] if arch["masks"] != "unstructured"]
    if not own:
        return []
    line = f"{listed(own)} {_verb(own)} given unstructured weights of the same sparsity, layer by layer"
    return [("Masks", f"{line}; {listed(others)} the pruned ones, alike." if others else f"{line}.")]


def _verb(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _clocks(run: RunFolder) -> list[tuple[str, str]]:
    clocks = {name: machine.clock_ghz for name, machine in run.machines.items()}
    if len(set(clocks.values())) < 2:
        return []
    own = ", ".join(f"{name} {clock:g} GHz" for name, clock in clocks.items())
    return [("Clocks", f"they differ ({own}); speedup compares cycles, latency has the clock in it.")]


def _interpolated(run: RunFolder, energy: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Memories whose figures do not stand in the table as they are."""
    owners: dict[str, list[str]] = {}
    for arch, origin in dict.fromkeys(zip(run.rows["arch"], run.rows["sram_origin"], strict=True)):
        owners.setdefault(origin, []).append(arch)
    if set(owners) == {"table"}:
        return []
    arrays = [array for own in energy["memories"].values() for array in own]
    parts = []
    for origin, archs in owners.items():
        parted = (str(array["part"]) for array in arrays if array["origin"] == origin)
        which = ", ".join(dict.fromkeys(MEMORIES.get(part, part) for part in parted))
        of = "every architecture" if archs == run.archs else listed(archs)
        parts.append(f"{origin_of(origin)} for {of}" + (f" ({which})" if which else ""))
    return [("Memory figures", f"{'; '.join(parts)}.")]


# --- figures, layers, breakdowns


def _layers(run: RunFolder) -> list[Block]:
    """Every row and column of results.csv."""
    columns, sizes = layer_columns(run.rows)
    cells = [[_plain(value, sizes.get(name, 1)) for value in run.rows[name].tolist()] for name in columns]
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


def _plain(value: Any, size: float) -> Cell:
    if value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    return value if size == 1 else value / size


def _breakdown(
    run: RunFolder, id: str, head: str, unit: str, parts: Mapping[str, tuple[str, str]],
    of: Callable[[str, str], float], archs: Sequence[str] = (),
) -> Table:  # fmt: skip
    """A table of parts and their sum: a row each, for each architecture the amount and its share of the whole."""
    columns, archs = [Column(label=head, form="text")], archs or run.archs
    for arch in archs:
        columns += [Column(label=arch, unit=unit), Column(label="share", unit="%", form="percent")]
    columns.append(Column(label="what it is", form="text"))
    wholes = {arch: sum(of(arch, key) for key in parts) for arch in archs}
    rows = []
    for key, (name, meaning) in {**parts, "": ("all", "")}.items():
        row: list[Cell] = [name]
        for arch in archs:
            value = of(arch, key) if key else wholes[arch]
            row += [value, value / wholes[arch]]
        rows.append([*row, meaning])
    return Table(id=id, columns=columns, rows=rows)


def _stalls(run: RunFolder) -> list[Block]:
    totals = run.summary["totals"]
    parts = {
        cause: (cause, meaning)
        for cause, meaning in CAUSES.items()
        if any(cause in total["core_cycles"] for total in totals.values())
    }
    table = _breakdown(
        run, "stall-table", "cause", "core-cycle", parts, lambda arch, cause: totals[arch]["core_cycles"].get(cause, 0)
    )
    bounds: list[list[Cell]] = []
    for arch, total in totals.items():
        row: list[Cell] = [arch, total["cycles"]]
        for name in ("compute", "smem", *(("dram",) if run.has_dram else ())):
            bound = total.get(f"{name}_bound_cycles", 0)
            row += [bound, bound / total["cycles"]]
        bounds.append(row)
    columns = [
        Column(label="architecture", form="text"),
        Column(label="cycles", form="count"),
        Column(label="compute bound", unit="cycle", form="count"),
        Column(label="of cycles", unit="%", form="percent"),
        Column(label="SMEM bound", unit="cycle", form="count"),
        Column(label="of cycles", unit="%", form="percent"),
    ]
    moved = "what the SMEM's ports must move"
    if run.has_dram:
        columns += [
            Column(label="DRAM bound", unit="cycle", form="count"),
            Column(label="of cycles", unit="%", form="percent"),
        ]
        moved += ", and what the DRAM must"
    caption = (
        f"The bounds are summed over the layers: what the busiest core computes, and {moved}. "
        "Cycles beyond them are what the stalls above explain."
    )
    return [
        Text(text="Every cycle of every core has one cause; they add up to cycles times cores."),
        table,
        Heading(text="How near it is to its bounds"),
        Table(id="bounds", columns=columns, rows=bounds, caption=caption),
    ]


def _dram(run: RunFolder) -> list[Block]:
    """What crossed the channel, and in which order the layers' tensors were read."""
    totals = run.summary["totals"]
    archs = [arch for arch, machine in run.machines.items() if machine.has_dram]
    moved = _breakdown(run, "dram-table", "tensors", "MB", MOVED, lambda arch, key: totals[arch][key] / 1e6, archs)
    names = list(
        dict.fromkeys(name for name in [*BLOCKINGS, *run.rows["blocking"]] if name in set(run.rows["blocking"]))
    )
    counts = {arch: Counter(run.rows.loc[run.rows["arch"] == arch, "blocking"].tolist()) for arch in archs}
    columns = [
        Column(label="blocking", form="text"),
        *(Column(label=arch, unit="layers", form="count") for arch in archs),
        Column(label="what it is", form="text"),
    ]
    rows: list[list[Cell]] = [
        [name, *(counts[arch][name] for arch in archs), BLOCKINGS.get(name, "")] for name in names if name
    ]
    text = "Bytes over the channel, of the whole network; of a tensor that is fetched again every fetch."
    caption = "Of each layer the blocking that reads the fewest bytes and fits (docs/microarchitecture.md, D6)."
    return [
        Text(text=text),
        moved,
        Heading(text="What stays in the SMEM meanwhile"),
        Table(id="blockings", columns=columns, rows=rows, caption=caption),
    ]


def _energy_parts(run: RunFolder) -> list[Block]:
    totals = run.summary["totals"]
    size, unit = unit_for(_totals(run, "energy_uj"), ENERGY)
    parts = {part: PARTS[part] for part in parts_in(run.rows.columns)}
    table = _breakdown(
        run, "energy-table", "part", unit, parts, lambda arch, part: totals[arch].get(PART_COLUMNS[part], 0) / size
    )
    text = "Energy of the whole network, each layer as often as it is called. The parts are disjoint and add up."
    return [Text(text=text), table]


def _again(run: RunFolder) -> list[Block]:
    summary, config = run.summary, run.config
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    facts: list[list[Cell]] = [["seed", summary["seed"]], ["versions", versions]]
    facts += [["option " + key, plain_value(value)] for key, value in summary["options"].items()]
    for file in config["input"]:
        facts.append([f"input {file['path']}", f"SHA-256 {file['sha256']}" if "sha256" in file else "no hash"])
    blocks: list[Block] = [
        Code(text=summary["command"]),
        Table(id="settings", columns=[Column(label="setting", form="text"), Column(label="value", form="text")],
              rows=facts),
    ]  # fmt: skip
    try:
        text = (run.path / "config.toml").read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{run.path}: cannot read: {error.strerror}") from error
    return [*blocks, Code(text=text, title="config.toml, with every field of every machine", folded=True)]
