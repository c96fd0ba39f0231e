"""What sources other than a run's own say of its energy figures (spreads.toml), for `crispsim sensitivity`.

An item is what is varied at a time; its alternatives set figures of an energy table, the process of the memories, or
what the machine's DRAM takes a bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import InputError
from ..machine import Machine, read_toml
from .memories import Memory
from .model import Term
from .sram import Figures, GridPoint, Sram, Technology, grid, interpolate
from .table import EnergyTable, Figure, read_figure

# The items, with the figures of a table that each of them replaces.
ITEMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mac": ("mac_8", "multiply_8", "add_8", "add_16", "add_32"),
        "mux2_bit": ("mux2_bit",),
        "full_adder": ("full_adder",),
        "crossbar_bit": ("crossbar_bit",),
        "register_bit": ("register_bit",),
        "smem": ("smem_read_byte", "smem_write_byte"),
        "metadata": ("metadata_read_byte",),
        "rf": ("rf_read_byte", "rf_write_byte"),
        "buffer": ("buffer_read_byte", "buffer_write_byte"),
        "technology": (),
        "dram": (),
    }
)
NODES = (45, 22)


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """What one source says of an item.

    label : short, no other of the item has it. why : what it is. figures : of a table, those it sets; the item's
    others are absent with it. technology : of the memories; None for every item but that. dram : in pJ a bit; likewise.
    """

    item: str
    label: str
    why: str
    figures: tuple[Figure, ...] = ()
    technology: Technology | None = None
    dram: Figure | None = None

    @property
    def source(self) -> str:
        """Where its figures come from."""
        if self.dram:
            return self.dram.source
        if self.figures:
            return " | ".join(dict.fromkeys(figure.source for figure in self.figures))
        return f"CACTI 7, {self.technology}" if self.technology else "CACTI 7"

    def apply(self, table: EnergyTable) -> EnergyTable:
        """The table with this item's figures replaced; its technology is left as it is (`scale_memories`)."""
        kept = {name: figure for name, figure in table.figures.items() if name not in ITEMS[self.item]}
        return replace(table, figures=MappingProxyType(kept | {figure.name: figure for figure in self.figures}))

    def on(self, machine: Machine) -> Machine:
        """The machine with what this takes its DRAM to cost, where it says so."""
        if self.dram is None:
            return machine
        return machine.model_copy(update={"dram": machine.dram.model_copy(update={"pj_per_bit": self.dram.pj})})


def load_spreads(node_nm: int) -> dict[str, tuple[Alternative, ...]]:
    """The alternatives of every item at a node.

    Raises
    ------
    InputError
        None are known at this node.

    >>> [alternative.label for alternative in load_spreads(45)["mac"]]
    ['Horowitz', 'Aladdin, 5 ns', 'Aladdin, 1 ns']
    """
    if node_nm not in NODES:
        known = " and ".join(map(str, NODES))
        raise InputError(f"energy table at {node_nm} nm: other sources are known at {known} nm only")
    path = Path(str(resources.files(__package__ or "crispsim.sim.energy") / "spreads.toml"))
    given = read_toml(path)[f"nm{node_nm}"]
    return {item: tuple(_alternative(item, entry, node_nm) for entry in given[item]) for item in ITEMS}


def prices(item: str, term: Term) -> bool:
    """Whether an item may change what a product of the sum costs, by a figure or by an array."""
    if item == "technology":
        return bool(term.memories)
    if item == "dram":
        return term.part == "dram"
    return not set(ITEMS[item]).isdisjoint(term.figures)


def _alternative(item: str, given: Mapping[str, Any], node_nm: int) -> Alternative:
    where = f"spreads.toml: {node_nm} nm: {item}: {given['label']}"
    figures = tuple(read_figure(name, value, f"{where}: {name}") for name, value in given.get("figures", {}).items())
    technology = None
    if item == "technology":
        technology = Technology(node_nm=node_nm, cell_type=given["cell_type"], temperature_k=given["temperature_k"])
    dram = read_figure("pj_per_bit", given["pj_per_bit"], where) if item == "dram" else None
    return Alternative(
        item=item, label=given["label"], why=given["why"], figures=figures, technology=technology, dram=dram
    )


@dataclass(frozen=True, kw_only=True)
class ScaledMemories:
    """Memories in another process. exact : whether every array is a row of CACTI's table in both processes."""

    memories: tuple[Memory, ...]
    exact: bool


def scale_memories(memories: tuple[Memory, ...], technology: Technology) -> ScaledMemories | None:
    """The same arrays in another process; None where CACTI's table does not tell.

    The table has other processes for arrays of one bank and one read-write port only. Read, write and leakage of an
    array are multiplied by what they are for such an array of its size and word, in the new process over the old one;
    where it is not in the table in both, both are interpolated between the same rows. Area and times are left out.
    """
    scaled, exact = [], True
    for memory in memories:
        sram = memory.sram
        ratio, direct = _ratio(sram, technology)
        if ratio is None:
            return None
        exact = exact and direct and (sram.shape.banks, sram.shape.ports) == (1, "1rw")
        scaled.append(
            replace(
                memory,
                sram=replace(
                    sram,
                    technology=technology,
                    read_pj=sram.read_pj * ratio.read_pj,
                    write_pj=sram.write_pj * ratio.write_pj,
                    leakage_mw=sram.leakage_mw * ratio.leakage_mw,
                    source=f"{sram.source}, x what 1 bank, 1rw has at {technology}",
                ),
            )
        )
    return ScaledMemories(memories=tuple(scaled), exact=exact)


def _ratio(sram: Sram, technology: Technology) -> tuple[Figures | None, bool]:
    """New over old for an array of one bank and one port, and whether it is in the table as it is."""
    if technology == sram.technology:
        return Figures(1.0, 1.0, 1.0, 1.0), True
    old, new = (grid(process, "1rw", 1) for process in (sram.technology, technology))
    place = sram.shape.size_bytes, sram.shape.word_bits
    both = old.keys() & new.keys()
    if place in both:
        figures = [points[place].figures for points in (old, new)]
    else:
        shared: list[dict[tuple[int, int], GridPoint]] = [{key: points[key] for key in both} for points in (old, new)]
        between = [interpolate(points, *place) for points in shared]
        figures = [found.figures for found in between if found is not None]
        if len(figures) < 2:
            return None, False
    return Figures(*(b / a for a, b in zip(*figures, strict=True))), place in both
