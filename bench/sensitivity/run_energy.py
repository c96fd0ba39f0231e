"""A run's energy read back from its folder: the table, and each architecture with its memories and counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any

from ...sim import ARCHITECTURES, InputError, Machine
from ...sim.archs import BASELINE
from ...sim.archs.base import Architecture
from ...sim.energy import FIGURES, EnergyModel, EnergyTable, Figure, Memory
from ...sim.energy.sram import Sram, SramShape, Technology
from ...sim.result import parts_of
from ..run_folder import RunFolder

# How far the recomputed energies may lie from those of the run.
AGREEMENT = 1e-9


@dataclass(frozen=True, kw_only=True)
class Arch:
    """An architecture of the run. counts : of the whole network, by column. memories : as the run had them."""

    name: str
    architecture: Architecture
    machine: Machine
    memories: tuple[Memory, ...]
    counts: Mapping[str, int]
    latency_us: float

    @property
    def baseline(self) -> bool:
        """Whether it is the one that gains on its machine are over."""
        return self.architecture.name == BASELINE


def read_table(run: RunFolder) -> EnergyTable:
    """The run's own energy table, from its config.toml.

    Raises
    ------
    InputError
        It was run without, or the table is not as it must be.
    """
    if not run.has_energy:
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


def read_archs(run: RunFolder, table: EnergyTable) -> list[Arch]:
    """The run's architectures with their machines, memories and counts.

    Raises
    ------
    InputError
        An architecture is not known, or its memories are of another kind.
    """
    made, machines = [], run.machines
    for entry in run.config["arch"]:
        name = entry["name"]
        machine, rows = machines[name], run.rows.loc[run.rows["arch"] == name]
        try:
            architecture = ARCHITECTURES[entry["arch"]]
            memories = tuple(_memory(record, table) for record in run.summary["energy"]["memories"][name])
            parts = ["smem", "rf", *(["accumulator"] if architecture.has_accumulation_buffer else [])]
            if [memory.part for memory in memories] != parts:
                raise ValueError("memories of another kind")
            model = EnergyModel(machine=machine, architecture=architecture, table=table, memories=memories)
            columns = dict.fromkeys(term.count for term in model.terms)
        except (KeyError, ValueError) as error:
            raise InputError(f"{run.path}: {name}: {_said(error)}; a run of another version?") from error
        made.append(
            Arch(
                name=name,
                architecture=architecture,
                machine=machine,
                memories=memories,
                counts=MappingProxyType({column: _total(rows[column], rows["calls"]) for column in columns}),
                latency_us=float((rows["latency_us"] * rows["calls"]).sum()),
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
    return sum(value * times for value, times in zip(values.tolist(), calls.tolist(), strict=True))


def _said(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return " ".join(str(error).split())[:200]


def check_energies(run: RunFolder, table: EnergyTable, archs: Sequence[Arch]) -> None:
    """See that the run's own energies come out again.

    Raises
    ------
    InputError
        They do not.
    """
    for arch in archs:
        model = EnergyModel(machine=arch.machine, architecture=arch.architecture, table=table, memories=arch.memories)
        energy = model.energy(SimpleNamespace(**arch.counts))
        told = run.summary["totals"][arch.name]
        parts = [f"{part}_uj" for part in parts_of(with_dram=arch.machine.has_dram)]
        own = {name: energy.parts[name] for name in parts}
        own |= {"energy_uj": energy.energy_uj, "latency_us": arch.latency_us}
        for key, value in own.items():
            given = told[key]
            if not math.isclose(value, given, rel_tol=AGREEMENT):
                raise InputError(
                    f"{run.path / 'summary.json'}: totals of {arch.name}: {key}: value {given}: results.csv and "
                    f"config.toml give {value!r}; a run of another version, or changed since?"
                )
