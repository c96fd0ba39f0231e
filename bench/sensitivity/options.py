"""What is varied: items, and the options of each, on the architectures of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from ...sim.energy import EnergyModel, EnergyTable, Memory
from ...sim.energy.spreads import ITEMS, Alternative, scale_memories
from ...sim.energy.sram import Technology
from .run_energy import Arch

# Figures closer to each other than this, of themselves, are equal.
SAME = 1e-12


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


def make_items(
    spreads: Mapping[str, Sequence[Alternative]], table: EnergyTable, archs: Sequence[Arch]
) -> tuple[list[Item], list[str]]:
    """The items that make a difference to a run, and a line for each item and alternative that is left out.

    Parameters
    ----------
    spreads : mapping
        The alternatives of each item, as `load_spreads` gives them.
    table, archs
        The run's.
    """
    items, left_out = [], []
    for name in ITEMS:
        wide = [arch.name for arch in archs if arch.machine.operand_bits != 8]
        if name == "mac" and wide:
            left_out.append(f"mac: operands of 16 bits on {', '.join(wide)}; other sources are known for 8 bits only")
            continue
        if name == "dram" and not any(arch.machine.has_dram for arch in archs):
            continue
        item, notes = _item(name, spreads[name], table, archs)
        left_out += notes
        if len(item.options) < 2:
            left_out.append(f"{name}: no other source at {table.technology.node_nm} nm")
        elif not _matters(item, table, archs):
            left_out.append(f"{name}: makes no difference to this run")
        else:
            items.append(item)
    return items, left_out


def model_of(arch: Arch, table: EnergyTable, options: Iterable[Option] = ()) -> EnergyModel:
    """An architecture's energy with these options, the run's own for all other items."""
    memories, machine = arch.memories, arch.machine
    for option in options:
        if option.alternative is not None:
            table, machine = option.alternative.apply(table), option.alternative.on(machine)
        if option.memories is not None:
            memories = option.memories[arch.name]
    return EnergyModel(machine=machine, architecture=arch.architecture, table=table, memories=memories)


def _item(
    name: str, alternatives: Sequence[Alternative], table: EnergyTable, archs: Sequence[Arch]
) -> tuple[Item, list[str]]:
    """An item with its options, the run's own among them; and notes on those that are left out."""
    options, notes = [], []
    for alternative in alternatives:
        if alternative.technology is None:
            figures = [*alternative.figures, *([alternative.dram] if alternative.dram else [])]
            kinds = dict.fromkeys(figure.kind for figure in figures)
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
    return Item(name=name, options=(_own(name, table), *options), base=0), notes


def _own(name: str, table: EnergyTable) -> Option:
    """What the run's own table or machines say of an item, where no other source says the same."""
    if name == "dram":
        why, source = "what the run's machines say", "dram.pj_per_bit of the machines"
        return Option(item=name, label="the machine's own", why=why, source=source, kind="given", alternative=None)
    figures = [table.figures[figure] for figure in ITEMS[name] if figure in table.figures]
    return Option(
        item=name,
        label=str(table.technology).partition(" nm ")[2] if name == "technology" else f"{table.name}'s own",
        why="what the run's energy table says",
        source=" | ".join(dict.fromkeys(figure.source for figure in figures)) or f"CACTI 7, {table.technology}",
        kind=", ".join(dict.fromkeys(figure.kind for figure in figures)) or "tool",
        alternative=None,
    )


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
        pairs = zip(model_of(arch, table).terms, model_of(arch, table, [option]).terms, strict=True)
        if not all(math.isclose(own.pj, other.pj, rel_tol=SAME) for own, other in pairs):
            return False
    return True


def _matters(item: Item, table: EnergyTable, archs: Sequence[Arch]) -> bool:
    """Whether any option changes an energy of the run."""

    def energies(option: Option) -> list[float]:
        counts = [SimpleNamespace(**arch.counts) for arch in archs]
        models = [model_of(arch, table, [option]) for arch in archs]
        return [model.energy(count).energy_uj for model, count in zip(models, counts, strict=True)]

    own = energies(item.options[item.base])
    return any(energies(option) != own for option in item.options)
