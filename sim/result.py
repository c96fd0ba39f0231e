"""Results: plain values for a convolution group, a layer, a network; and the columns they are written in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .engine import Timing
from .engine_state import CAUSES
from .layer import Layer
from .machine import Machine
from .plan import Ints, Lowered

if TYPE_CHECKING:
    import pandas

# Columns of results.csv, in order (interfaces.md); those not modelled yet (energy) are absent.
COLUMNS = (
    "layer", "arch", "mode", "mask", "nm", "block", "weight_sparsity", "activation_sparsity", "s", "k", "p", "groups",
    "macs_dense", "macs_effectual", "macs_issued", "cycles", "compute_bound_cycles", "smem_bound_cycles",
    "busy_core_cycles", "stall_drain_core_cycles", "stall_smem_core_cycles", "stall_rf_core_cycles",
    "stall_sync_core_cycles", "idle_core_cycles", "utilization", "smem_read_bytes", "smem_write_bytes", "weight_bytes",
    "metadata_bytes", "activation_bytes", "rf_read_bytes", "rf_write_bytes", "latency_us", "speedup",
    # Beyond those of interfaces.md:
    "accumulator_read_bytes", "accumulator_write_bytes", "mux_selections", "column_tile", "requested_sparsity", "note",
    "calls", "smem_needed_bytes", "smem_excess_bytes",
)  # fmt: skip

# The causes of a core-cycle with the names of their columns, in the order tables show them.
CAUSE_COLUMNS = {
    "busy": "busy_core_cycles",
    "stall_drain": "stall_drain_core_cycles",
    "stall_smem": "stall_smem_core_cycles",
    "stall_rf": "stall_rf_core_cycles",
    "stall_sync": "stall_sync_core_cycles",
    "idle": "idle_core_cycles",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupResult:
    """What one architecture measured of one convolution group, or the sum over several.

    Counts are in bytes, cycles and operations as docs/microarchitecture.md section 5 defines them; `core_cycles` is
    int64, (cores, 6), by cause in the order of `engine_state.CAUSES`.
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
    rf_read_bytes: int
    rf_write_bytes: int
    accumulator_read_bytes: int
    accumulator_write_bytes: int
    resident_bytes: int
    events: int
    events_represented: int

    @classmethod
    def of(cls, lowered: Lowered, timing: Timing) -> GroupResult:
        """Join what the plan says with what the engine measured."""
        plan = lowered.plan
        read, metadata = timing.stream_bytes, timing.stream_metadata_bytes
        weights, activations = list(lowered.weight_streams), list(lowered.activation_streams)
        read_bytes = int(read.sum())
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
            smem_write_bytes=timing.smem_write_bytes,
            weight_bytes=int(read[weights].sum() - metadata[weights].sum()),
            metadata_bytes=int(metadata.sum()),
            activation_bytes=int(read[activations].sum() - metadata[activations].sum()),
            macs_issued=lowered.macs_issued,
            mux_selections=lowered.mux_selections,
            rf_read_bytes=lowered.rf_read_bytes,
            rf_write_bytes=lowered.rf_write_bytes,
            accumulator_read_bytes=lowered.accumulator_read_bytes,
            accumulator_write_bytes=lowered.accumulator_write_bytes,
            resident_bytes=lowered.resident_bytes,
            events=timing.events,
            events_represented=timing.events_represented,
        )

    @classmethod
    def sum(cls, parts: Iterable[tuple[GroupResult, int]]) -> GroupResult:
        """Add groups that run one after another, each a number of times.

        The mode is that of all, or `mixed` where groups ran differently; the column tile is the narrowest.
        """
        parts = list(parts)
        totals: dict[str, Any] = {}
        for field in fields(cls):
            values = [(getattr(part, field.name), times) for part, times in parts]
            if field.name == "mode":
                modes = {value for value, _ in values}
                totals["mode"] = modes.pop() if len(modes) == 1 else "mixed"
            elif field.name == "column_tile":
                totals["column_tile"] = min(value for value, _ in values)
            else:
                totals[field.name] = sum(value * times for value, times in values)
        return cls(**totals)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerResult:
    """One layer on one architecture: a row of results.csv.

    nm, block : what the weights look like ("dense" and "none" without). macs_effectual : multiplications with both
    operands nonzero. input_bytes : the input map as it lies in the SMEM. baseline_cycles : the dense machine's cycles.
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

    @property
    def cycles(self) -> int:
        """Cycles of one call of the layer."""
        return self.group.cycles

    @property
    def core_cycles_by_cause(self) -> dict[str, int]:
        """Core-cycles by cause, over all cores."""
        return dict(zip(CAUSES, map(int, self.group.core_cycles.sum(axis=0)), strict=True))

    @property
    def smem_needed_bytes(self) -> int:
        """Bytes of input map, stored weights and results: what "everything is resident in SMEM" takes."""
        return self.input_bytes + self.group.resident_bytes + self.group.smem_write_bytes

    def row(self) -> dict[str, object]:
        """The row of results.csv, columns in the order of `COLUMNS`."""
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
            "latency_us": group.cycles / (machine.clock_ghz * 1000),
            "speedup": self.baseline_cycles / group.cycles,
            "requested_sparsity": "" if self.requested_sparsity is None else self.requested_sparsity,
            "note": self.note,
            "calls": layer.calls,
            "smem_needed_bytes": self.smem_needed_bytes,
            "smem_excess_bytes": max(0, self.smem_needed_bytes - machine.smem.capacity_bytes),
        }
        for cause, cycles in self.core_cycles_by_cause.items():
            values[CAUSE_COLUMNS[cause]] = cycles
        return {column: values[column] if column in values else getattr(group, column) for column in COLUMNS}


@dataclass(frozen=True, kw_only=True, eq=False)
class Total:
    """A network on one architecture: sums over its layers, each as often as it is called, then ratios of sums."""

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


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """All layers on all architectures, layer by layer in the order of the network."""

    rows: tuple[LayerResult, ...]

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
        excess = [max(0, row.smem_needed_bytes - machine.smem.capacity_bytes) for row in rows]
        return Total(
            arch=arch,
            cycles=cycles,
            latency_us=cycles / (machine.clock_ghz * 1000),
            speedup=sum(row.baseline_cycles * row.layer.calls for row in rows) / cycles,
            utilization=add("macs_issued") / (cycles * machine.macs),
            macs_dense=sum(row.layer.macs * row.layer.calls for row in rows),
            macs_effectual=sum(row.macs_effectual * row.layer.calls for row in rows),
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
        )

    def to_dataframe(self) -> pandas.DataFrame:
        """The rows of results.csv as a pandas DataFrame."""
        import pandas

        return pandas.DataFrame([row.row() for row in self.rows], columns=list(COLUMNS))
