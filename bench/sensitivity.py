"""Which conclusions of a run stand when its energy figures vary as far as their sources lie apart.

Nothing is simulated again: energy is linear in the counts of results.csv. Each item (a MAC, a byte of the SMEM, ...)
takes every alternative of `sim/energy/spreads.toml`, one item at a time and all at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..sim import ARCHITECTURES, InputError, Machine
from ..sim.archs import BASELINE
from ..sim.energy import FIGURES, PARTS, EnergyModel, EnergyTable, Figure, Memory
from ..sim.energy.spreads import ITEMS, Alternative, load_spreads, scale_memories
from ..sim.energy.sram import Sram, SramShape, Technology
from ..sim.machine import flatten
from .run_folder import RunFolder
from .whole_files import whole_files

Floats = npt.NDArray[np.float64]
Verdict = Literal["stands", "stands one at a time", "depends"]
Measure = Literal["energy", "edp"]

# Ratios closer to 1 than this are equal: the sums differ by rounding only.
TIE = 1e-12
# How far the recomputed energies may lie from those of the run.
AGREEMENT = 1e-9

# The items that can change each part of an energy.
_ITEMS_OF: Mapping[str, tuple[str, ...]] = {
    "mac": ("mac",),
    "select": ("mux2_bit", "full_adder", "crossbar_bit"),
    "rf": ("register_bit", "rf", "technology"),
    "accumulator": ("register_bit", "rf", "buffer", "technology"),
    "smem": ("smem", "technology"),
    "metadata": ("smem", "metadata", "technology"),
    "leakage": ("technology",),
}


@dataclass(frozen=True, kw_only=True)
class Arch:
    """An architecture of the run. counts : of the whole network, by column. memories : as the run had them."""

    name: str
    baseline: bool
    machine: Machine
    accumulation_buffer: bool
    memories: tuple[Memory, ...]
    counts: Mapping[str, int]
    latency_us: float


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way of an item. alternative : None for what the run's own table says and no other source does.

    memories : of each architecture by name, where they are not the run's.
    """

    item: str
    label: str
    why: str
    source: str
    kind: str
    alternative: Alternative | None
    memories: Mapping[str, tuple[Memory, ...]] | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """What is varied at a time. base : the place of the run's own option."""

    name: str
    options: tuple[Option, ...]
    base: int


Choice = tuple[str, str]  # an item and the label of its option


@dataclass(frozen=True, kw_only=True)
class Range:
    """The least and the greatest value of a ratio, and what it takes to get there."""

    least: float
    greatest: float
    least_with: tuple[Choice, ...]
    greatest_with: tuple[Choice, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A statement and how far it stands.

    Parameters
    ----------
    verdict : str
        "stands": with every combination. "stands one at a time": with every alternative alone, not with every
        combination. "depends": not with some alternative alone.
    overturned_by : tuple of Choice
        Every alternative that alone turns it over.
    share : float
        Of all combinations, those with which it holds.
    """

    verdict: Verdict
    overturned_by: tuple[Choice, ...]
    share: float


@dataclass(frozen=True, kw_only=True)
class Conclusion(Finding):
    """Architecture `a` takes less energy, or a smaller energy-delay product, than `b`; with `equal`, the same.

    ratio : of b over a in the run. one_at_a_time, all_at_once : how far it goes.
    """

    measure: Measure
    a: str
    b: str
    equal: bool
    ratio: float
    one_at_a_time: Range
    all_at_once: Range


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Energy of the run's dense architecture over an architecture's own."""

    arch: str
    gain: float
    one_at_a_time: Range
    all_at_once: Range


@dataclass(frozen=True, kw_only=True)
class LargestPart(Finding):
    """The largest part of an architecture's energy; of_energy is its share in the run. others : what else may be."""

    arch: str
    part: str
    of_energy: float
    others: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """A run with every alternative.

    Parameters
    ----------
    items : tuple of Item
        Those that make a difference to this run, in the order of `ITEMS`.
    parts : mapping
        By architecture and part: uJ of the network, an axis for each item; of length 1 where the item does not matter.
    left_out : tuple of str
        Items and alternatives that are not varied, and why.
    """

    run: RunFolder
    table: EnergyTable
    archs: tuple[Arch, ...]
    items: tuple[Item, ...]
    parts: Mapping[str, Mapping[str, Floats]]
    left_out: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Options of each item."""
        return tuple(len(item.options) for item in self.items)

    @property
    def combinations(self) -> int:
        """Of all options of all items."""
        return math.prod(self.shape)

    @property
    def base(self) -> tuple[int, ...]:
        """The place of the run itself."""
        return tuple(item.base for item in self.items)

    @property
    def baseline(self) -> str | None:
        """Name of the run's dense architecture, if it has one."""
        return next((arch.name for arch in self.archs if arch.baseline), None)

    @cached_property
    def energies(self) -> dict[str, Floats]:
        """By architecture: uJ of the network, an axis for each item."""
        return {name: sum(parts.values(), start=np.zeros((1,) * len(self.items))) for name, parts in self.parts.items()}

    @cached_property
    def conclusions(self) -> list[Conclusion]:
        """Every pair of architectures in the order that the run puts them in, by energy and by energy x delay."""
        return [
            self._conclusion(measure, *pair)
            for measure in ("energy", "edp")
            for pair in itertools.combinations(self._order(measure), 2)
        ]

    @cached_property
    def gains(self) -> list[Gain]:
        """Of each architecture over the run's dense one; empty without."""
        if self.baseline is None:
            return []
        made = []
        for arch in self.archs:
            if arch.name != self.baseline:
                ratio = self.energies[self.baseline] / self.energies[arch.name]
                one, every = self._one_at_a_time(ratio), self._all_at_once(ratio)
                made.append(Gain(arch=arch.name, gain=self.at(ratio), one_at_a_time=one, all_at_once=every))
        return made

    @cached_property
    def largest_parts(self) -> list[LargestPart]:
        """Of each architecture."""
        return [self.largest_part(arch.name) for arch in self.archs]

    def largest_part(self, arch: str) -> LargestPart:
        """Of an architecture's energy, and whether it stays that."""
        parts = self.parts[arch]
        part = max(PARTS, key=lambda name: self.at(parts[name]))
        largest = np.zeros((1,) * len(self.items))
        for name in PARTS:
            if name != part:
                largest = np.maximum(largest, parts[name])
        exceeding = [
            name for name in PARTS if name != part and np.any((parts[name] >= largest) & (parts[name] > parts[part]))
        ]
        return LargestPart(
            **self._finding(parts[part] >= largest),
            arch=arch,
            part=part,
            of_energy=self.at(parts[part]) / self.at(self.energies[arch]),
            others=tuple(exceeding),
        )

    def at(self, values: npt.NDArray[Any], item: int | None = None, option: int = 0) -> float:
        """The run's own value, or that with another option of one item."""
        place = [option if axis == item else base for axis, base in enumerate(self.base)]
        return float(values[tuple(min(index, size - 1) for index, size in zip(place, values.shape, strict=True))])

    def others(self) -> Iterator[tuple[int, int, Choice]]:
        """Every option but the run's own ones: its item's place, its own, and the choice."""
        for axis, item in enumerate(self.items):
            for index, option in enumerate(item.options):
                if index != item.base:
                    yield axis, index, (item.name, option.label)

    def records(self) -> list[dict[str, Any]]:
        """Each option of each item alone, on each architecture; pj : by name, as `pj` gives it."""
        made = []
        for axis, item in enumerate(self.items):
            for index, option in enumerate(item.options):
                pj = self.pj(item, option)
                dense = None if self.baseline is None else self.at(self.energies[self.baseline], axis, index)
                for arch in self.archs:
                    energy = self.at(self.energies[arch.name], axis, index)
                    made.append(
                        {
                            "item": item.name,
                            "alternative": option.label,
                            "as_run": index == item.base,
                            "arch": arch.name,
                            "pj": pj[arch.name],
                            "energy_uj": energy,
                            **{f"{part}_uj": self.at(self.parts[arch.name][part], axis, index) for part in PARTS},
                            "latency_us": arch.latency_us,
                            "edp_uj_us": energy * arch.latency_us,
                            "energy_gain": None if dense is None else dense / energy,
                            "kind": option.kind,
                            "why": option.why,
                            "source": option.source,
                        }
                    )
        return made

    def pj(self, item: Item, option: Option) -> dict[str, dict[str, float]]:
        """What an option of an item says, by architecture and name; nothing where the architecture has no use for it.

        In pJ an operation, bit or byte as the item has it; of the technology the leakage in uW as well.
        """
        return {arch.name: dict(_pj(item.name, _model(arch, self.table, {item.name: option}))) for arch in self.archs}

    def _order(self, measure: Measure) -> list[str]:
        """Names, the least first; those that are equal in the order of the run."""
        delay = {arch.name: arch.latency_us if measure == "edp" else 1.0 for arch in self.archs}
        return sorted(delay, key=lambda name: self.at(self.energies[name]) * delay[name])

    def _conclusion(self, measure: Measure, a: str, b: str) -> Conclusion:
        delay = {arch.name: arch.latency_us if measure == "edp" else 1.0 for arch in self.archs}
        ratio = self.energies[b] / self.energies[a] * (delay[b] / delay[a])
        equal = abs(self.at(ratio) - 1) <= TIE
        holds = np.abs(ratio - 1) <= TIE if equal else ratio > 1 + TIE
        return Conclusion(
            **self._finding(holds),
            measure=measure,
            a=a,
            b=b,
            equal=equal,
            ratio=self.at(ratio),
            one_at_a_time=self._one_at_a_time(ratio),
            all_at_once=self._all_at_once(ratio),
        )

    def _finding(self, holds: npt.NDArray[np.bool_]) -> dict[str, Any]:
        overturned = tuple(choice for axis, index, choice in self.others() if not self.at(holds, axis, index))
        verdict: Verdict = "depends" if overturned else ("stands" if holds.all() else "stands one at a time")
        return {"verdict": verdict, "overturned_by": overturned, "share": float(holds.mean())}

    def _one_at_a_time(self, ratio: Floats) -> Range:
        found: list[tuple[float, tuple[Choice, ...]]] = [(self.at(ratio), ())]
        found += [(self.at(ratio, axis, index), (choice,)) for axis, index, choice in self.others()]
        least, greatest = (pick(found, key=lambda one: one[0]) for pick in (min, max))
        return Range(least=least[0], greatest=greatest[0], least_with=least[1], greatest_with=greatest[1])

    def _all_at_once(self, ratio: Floats) -> Range:
        places = [np.unravel_index(flat, ratio.shape) for flat in (ratio.argmin(), ratio.argmax())]
        least, greatest = (
            tuple(
                (item.name, item.options[index].label)
                for item, index, size in zip(self.items, place, ratio.shape, strict=True)
                if size > 1
            )
            for place in places
        )
        values = [float(ratio[place]) for place in places]
        return Range(least=values[0], greatest=values[1], least_with=least, greatest_with=greatest)


def study_run(run: RunFolder) -> Study:
    """Vary the energy figures of a run.

    Raises
    ------
    InputError
        It has no energies, its table is at a node of which no other sources are known, or its files do not agree.
    """
    table = _table_of(run)
    archs = _archs_of(run, table)
    spreads = load_spreads(table.technology.node_nm)
    _check_base(run, table, archs)
    left_out = []
    items = []
    for name in ITEMS:
        wide = [arch.name for arch in archs if arch.machine.operand_bits != 8]
        if name == "mac" and wide:
            left_out.append(f"mac: operands of 16 bits on {', '.join(wide)}; other sources are known for 8 bits only")
            continue
        item, notes = _item(name, spreads[name], table, archs)
        left_out += notes
        if len(item.options) < 2:
            left_out.append(f"{name}: no other source at {table.technology.node_nm} nm")
        elif not _matters(item, table, archs):
            left_out.append(f"{name}: makes no difference to this run")
        else:
            items.append(item)
    parts = {arch.name: _parts(arch, table, items) for arch in archs}
    return Study(
        run=run,
        table=table,
        archs=tuple(archs),
        items=tuple(items),
        parts=MappingProxyType(parts),
        left_out=tuple(left_out),
    )


def write_options(path: Path, study: Study) -> None:
    """Write a row per item, option and architecture, all of them or none.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    import pandas

    rows = [row | {"pj": " ".join(f"{name}={value!r}" for name, value in row["pj"].items())} for row in study.records()]
    with whole_files([path]) as (staged,):
        pandas.DataFrame(rows).to_csv(staged, index=False, lineterminator="\n")


def json_of(study: Study) -> dict[str, Any]:
    """The study as JSON's own values."""

    def choices(made: Sequence[Choice]) -> list[dict[str, str]]:
        return [{"item": item, "alternative": label} for item, label in made]

    def span(given: Range) -> dict[str, Any]:
        ends = {"least": given.least, "greatest": given.greatest}
        return ends | {"least_with": choices(given.least_with), "greatest_with": choices(given.greatest_with)}

    def finding(given: Finding) -> dict[str, Any]:
        return {
            "verdict": given.verdict,
            "overturned_by": choices(given.overturned_by),
            "share_of_combinations": given.share,
        }

    return {
        "path": str(study.run.path),
        "command": study.run.summary.get("command"),
        "energy": {"table": study.table.name, "node_nm": study.table.technology.node_nm},
        "combinations": study.combinations,
        "left_out": list(study.left_out),
        "baseline": study.baseline,
        "conclusions": [
            {
                "measure": c.measure,
                "a": c.a,
                "b": c.b,
                "says": "equal" if c.equal else "a < b",
                "b_over_a": c.ratio,
                "one_at_a_time": span(c.one_at_a_time),
                "all_at_once": span(c.all_at_once),
            }
            | finding(c)
            for c in study.conclusions
        ],
        "gains": [
            {
                "arch": gain.arch,
                "energy_gain": gain.gain,
                "one_at_a_time": span(gain.one_at_a_time),
                "all_at_once": span(gain.all_at_once),
            }
            for gain in study.gains
        ],
        "largest_parts": [
            {"arch": part.arch, "part": part.part, "share_of_energy": part.of_energy, "others": list(part.others)}
            | finding(part)
            for part in study.largest_parts
        ],
        "items": [{"item": item.name, "run": item.options[item.base].label} for item in study.items],
        "alternatives": study.records(),
    }


def _table_of(run: RunFolder) -> EnergyTable:
    """The run's own table, from its config.toml."""
    if not run.has_energy or run.summary.get("energy") is None:
        raise InputError(f"{run.path}: run with --energy none: it has no energy to vary")
    try:
        given = run.config["energy"]
        figures = {
            name: Figure(name=name, pj=float(figure["pj"]), kind=str(figure["kind"]), source=str(figure["source"]))
            for name, figure in given.get("figures", {}).items()
        }
        unknown = [name for name in figures if name not in FIGURES]
        if unknown:
            raise ValueError(f"unknown figure {unknown[0]!r}")
        return EnergyTable(
            name=str(given["table"]),
            summary=str(run.summary["energy"]["summary"]),
            technology=Technology(
                node_nm=given["node_nm"], cell_type=given["cell_type"], temperature_k=given["temperature_k"]
            ),
            figures=MappingProxyType(figures),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{run.path / 'config.toml'}: energy: {_said(error)}; a run of another version?") from error


def _archs_of(run: RunFolder, table: EnergyTable) -> list[Arch]:
    """The run's architectures with their machines, memories and counts."""
    made = []
    for entry in run.config["arch"]:
        name = entry["name"]
        try:
            machine = Machine.load("edge", flatten(entry["machine"]))
            buffered = ARCHITECTURES[entry["arch"]].has_accumulation_buffer
            memories = tuple(_memory(record, table) for record in run.summary["energy"]["memories"][name])
            if [memory.part for memory in memories] != ["smem", "rf", "accumulator"][: 2 + buffered]:
                raise ValueError("memories of another kind")
            model = EnergyModel(machine=machine, accumulation_buffer=buffered, table=table, memories=memories)
            columns = dict.fromkeys(term.count for term in model.terms)
            rows = run.rows.loc[run.rows["arch"] == name]
            counts = {column: _total(rows[column], rows["calls"]) for column in columns}
            latency = float((rows["latency_us"] * rows["calls"]).sum())
            if not (latency > 0 and math.isfinite(latency) and counts["cycles"] > 0):
                raise ValueError("cycles and latency must be positive")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{run.path}: {name}: {_said(error)}; a run of another version?") from error
        made.append(
            Arch(
                name=name,
                baseline=entry["arch"] == BASELINE,
                machine=machine,
                accumulation_buffer=buffered,
                memories=memories,
                counts=MappingProxyType(counts),
                latency_us=latency,
            )
        )
    return made


def _memory(record: Mapping[str, Any], table: EnergyTable) -> Memory:
    shape = SramShape(
        size_bytes=record["size_bytes"], word_bits=record["word_bits"], banks=record["banks"], ports=record["ports"]
    )
    given = ("read_pj", "write_pj", "leakage_mw", "area_mm2", "access_ns", "cycle_ns", "origin", "source")
    sram = Sram(shape=shape, technology=table.technology, **{name: record[name] for name in given})
    return Memory(part=record["part"], count=record["count"], sram=sram)


def _total(values: Any, calls: Any) -> int:
    if values.dtype.kind not in "iu" or calls.dtype.kind not in "iu":
        raise ValueError(f"results.csv: column {values.name!r}: must hold whole numbers")
    return sum(value * times for value, times in zip(values.tolist(), calls.tolist(), strict=True))


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return " ".join(str(error).split())[:200]


def _check_base(run: RunFolder, table: EnergyTable, archs: Sequence[Arch]) -> None:
    """The run's own energies must come out again."""
    for arch in archs:
        energy = _model(arch, table, {}).energy(SimpleNamespace(**arch.counts))
        told = run.summary["totals"][arch.name]
        own = {**energy.parts, "energy_uj": energy.energy_uj, "latency_us": arch.latency_us}
        for key, value in own.items():
            given = told.get(key) if isinstance(told, dict) else None
            if not isinstance(given, int | float) or not math.isclose(value, given, rel_tol=AGREEMENT, abs_tol=0):
                raise InputError(
                    f"{run.path / 'summary.json'}: totals of {arch.name}: {key}: value {given}: results.csv and "
                    f"config.toml give {value!r}; a run of another version, or changed since?"
                )


def _model(arch: Arch, table: EnergyTable, chosen: Mapping[str, Option]) -> EnergyModel:
    """An architecture's model with these options, the run's own for all other items."""
    memories = arch.memories
    for option in chosen.values():
        if option.alternative is not None:
            table = option.alternative.apply(table)
        if option.memories is not None:
            memories = option.memories[arch.name]
    return EnergyModel(
        machine=arch.machine, accumulation_buffer=arch.accumulation_buffer, table=table, memories=memories
    )


def _item(
    name: str, alternatives: Sequence[Alternative], table: EnergyTable, archs: Sequence[Arch]
) -> tuple[Item, list[str]]:
    """An item with its options, the run's own among them; and notes on those that are left out."""
    options, notes = [], []
    for alternative in alternatives:
        if alternative.technology is None:
            kinds = dict.fromkeys(figure.kind for figure in alternative.figures)
            options.append(
                Option(
                    item=name,
                    label=alternative.label,
                    why=alternative.why,
                    source=alternative.source,
                    kind=", ".join(kinds) or "tool",
                    alternative=alternative,
                )
            )
            continue
        option = _technology(alternative, alternative.technology, table, archs)
        if option is None:
            notes.append(f"technology: {alternative.label}: CACTI's table lacks the memories of this run there")
        else:
            options.append(option)
    own = [index for index, option in enumerate(options) if _same(option, table, archs)]
    if own:
        return Item(name=name, options=tuple(options), base=own[0]), notes
    figures = [table.figures[figure] for figure in ITEMS[name] if figure in table.figures]
    added = Option(
        item=name,
        label=str(table.technology).partition(" nm ")[2] if name == "technology" else f"{table.name}'s own",
        why="what the run's energy table says",
        source=" | ".join(dict.fromkeys(figure.source for figure in figures)) or f"CACTI 7, {table.technology}",
        kind=", ".join(dict.fromkeys(figure.kind for figure in figures)) or "tool",
        alternative=None,
    )
    return Item(name=name, options=(added, *options), base=0), notes


def _technology(
    alternative: Alternative, technology: Technology, table: EnergyTable, archs: Sequence[Arch]
) -> Option | None:
    """The memories of every architecture in another process; None where that is not known of one of them."""
    label, source, made = alternative.label, alternative.source, {}
    if technology != table.technology:
        scaled = {arch.name: scale_memories(arch.memories, technology) for arch in archs}
        made = {name: memories.memories for name, memories in scaled.items() if memories is not None}
        if len(made) < len(archs):
            return None
        if not all(memories.exact for memories in scaled.values() if memories is not None):
            label += " (scaled)"
            source += f": the run's arrays, x the ratio of 1-bank 1rw arrays there to such at {table.technology}"
    return Option(
        item="technology",
        label=label,
        why=alternative.why,
        source=source,
        kind="derived" if label.endswith("(scaled)") else "tool",
        alternative=None,
        memories=made or None,
    )


def _same(option: Option, table: EnergyTable, archs: Sequence[Arch]) -> bool:
    """Whether it says what the run's own table says."""
    if option.item == "technology":
        return option.memories is None
    for arch in archs:
        pairs = zip(_model(arch, table, {}).terms, _model(arch, table, {option.item: option}).terms, strict=True)
        if not all(math.isclose(own.pj, other.pj, rel_tol=TIE) for own, other in pairs):
            return False
    return True


def _matters(item: Item, table: EnergyTable, archs: Sequence[Arch]) -> bool:
    """Whether any option changes an energy of the run."""

    def energies(option: Option) -> list[float]:
        counts = [SimpleNamespace(**arch.counts) for arch in archs]
        models = [_model(arch, table, {item.name: option}) for arch in archs]
        return [model.energy(count).energy_uj for model, count in zip(models, counts, strict=True)]

    own = energies(item.options[item.base])
    return any(energies(option) != own for option in item.options)


def _parts(arch: Arch, table: EnergyTable, items: Sequence[Item]) -> dict[str, Floats]:
    """By part: uJ with every combination of the items that can change it."""
    made = {}
    for part in PARTS:
        axes = [axis for axis, item in enumerate(items) if item.name in _ITEMS_OF[part]]
        shape = tuple(len(item.options) if axis in axes else 1 for axis, item in enumerate(items))
        values = np.empty(shape)
        for place in np.ndindex(shape):
            model = _model(arch, table, {items[axis].name: items[axis].options[place[axis]] for axis in axes})
            terms = (term.pj * arch.counts[term.count] for term in model.terms if term.part == part)
            values[place] = math.fsum(terms) / 1e6
        for axis in axes:  # an item that the architecture has no use for needs no axis
            first = values.take([0], axis)
            values = first if np.all(values == first) else values
        made[part] = values
    return made


_TERMS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "mac": (("op", "mac", "macs_issued"),),
    "smem": (("read", "smem", "weight_bytes"), ("write", "smem", "smem_write_bytes")),
    "metadata": (("read", "metadata", "metadata_bytes"),),
    "buffer": (("read", "accumulator", "accumulator_read_bytes"), ("write", "accumulator", "accumulator_write_bytes")),
    "technology": (
        ("smem_read", "smem", "weight_bytes"),
        ("smem_write", "smem", "smem_write_bytes"),
    ),
}


def _pj(item: str, model: EnergyModel) -> Iterator[tuple[str, float]]:
    """What an architecture takes for an item, by name."""
    pj = {(term.part, term.count): term.pj for term in model.terms}
    rf_operands = model.machine.rf.holds != "sums"
    rf_sums = model.machine.rf.sums == "array" and not model.accumulation_buffer
    if item == "buffer" and not model.accumulation_buffer:
        return
    for name, part, count in _TERMS.get(item, ()):
        yield name, pj[part, count]
    if item in ("rf", "technology") and (rf_operands or rf_sums):
        part = "rf" if rf_operands else "accumulator"
        prefix = "rf_" if item == "technology" else ""
        for way in ("read", "write"):
            yield f"{prefix}{way}", pj[part, f"{part}_{way}_bytes"]
    if item == "technology":
        if model.accumulation_buffer:
            for way in ("read", "write"):
                yield f"buffer_{way}", pj["accumulator", f"accumulator_{way}_bytes"]
        yield "leakage_uw", 1000 * sum(memory.leakage_mw for memory in model.memories)
    used = {"full_adder": model.accumulation_buffer, "crossbar_bit": model.accumulation_buffer}
    used["mux2_bit"] = not model.accumulation_buffer
    used["register_bit"] = any(figure.name == "register_bit" for figure in model.figures())
    if used.get(item):
        yield "op" if item == "full_adder" else "bit", model.table.figures[item].pj
