"""What a report says of machines, their memories, and where energy figures come from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...sim.machine import Machine, describe, flatten
from ..run_folder import RunFolder
from ..vocabulary import MEMORIES, PARTS
from .content import Block, Cell, Column, Form, Heading, Notes, Table, Text, listed

_ORIGINS = {
    "table": "as in the table",
    "interpolated": "interpolated between rows of the table",
    "live": "CACTI run for it",
    "energy table": "as the energy table gives it",
}
_MEMORY_COLUMNS: tuple[tuple[str, str, str, Form], ...] = (
    ("part", "part", "", "text"), ("count", "count", "", "count"), ("size_bytes", "size", "B", "count"),
    ("word_bits", "word", "bit", "count"), ("banks", "banks", "", "any"), ("ports", "ports", "", "text"),
    ("read_pj", "read", "pJ/access", "significant"), ("write_pj", "write", "pJ/access", "significant"),
    ("leakage_uw", "leakage", "µW", "significant"), ("area_mm2", "area", "mm²", "significant"),
    ("access_ns", "access", "ns", "significant"), ("cycle_ns", "cycle", "ns", "significant"),
)  # fmt: skip
_MEMORY_SOURCES = ("part", "source", "origin")


def plain_value(value: object) -> Cell:
    """A value of a settings file as a cell; lists and tables as JSON."""
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value)


def origin_of(name: object) -> str:
    """Where a memory's figures come from, by the word of the results."""
    return _ORIGINS.get(str(name), str(name))


def machine_blocks(run: RunFolder) -> list[Block]:
    """The first architecture's machine whole, then what others have otherwise."""
    machines = {arch["name"]: flatten(arch["machine"]) for arch in run.config["arch"]}
    known = {key: (unit, meaning) for key, _, unit, meaning in describe(Machine.load())}
    first = next(iter(machines.values()))
    alike = [name for name, machine in machines.items() if machine == first]
    head = [Column(label="field", form="text")]
    tail = [Column(label="unit", form="text"), Column(label="meaning", form="text")]
    rows = [[key, plain_value(value), *known.get(key, ("", ""))] for key, value in first.items()]
    whose = f"the machine of {listed(alike)}" if len(machines) > 1 else "the machine"
    caption = f"Every field of {whose}. Fields of dstc count for dstc only."
    columns = [*head, Column(label="value", form="exact"), *tail]
    blocks: list[Block] = [Table(id="machine-table", columns=columns, rows=rows, caption=caption)]
    if len(alike) == len(machines):
        return blocks
    shown = {alike[0]: first} | {name: machine for name, machine in machines.items() if machine != first}
    keys = dict.fromkeys(key for machine in shown.values() for key in machine)
    rows = [
        [key, *(plain_value(machine.get(key)) for machine in shown.values()), *known.get(key, ("", ""))]
        for key in keys
        if any(machine.get(key) != first.get(key) for machine in shown.values())
    ]
    columns = [*head, *(Column(label=name, form="exact") for name in shown), *tail]
    return [
        *blocks,
        Heading(text="Where the machines differ"),
        Table(id="machine-differences", columns=columns, rows=rows),
    ]


def memory_blocks(energy: Mapping[str, Any]) -> list[Block]:
    """The memory arrays, those alike once, and the area of each architecture's."""
    memories = {
        arch: [
            array | {"part": MEMORIES.get(array["part"], array["part"]), "leakage_uw": 1000 * array["leakage_mw"]}
            for array in own
        ]
        for arch, own in energy["memories"].items()
    }
    columns = [Column(label=label, unit=unit, form=form) for _, label, unit, form in _MEMORY_COLUMNS]
    columns.insert(1, Column(label="of", form="text"))
    owned = _owned(memories, [key for key, *_ in _MEMORY_COLUMNS])
    caption = (
        "Energy, leakage and area are of one array; register file and accumulation buffer stand in every core (count). "
        "An empty cell: not known."
    )
    table = Table(
        id="memories",
        columns=columns,
        rows=[[cells[0], whose, *cells[1:]] for whose, cells in owned],
        caption=caption,
    )
    sources = [
        (f"{part} of {whose}", str(source) if origin == "table" else f"{source} ({origin_of(origin)})")
        for whose, (part, source, origin) in _owned(memories, _MEMORY_SOURCES)
    ]
    areas = energy["area_mm2"]
    parts = dict.fromkeys(key for area in areas.values() for key in area)
    area = Table(
        id="area",
        columns=[
            Column(label="component", form="text"),
            *(Column(label=arch, unit="mm²", form="significant") for arch in areas),
        ],
        rows=[[MEMORIES.get(part, part), *(own.get(part) for own in areas.values())] for part in _last(parts, "total")],
        caption="All arrays of a component together. Only memories have a source; logic is left out.",
    )
    return [Heading(text="Memories"), table, Notes(items=sources), Heading(text="Area"), area]


def source_blocks(energy: Mapping[str, Any]) -> list[Block]:
    """The energy table: each figure with its source, what a count costs by them, and what is left out."""
    summary = energy["summary"].rstrip(".")
    head = f"Energy table {energy['table']}, {energy['node_nm']} nm."
    keys = ("name", "pj", "unit", "kind", "source")
    figures = Table(
        id="figure-sources",
        columns=[
            Column(label="figure", form="text"),
            Column(label="energy", form="exact"),
            Column(label="unit", form="text"),
            Column(label="kind", form="text"),
            Column(label="source", form="text"),
        ],
        rows=[[figure[key] for key in keys] for figure in energy["figures"]],
    )
    costs = _owned(energy["pj_per_count"], ("part", "count", "pj", "source"))
    cost_table = Table(
        id="costs",
        columns=[
            Column(label="part", form="text"),
            Column(label="of", form="text"),
            Column(label="count", form="text"),
            Column(label="energy", unit="pJ", form="significant"),
            Column(label="from", form="text"),
        ],
        rows=[[PARTS[str(part)][0] if part in PARTS else part, whose, *cells] for whose, (part, *cells) in costs],
        caption="Energy is counts (columns of results.csv) times these.",
    )
    return [
        Text(text=f"{head} {summary}." if summary else head),
        figures,
        Heading(text="What a count costs"),
        cost_table,
        Heading(text="Left out"),
        Notes(items=[("", text) for text in energy["left_out"]]),
    ]


def _last(names: Iterable[str], name: str) -> list[str]:
    """The names, this one last."""
    return sorted(names, key=lambda own: own == name)


def _owned(entries: Mapping[str, Any], keys: Sequence[str]) -> list[tuple[str, list[Cell]]]:
    """What the architectures have, what is alike once: whose it is, and the values of the keys."""
    owners: dict[tuple[Cell, ...], dict[str, None]] = {}
    for arch, own in entries.items():
        for entry in own:
            owners.setdefault(tuple(plain_value(entry[key]) for key in keys), {})[arch] = None
    return [("all" if len(archs) == len(entries) else ", ".join(archs), list(cells)) for cells, archs in owners.items()]
