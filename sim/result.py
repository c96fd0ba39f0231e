"""Results: plain values for a convolution group, a layer, a network; and the columns they are written in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .blocking import Residency
from .energy import PARTS, Energy, EnergyModel, Memory, clock_notes, clock_warnings
from .engine import Timing
from .engine_state import CAUSES
from .layer import Layer
from .machine import Machine, name_of
from .plan import Ints, Lowered, Plan

if TYPE_CHECKING:
    import pandas

# Columns of results.csv, in order (interfaces.md): `columns_of` says which of them a run has.
COLUMNS = (
    "layer", "arch", "mode", "mask", "nm", "block", "weight_sparsity", "activation_sparsity", "s", "k", "p", "groups",
    "macs_dense", "macs_effectual", "macs_issued", "cycles", "compute_bound_cycles", "smem_bound_cycles",
    "busy_core_cycles", "stall_drain_core_cycles", "stall_smem_core_cycles", "stall_rf_core_cycles",
    "stall_sync_core_cycles", "idle_core_cycles", "utilization", "smem_read_bytes", "smem_write_bytes", "weight_bytes",
    "metadata_bytes", "activation_bytes", "rf_read_bytes", "rf_write_bytes", "energy_uj", "mac_uj", "select_uj",
    "rf_uj", "accumulator_uj", "smem_uj", "metadata_uj", "leakage_uj", "latency_us", "edp_uj_us", "speedup",
    "energy_gain", "dram_read_bytes", "dram_write_bytes", "dram_bound_cycles", "stall_dram_core_cycles", "dram_uj",
    # Beyond those of interfaces.md:
    "accumulator_read_bytes", "accumulator_write_bytes", "mux_selections", "mux2_selections", "popcount_adders",
    "crossbar_bits", "tops_per_watt_dense", "tops_per_watt_effectual", "sram_origin", "column_tile",
    "requested_sparsity", "note", "calls", "smem_needed_bytes", "smem_excess_bytes", "smem_resident_ideal",
    "dram_weight_bytes", "dram_input_bytes", "dram_residual_bytes", "writeback_bytes", "blocking",
    "input_kept", "output_kept", "prefetched_bytes",
)  # fmt: skip
# Only of machines with a DRAM, and only of those without.
DRAM_COLUMNS = (
    "dram_read_bytes", "dram_write_bytes", "dram_bound_cycles", "stall_dram_core_cycles", "dram_uj",
    "dram_weight_bytes", "dram_input_bytes", "dram_residual_bytes", "writeback_bytes", "blocking",
)  # fmt: skip
RESIDENT_COLUMNS = ("smem_resident_ideal",)
# Only of runs with fusion; and what of a total they show without it, too.
FUSION_COLUMNS = ("input_kept", "output_kept", "prefetched_bytes")
UNFUSED = ("cycles", "dram_read_bytes", "dram_write_bytes", "energy_uj")
# What of a total machines with a DRAM show without it, too: the SMEM-resident ideal.
IDEAL = ("cycles", "speedup", "energy_uj", "energy_gain")
ENERGY_COLUMNS = (
    "energy_uj", *(f"{part}_uj" for part in PARTS), "edp_uj_us", "energy_gain", "tops_per_watt_dense",
    "tops_per_watt_effectual", "sram_origin",
)  # fmt: skip

_RESIDENT = "SMEM-resident ideal: every tensor is taken to lie in SMEM"
_BEHIND_SMEM = "tensors start and end in DRAM; the SMEM holds what its capacity allows"
_FUSED = "tensors start and end in DRAM, or stay in the SMEM for the next layer"

# The causes of a core-cycle with the names of their columns, in the order tables show them.
CAUSE_COLUMNS = {
    "busy": "busy_core_cycles",
    "stall_drain": "stall_drain_core_cycles",
    "stall_smem": "stall_smem_core_cycles",
    "stall_dram": "stall_dram_core_cycles",
    "stall_rf": "stall_rf_core_cycles",
    "stall_sync": "stall_sync_core_cycles",
    "idle": "idle_core_cycles",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupResult:
    """What one architecture measured of one convolution group, or the sum over several.

    Counts are in bytes, cycles and operations as docs/microarchitecture.md section 5 defines them; `core_cycles` is
    int64, (cores, causes), by cause in the order of `engine_state.CAUSES`. What DRAM moved (section 8) is 0, and
    `blocking` empty, on a machine without one.
    """

    mode: str
    column_tile: int
    cycles: int
    compute_bound_cycles: int
    smem_bound_cycles: int
    core_cycles: Ints
    smem_read_bytes: int
    smem_write_bytes: int
    weight_bytes: int
    metadata_bytes: int
    activation_bytes: int
    macs_issued: int
    mux_selections: int
    mux2_selections: int
    popcount_adders: int
    crossbar_bits: int
    rf_read_bytes: int
    rf_write_bytes: int
    accumulator_read_bytes: int
    accumulator_write_bytes: int
    resident_bytes: int
    events: int
    events_represented: int
    dram_read_bytes: int = 0
    dram_write_bytes: int = 0
    dram_weight_bytes: int = 0
    dram_input_bytes: int = 0
    dram_residual_bytes: int = 0
    writeback_bytes: int = 0
    dram_bound_cycles: int = 0
    prefetched_bytes: int = 0
    blocking: str = ""

    @classmethod
    def of(cls, lowered: Lowered, timing: Timing) -> GroupResult:
        """Join what the plan says with what the engine measured."""
        plan = lowered.plan
        read, metadata = timing.stream_bytes, timing.stream_metadata_bytes
        weights, activations = list(lowered.weight_streams), list(lowered.activation_streams)
        behind = _moved(plan, timing)
        read_bytes = int(read.sum()) + behind.get("writeback_bytes", 0)
        bounds = (
            -(-read_bytes // plan.ports.read_bytes_per_cycle),
            -(-timing.smem_write_bytes // plan.ports.write_bytes_per_cycle),
        )
        return cls(
            mode=lowered.mode,
            column_tile=lowered.column_tile,
            cycles=timing.cycles,
            compute_bound_cycles=plan.compute_bound_cycles,
            smem_bound_cycles=max(bounds),
            core_cycles=timing.core_cycles,
            smem_read_bytes=read_bytes,
            smem_write_bytes=timing.smem_write_bytes + behind.get("prefetched_bytes", 0),
            weight_bytes=int(read[weights].sum() - metadata[weights].sum()),
            metadata_bytes=int(metadata.sum()),
            activation_bytes=int(read[activations].sum() - metadata[activations].sum()),
            macs_issued=lowered.macs_issued,
            mux_selections=lowered.mux_selections,
            mux2_selections=lowered.mux2_selections,
            popcount_adders=lowered.popcount_adders,
            crossbar_bits=lowered.crossbar_bits,
            rf_read_bytes=lowered.rf_read_bytes,
            rf_write_bytes=lowered.rf_write_bytes,
            accumulator_read_bytes=lowered.accumulator_read_bytes,
            accumulator_write_bytes=lowered.accumulator_write_bytes,
            resident_bytes=lowered.resident_bytes,
            events=timing.events,
            events_represented=timing.events_represented,
            blocking=plan.memory.blocking if plan.memory else "",
            **behind,
        )

    @classmethod
    def sum(cls, parts: Iterable[tuple[GroupResult, int]]) -> GroupResult:
        """Add groups that run one after another, each a number of times.

        Mode and blocking are those of all, or `mixed` where groups ran differently; the column tile is the narrowest.
        """
        parts = list(parts)
        totals: dict[str, Any] = {}
        for field in fields(cls):
            values = [(getattr(part, field.name), times) for part, times in parts]
            if field.name in ("mode", "blocking"):
                names = {value for value, _ in values}
                totals[field.name] = names.pop() if len(names) == 1 else "mixed"
            elif field.name == "column_tile":
                totals["column_tile"] = min(value for value, _ in values)
            else:
                totals[field.name] = sum(value * times for value, times in values)
        return cls(**totals)


def _moved(plan: Plan, timing: Timing) -> dict[str, int]:
    """What moved between DRAM and SMEM, by the names of `GroupResult`; nothing without a DRAM (D19)."""
    if plan.memory is None or timing.memory is None:
        return {}
    inputs, weights = plan.memory.fills
    read = inputs.bytes + weights.bytes + timing.memory.residual_bytes
    prefetched = inputs.prefetched_bytes + weights.prefetched_bytes
    moved = read - prefetched + timing.memory.sent_bytes
    return {
        "dram_read_bytes": read,
        "dram_write_bytes": timing.memory.sent_bytes,
        "dram_weight_bytes": weights.bytes,
        "dram_input_bytes": inputs.bytes,
        "dram_residual_bytes": timing.memory.residual_bytes,
        "writeback_bytes": timing.memory.writeback_bytes,
        "dram_bound_cycles": -(-moved // plan.memory.bytes_per_cycle),
        "prefetched_bytes": prefetched,
    }


@dataclass(frozen=True, kw_only=True)
class LayerEnergy:
    """The energy of a layer, and that of the dense machine under the same table.

    sram_origin : where the memories' figures come from: table, energy table, live or interpolated.
    """

    own: Energy
    baseline: Energy
    sram_origin: str


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerResult:
    """One layer on one architecture: a row of results.csv.

    nm, block : what the weights look like ("dense" and "none" without). macs_effectual : multiplications with both
    operands nonzero. input_bytes : the input map as it lies in the SMEM. baseline_cycles : the dense machine's cycles.
    energy : None without an energy table. fused : where its tensors were; None in a run without fusion.
    """

    layer: Layer
    arch: str
    machine: Machine
    group: GroupResult
    mask: str
    nm: str
    block: str
    weight_sparsity: float
    activation_sparsity: float
    requested_sparsity: float | None
    note: str
    macs_effectual: int
    input_bytes: int
    baseline_cycles: int
    energy: LayerEnergy | None
    fused: Residency | None = None

    @property
    def cycles(self) -> int:
        """Cycles of one call of the layer."""
        return self.group.cycles

    @property
    def latency_us(self) -> float:
        """Time of one call of the layer, in us."""
        return self.group.cycles / (self.machine.clock_ghz * 1000)

    @property
    def core_cycles_by_cause(self) -> dict[str, int]:
        """Core-cycles by cause, over all cores."""
        return dict(zip(CAUSES, map(int, self.group.core_cycles.sum(axis=0)), strict=True))

    @property
    def output_bytes(self) -> int:
        """Bytes of the results of all groups."""
        return self.layer.groups * self.layer.s * self.layer.p * self.machine.output_bytes

    @property
    def smem_needed_bytes(self) -> int:
        """Bytes of input map, stored weights and results: what "everything is resident in SMEM" takes."""
        return self.input_bytes + self.group.resident_bytes + self.output_bytes

    @property
    def smem_excess_bytes(self) -> int:
        """Bytes of them beyond the SMEM's capacity; 0 if they fit."""
        return max(0, self.smem_needed_bytes - self.machine.smem.capacity_bytes)

    @property
    def smem_resident_ideal(self) -> bool:
        """Whether the result takes an SMEM larger than the machine's: no DRAM, and tensors beyond the capacity."""
        return not self.machine.has_dram and self.smem_excess_bytes > 0

    def row(self) -> dict[str, object]:
        """The row of results.csv, columns in the order of `COLUMNS`; only those that its machine has."""
        layer, group, machine = self.layer, self.group, self.machine
        values: dict[str, object] = {
            "layer": layer.name,
            "arch": self.arch,
            "mask": self.mask,
            "nm": self.nm,
            "block": self.block,
            "weight_sparsity": self.weight_sparsity,
            "activation_sparsity": self.activation_sparsity,
            "s": layer.s,
            "k": layer.k,
            "p": layer.p,
            "groups": layer.groups,
            "macs_dense": layer.macs,
            "macs_effectual": self.macs_effectual,
            "utilization": group.macs_issued / (group.cycles * machine.macs),
            "latency_us": self.latency_us,
            "speedup": self.baseline_cycles / group.cycles,
            "requested_sparsity": "" if self.requested_sparsity is None else self.requested_sparsity,
            "note": self.note,
            "calls": layer.calls,
            "smem_needed_bytes": self.smem_needed_bytes,
            "smem_excess_bytes": self.smem_excess_bytes,
            "smem_resident_ideal": "yes" if self.smem_resident_ideal else "no",
        }
        for cause, cycles in self.core_cycles_by_cause.items():
            values[CAUSE_COLUMNS[cause]] = cycles
        if self.energy:
            values |= self.energy.own.parts | {
                "energy_uj": self.energy.own.energy_uj,
                "edp_uj_us": self.energy.own.energy_uj * self.latency_us,
                "sram_origin": self.energy.sram_origin,
            }
            values |= _energy_ratios(self.energy.own, self.energy.baseline, layer.macs, self.macs_effectual)
        if self.fused:
            kept = self.fused.kept_input_bytes, self.fused.kept_output_bytes
            values["input_kept"], values["output_kept"] = ("no" if size is None else "yes" for size in kept)
        shown = columns_of(
            with_energy=self.energy is not None,
            with_dram=machine.has_dram,
            with_resident=not machine.has_dram,
            with_fusion=self.fused is not None,
        )
        return {column: values[column] if column in values else getattr(group, column) for column in shown}


def columns_of(
    *, with_energy: bool, with_dram: bool = False, with_resident: bool = True, with_fusion: bool = False
) -> Sequence[str]:
    """The columns of results.csv, in order.

    Parameters
    ----------
    with_energy : bool
        Whether there is an energy table.
    with_dram, with_resident : bool
        Whether some machine has a DRAM, and whether some has none.
    with_fusion : bool
        Whether layers leave tensors to each other.
    """
    absent = (
        *(() if with_energy else ENERGY_COLUMNS),
        *(() if with_dram else DRAM_COLUMNS),
        *(() if with_resident else RESIDENT_COLUMNS),
        *(() if with_fusion else FUSION_COLUMNS),
    )
    return [column for column in COLUMNS if column not in absent]


def causes_of(*, with_dram: bool) -> Sequence[str]:
    """The causes of core-cycles that a table shows, in its order: stall_dram only where a machine has a DRAM."""
    return [cause for cause, column in CAUSE_COLUMNS.items() if with_dram or column not in DRAM_COLUMNS]


def parts_of(*, with_dram: bool) -> Sequence[str]:
    """The parts of energy that a table shows, in its order: dram only where a machine has one."""
    return [part for part in PARTS if with_dram or f"{part}_uj" not in DRAM_COLUMNS]


def _energy_ratios(own: Energy, baseline: Energy, macs_dense: int, macs_effectual: int) -> dict[str, float]:
    """What follows from energies of a layer or of a network: two operations a MAC, 1 TOPS/W is 1 operation a pJ."""
    return {
        "energy_gain": baseline.energy_uj / own.energy_uj,
        "tops_per_watt_dense": 2e-6 * macs_dense / own.energy_uj,
        "tops_per_watt_effectual": 2e-6 * macs_effectual / own.energy_uj,
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Total:
    """A network on one architecture: sums over its layers, each as often as it is called, then ratios of sums.

    energy : its parts, in uJ; energy_ratios : gain over dense and TOPS/W by column name; both None without an energy
    table. The energy-delay product is that of the two sums. What DRAM moved is 0 on a machine without one. unfused :
    the same without fusion, in a run with it. ideal : the same on the machine without its DRAM, where it has one and
    that was asked for.
    """

    arch: str
    cycles: int
    latency_us: float
    speedup: float
    utilization: float
    macs_dense: int
    macs_effectual: int
    macs_issued: int
    compute_bound_cycles: int
    smem_bound_cycles: int
    core_cycles: dict[str, int]
    smem_read_bytes: int
    smem_write_bytes: int
    weight_bytes: int
    metadata_bytes: int
    activation_bytes: int
    layers_beyond_smem: int
    largest_smem_excess_bytes: int
    has_dram: bool
    dram_read_bytes: int
    dram_write_bytes: int
    dram_weight_bytes: int
    dram_input_bytes: int
    dram_residual_bytes: int
    writeback_bytes: int
    dram_bound_cycles: int
    energy: Energy | None
    energy_ratios: dict[str, float] | None
    unfused: Total | None = None
    ideal: Total | None = None

    @property
    def energy_values(self) -> dict[str, float]:
        """Parts, total, energy-delay product and ratios by column name; empty without an energy table."""
        if self.energy is None or self.energy_ratios is None:
            return {}
        total = self.energy.energy_uj
        return self.energy.parts | self.energy_ratios | {"energy_uj": total, "edp_uj_us": total * self.latency_us}

    def record(self) -> dict[str, object]:
        """As summary.json has it: nothing of a DRAM where there is none."""
        own = ("energy", "energy_ratios", "has_dram", "unfused", "ideal")
        absent = () if self.has_dram else DRAM_COLUMNS
        values: dict[str, object] = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*own, *absent)
        }
        values["core_cycles"] = {
            cause: cycles for cause, cycles in self.core_cycles.items() if CAUSE_COLUMNS[cause] not in absent
        }
        energies = self.energy_values
        values |= {column: energies[column] for column in COLUMNS if column in energies and column not in absent}
        for prefix, other, names in (("unfused", self.unfused, UNFUSED), ("ideal", self.ideal, IDEAL)):
            told = other.record() if other else {}
            values |= {f"{prefix}_{name}": told[name] for name in names if name in told}
        return values


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """All layers on all architectures, layer by layer in the order of the network.

    energy_models : what an architecture's counts cost, by its name; empty without an energy table. unfused : the same
    network without fusion; None in a run without it. ideal : the same network with every tensor taken to lie in the
    SMEM, on machines without their DRAM; None if that was not asked for, or no machine has one.
    """

    rows: tuple[LayerResult, ...]
    energy_models: Mapping[str, EnergyModel]
    unfused: Results | None = None
    ideal: Results | None = None

    def __repr__(self) -> str:
        return f"Results({len(self.of(self.archs[0]))} layers on {', '.join(self.archs)})"

    @property
    def archs(self) -> list[str]:
        """Names of the architectures, in the order asked for."""
        return list(dict.fromkeys(row.arch for row in self.rows))

    def of(self, arch: str) -> list[LayerResult]:
        """The layers on one architecture."""
        return [row for row in self.rows if row.arch == arch]

    def total(self, arch: str) -> Total:
        """The network on one architecture.

        Raises
        ------
        KeyError
            It was not simulated.
        """
        rows = self.of(arch)
        if not rows:
            raise KeyError(f"architecture {arch!r}: not among {', '.join(self.archs)}")

        def add(name: str) -> int:
            return sum(getattr(row.group, name) * row.layer.calls for row in rows)

        cycles, machine = add("cycles"), rows[0].machine
        causes = np.sum([row.group.core_cycles.sum(axis=0) * row.layer.calls for row in rows], axis=0)
        excess = [row.smem_excess_bytes for row in rows]
        macs_dense = sum(row.layer.macs * row.layer.calls for row in rows)
        macs_effectual = sum(row.macs_effectual * row.layer.calls for row in rows)
        energies = [(row.energy, row.layer.calls) for row in rows if row.energy]
        own, ratios = None, None
        if energies:
            own = Energy.sum((energy.own, calls) for energy, calls in energies)
            baseline = Energy.sum((energy.baseline, calls) for energy, calls in energies)
            ratios = _energy_ratios(own, baseline, macs_dense, macs_effectual)
        return Total(
            arch=arch,
            cycles=cycles,
            latency_us=cycles / (machine.clock_ghz * 1000),
            speedup=sum(row.baseline_cycles * row.layer.calls for row in rows) / cycles,
            utilization=add("macs_issued") / (cycles * machine.macs),
            macs_dense=macs_dense,
            macs_effectual=macs_effectual,
            macs_issued=add("macs_issued"),
            compute_bound_cycles=add("compute_bound_cycles"),
            smem_bound_cycles=add("smem_bound_cycles"),
            core_cycles=dict(zip(CAUSES, map(int, causes), strict=True)),
            smem_read_bytes=add("smem_read_bytes"),
            smem_write_bytes=add("smem_write_bytes"),
            weight_bytes=add("weight_bytes"),
            metadata_bytes=add("metadata_bytes"),
            activation_bytes=add("activation_bytes"),
            layers_beyond_smem=sum(value > 0 for value in excess),
            largest_smem_excess_bytes=max(excess),
            has_dram=machine.has_dram,
            dram_read_bytes=add("dram_read_bytes"),
            dram_write_bytes=add("dram_write_bytes"),
            dram_weight_bytes=add("dram_weight_bytes"),
            dram_input_bytes=add("dram_input_bytes"),
            dram_residual_bytes=add("dram_residual_bytes"),
            writeback_bytes=add("writeback_bytes"),
            dram_bound_cycles=add("dram_bound_cycles"),
            energy=own,
            energy_ratios=ratios,
            unfused=self.unfused.total(arch) if self.unfused else None,
            ideal=self.ideal.total(arch) if self.ideal and machine.has_dram else None,
        )

    def to_dataframe(self) -> pandas.DataFrame:
        """The rows of results.csv as a pandas DataFrame.

        Where only some machines have a DRAM, what the others lack is "" in a column of text, else NA.
        """
        import pandas

        records = [row.row() for row in self.rows]
        table = pandas.DataFrame(records, columns=list(self.columns))
        for column in self.columns:
            values = [record[column] for record in records if column in record]
            if len(values) < len(records) and isinstance(values[0], str):
                table[column] = [record.get(column, "") for record in records]
            elif len(values) < len(records) and isinstance(values[0], int):  # else numpy makes them real numbers
                table[column] = pandas.array([record.get(column) for record in records], dtype="Int64")
        return table

    @property
    def columns(self) -> Sequence[str]:
        """The columns of results.csv: those of energy and of DRAM only where there is such."""
        return columns_of(
            with_energy=bool(self.energy_models),
            with_dram=self.with_dram,
            with_resident=not all(row.machine.has_dram for row in self.rows),
            with_fusion=self.fused,
        )

    @property
    def fused(self) -> bool:
        """Whether layers left tensors to each other."""
        return self.unfused is not None

    @property
    def with_dram(self) -> bool:
        """Whether some machine has a DRAM."""
        return any(row.machine.has_dram for row in self.rows)

    @property
    def machines(self) -> dict[str, Machine]:
        """The architectures' machines, by name."""
        return {arch: self.of(arch)[0].machine for arch in self.archs}

    def machine_words(self) -> dict[str, str]:
        """What must be known of the machines to read any number, as summary.json has it.

        machine : the preset, or the nearest with what differs. dram : name, peak bandwidth, latency and energy, or
        none. memory : whether results are the SMEM-resident ideal. Each names architectures that are not all alike.
        """
        return {
            "machine": self._by_arch(name_of),
            "dram": self._by_arch(lambda machine: machine.dram_line),
            "memory": self._by_arch(
                lambda machine: (_FUSED if self.unfused else _BEHIND_SMEM) if machine.has_dram else _RESIDENT
            ),
        }

    def _by_arch(self, words: Callable[[Machine], str]) -> str:
        said: dict[str, list[str]] = {}
        for arch, machine in self.machines.items():
            said.setdefault(words(machine), []).append(arch)
        if len(said) == 1:
            return next(iter(said))
        return "; ".join(f"{', '.join(archs)}: {line}" for line, archs in said.items())

    def warnings(self) -> list[str]:
        """Arrays that cannot make their machine's clock, a line each."""
        return self._told(clock_warnings)

    def clock_notes(self) -> list[str]:
        """Arrays whose clock could not be checked, and an SMEM slower than its machine takes it to be, a line each."""
        return self._told(clock_notes)

    def _told(self, tell: Callable[[Machine, Sequence[Memory]], list[str]]) -> list[str]:
        """What is told of the machines' memories, with the architectures that it is told of."""
        said: dict[str, list[str]] = {}
        for arch, model in self.energy_models.items():
            for line in tell(model.machine, model.memories):
                said.setdefault(line, []).append(arch)
        return [f"{', '.join(archs)}: {line}" for line, archs in said.items()]
