"""The anomalies of hardware.md rule 5.7: machines that are better in one field and slower all the same.

With one sharing set, more bandwidth, lower latency and a shorter pipeline never make a layer slower. With several
sets they can: a set that is served earlier gets in the way of the one that all others end up waiting for. More
chunk slots can as well, on any architecture: they take columns from the tile and change the order of the reads. On
dstc, whose cores run freely, all of it can (`dual_anomalies.py`).

This looks for the worst case of each with random machines and layers. Every other example redraws one or two fields
of the worst one so far, so a search is also a climb. Run it as

    python -m crispsim.bench.anomalies --examples 2000 --seed 0
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import lcm
from typing import Any

from ..formats import Pattern, PatternError, draw_weights
from ..sim import ARCHITECTURES, InputError, Machine
from ..sim.archs import Architecture
from ..sim.archs.base import LoweredInput
from ..sim.machine import describe
from ..sim.simulate import run_group
from ..sim.weights import Weights
from . import dual_anomalies

Case = dict[str, Any]
Group = tuple[Architecture, Machine, Weights, int, LoweredInput | None]

# Shorter runs are dominated by filling and draining; the worst case of the longer ones has a column of its own.
LONG_CYCLES = 10_000

_MACHINE_FIELDS: dict[str, tuple[object, ...]] = {
    "core.count": (2, 4, 4, 8),
    "core.rows": (1, 2, 4, 8, 8),
    "core.lanes": (4, 8, 8),
    "core.pipeline_cycles": (0, 1, 2, 4, 8, 16, 32),
    "rf.bytes": (256, 512, 1024, 1024, 2048),
    "rf.read_bytes_per_cycle": (0, 0, 0, 8),
    "smem.read_bytes_per_cycle": tuple(range(1, 65)),
    "smem.write_bytes_per_cycle": tuple(range(1, 65)),
    "smem.latency_cycles": tuple(range(1, 33)),
    "chunk_columns": (1, 2, 2, 3, 4),
    "chunk_slots": tuple(range(1, 9)),
    "tile_chunks": (0, 0, 1, 2, 3, 4, 6),
    "operand_bits": (8, 8, 16),
    "sum_bits": (8, 32, 32),
    "output_bits": (8, 32),
}
_LAYER_FIELDS: dict[str, tuple[object, ...]] = {
    "arch": ("dense", "stc", "crisp-stc"),
    "nm": ((1, 4), (2, 4), (2, 4), (3, 4), (1, 1)),
    "blocks": ("none", "below", "below", "band"),
    "kept": (0.1, 0.25, 0.5, 1.0),
    "s": (*range(1, 65), *range(66, 257, 4)),
    "k": (*range(4, 97), *range(100, 513, 8)),
    "p": (*range(1, 49), *range(50, 200, 6)),
    "mask": tuple(range(10)),
}


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a search draws its cases from.

    Parameters
    ----------
    fields : mapping of str to tuple
        Values of each field of a case.
    build : callable
        What `run_group` needs for a case; raises InputError or PatternError where there is no such machine or layer.
    describe_layer : callable
    """

    fields: dict[str, tuple[object, ...]]
    build: Callable[[Case], Group]
    describe_layer: Callable[[Case], str]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One way to make a machine better.

    Parameters
    ----------
    name : str
    key : str
        The field of the machine that changes.
    direction : int
        +1 for more of it, -1 for less.
    admits : callable
        Whether a case is one this row is about; gets the case and the number of its sharing sets.
    space : Space
    """

    name: str
    key: str
    direction: int
    admits: Callable[[Case, int], bool]
    space: Space

    def better(self, rng: random.Random, value: int) -> int | None:
        """Draw a better value of the field, None where there is none."""
        known = [v for v in self.space.fields[self.key] if isinstance(v, int) and (v - value) * self.direction > 0]
        if self.direction > 0:
            known += [value + 1, 2 * value]
        return rng.choice(known) if known else None


@dataclass(kw_only=True)
class Finding:
    """The worst case of a change: its cycles before and after, and how often the change was tried and hurt."""

    change: Change
    tried: int = 0
    slower: int = 0
    case: Case = field(default_factory=dict)
    value: int = 0
    before: int = 1
    after: int = 1
    long_ratio: float = 1.0

    @property
    def ratio(self) -> float:
        """Cycles after the change over cycles before; above 1 is an anomaly."""
        return self.after / self.before


def _several(case: Case, sets: int) -> bool:
    return sets > 1


def _one(case: Case, sets: int) -> bool:
    return sets == 1


def _fixed_tile(case: Case, sets: int) -> bool:
    return case["tile_chunks"] != 0


def build(case: Case) -> Group:
    """The architecture, machine, weights, columns and input that a case of a stationary architecture stands for.

    Raises
    ------
    InputError, PatternError
        There is no such machine, or no such pattern.
    """
    values = {key: case[key] for key in _MACHINE_FIELDS if key != "tile_chunks"}
    tile_columns = case["tile_chunks"] * case["chunk_columns"]
    machine = Machine.load("edge", values | {"column_tile": tile_columns})
    shape = (case["s"], case["k"])
    pattern = Pattern(n=case["nm"][0], m=case["nm"][1], block=_block(case, machine))
    if pattern.kind == "dense":
        weights = Weights(shape=shape)
    else:
        sparsity = None
        if pattern.block is not None:
            sparsity = round(1 - float(pattern.density) * case["kept"], 6)
        weights = Weights(shape=shape, matrix=draw_weights(shape, pattern, sparsity, case["mask"]))
    return ARCHITECTURES[case["arch"]], machine, weights, case["p"], None


def describe_layer(case: Case) -> str:
    """The layer of a stationary architecture's case in words."""
    pattern = build(case)[2].pattern
    kept = "" if pattern.block is None else f", kept {case['kept']}, mask {case['mask']}"
    return f"{case['arch']}, {pattern}{kept}, S {case['s']}, K {case['k']}, P {case['p']}"


STATIONARY = Space(fields=_MACHINE_FIELDS | _LAYER_FIELDS, build=build, describe_layer=describe_layer)
DUAL = Space(fields=dual_anomalies.FIELDS, build=dual_anomalies.build, describe_layer=dual_anomalies.describe_layer)
ONE_CORE = replace(DUAL, fields=DUAL.fields | {"core.count": (1,), "dstc.core_columns": (1,)})
ONE_CORE_ONE_SLOT = replace(ONE_CORE, fields=ONE_CORE.fields | {"dstc.slice_slots": (1,)})


_BETTER = (
    ("read bandwidth up", "smem.read_bytes_per_cycle", 1),
    ("write bandwidth up", "smem.write_bytes_per_cycle", 1),
    ("latency down", "smem.latency_cycles", -1),
    ("pipeline shorter", "core.pipeline_cycles", -1),
)
_SLOTS = (("chunk slots up", "chunk_slots", 1),)
_BETTER_DUAL = (*_BETTER, ("accumulator port wider", "dstc.accumulator_values_per_cycle", 1))
_SLICE_SLOTS = (("slice slots up", "dstc.slice_slots", 1),)


def _changes(
    better: tuple[tuple[str, str, int], ...],
    where: str,
    space: Space,
    admits: Callable[[Case, int], bool] = lambda case, sets: True,
) -> list[Change]:
    return [
        Change(name=f"{name}, {where}", key=key, direction=way, admits=admits, space=space) for name, key, way in better
    ]


CHANGES = (
    *_changes(_BETTER, "several sets", STATIONARY, _several),
    *_changes(_BETTER, "one set", STATIONARY, _one),
    *_changes(_SLOTS, "any", STATIONARY),
    *_changes(_SLOTS, "same column tile", STATIONARY, _fixed_tile),
    *_changes(_BETTER_DUAL + _SLICE_SLOTS, "dstc", DUAL),
    *_changes(_BETTER_DUAL + _SLICE_SLOTS, "dstc of one core", ONE_CORE),
    *_changes(_BETTER_DUAL, "dstc of one core with one slot", ONE_CORE_ONE_SLOT),
)


def search(change: Change, examples: int, seed: int) -> Finding:
    """Look at so many cases for the largest slowdown.

    Parameters
    ----------
    change : Change
    examples : int
        Pairs of runs; cases that a machine refuses are drawn again and do not count.
    seed : int
    """
    rng = random.Random(f"{change.name} {seed}")
    found = Finding(change=change)
    while found.tried < examples:
        case = _draw(rng, found)
        better = change.better(rng, case[change.key])
        if better is None:
            continue
        try:
            group = change.space.build(case)
            if not change.admits(case, _sets_of(group)):
                continue
            before = run_group(*group).cycles
            after = run_group(*change.space.build(case | {change.key: better})).cycles
        except (InputError, PatternError):
            continue
        found = replace(found, tried=found.tried + 1, slower=found.slower + (after > before))
        if before >= LONG_CYCLES:
            found.long_ratio = max(found.long_ratio, after / before)
        if after * found.before > found.after * before:
            found = replace(found, case=case, value=better, before=before, after=after)
    return found


def table(findings: list[Finding]) -> str:
    """The findings as a Markdown table."""
    lines = [
        f"| change | tried | slower | worst | worst from {LONG_CYCLES} cycles | machine and layer of the worst |",
        "|---|---|---|---|---|---|",
    ]
    for found in findings:
        counts = f"{found.tried} | {found.slower} | {found.ratio:.3f} | {found.long_ratio:.3f}"
        lines.append(f"| {found.change.name} | {counts} | {_describe(found)} |")
    return "\n".join(lines)


def main() -> None:
    """Search every change and print the table."""
    parser = argparse.ArgumentParser(description="Search for anomalies: better machines that are slower.")
    parser.add_argument("--examples", type=int, default=2000, help="pairs of runs for each change")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--change", default="", help="only the changes whose names contain this, such as dstc")
    given = parser.parse_args()
    chosen = [change for change in CHANGES if given.change in change.name]
    print(table([search(change, given.examples, given.seed) for change in chosen]))


def _draw(rng: random.Random, found: Finding) -> Case:
    """A new case, or every other time the worst one with one or two fields drawn again."""
    fresh = {name: rng.choice(values) for name, values in found.change.space.fields.items()}
    if not found.case or rng.random() < 0.5:
        return fresh
    again = rng.sample(list(fresh), rng.randint(1, 2))
    return found.case | {name: fresh[name] for name in again}


def _block(case: Case, machine: Machine) -> int | None:
    """The side of the case's blocks: the smallest that is possible, or the band's rows and more."""
    if case["blocks"] == "none":
        return None
    unit = lcm(machine.core.rows, case["nm"][1])
    return unit if case["blocks"] == "below" else lcm(unit, machine.band_rows)


def _sets_of(group: Group) -> int:
    architecture, machine, weights = group[:3]
    if architecture.name != "crisp-stc" or weights.pattern.block is None:
        return 1
    return max(1, machine.band_rows // weights.pattern.block)


def _describe(found: Finding) -> str:
    """The worst case in words: what changed, the layer, and how the machine differs from `edge`."""
    if found.after <= found.before:
        return "none found"
    case, key, space = found.case, found.change.key, found.change.space
    machine = space.build(case)[1]
    step = f"{key} {case[key]} -> {found.value}: {found.before} -> {found.after} cycles"
    own = zip(describe(machine), describe(Machine.load("edge")), strict=True)
    fields = [f"{name} {value}" for (name, value, *_), (_, usual, *_) in own if value != usual and name != key]
    return f"{step}; {space.describe_layer(case)}; edge with {', '.join(fields)}"


if __name__ == "__main__":
    main()
