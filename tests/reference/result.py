"""What a twin hands back, the same for every architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections import Counter

    from .dram import DramLevel

STATES = ("busy", "stall_rf", "idle", "stall_smem", "stall_drain", "stall_sync", "stall_dram")


@dataclass(frozen=True)
class RefResult:
    """Everything the law gives a number to, for one convolution group. Lists have one entry per core."""

    mode: str
    column_tile: int
    cycles: int
    compute_bound_cycles: int
    smem_bound_cycles: int
    busy: list[int]
    stall_rf: list[int]
    idle: list[int]
    stall_smem: list[int]
    stall_drain: list[int]
    stall_sync: list[int]
    weight_bytes: int
    metadata_bytes: int
    activation_bytes: int
    smem_read_bytes: int
    smem_write_bytes: int
    macs_issued: int
    mux_selections: int
    rf_read_bytes: int
    rf_write_bytes: int
    accumulator_read_bytes: int
    accumulator_write_bytes: int
    mux2_selections: int  # this and the two below are counts of `docs/energy.md`, E3
    popcount_adders: int
    crossbar_bits: int
    stall_dram: list[int]  # this and what follows is 0 without a DRAM (D18, D19)
    dram_read_bytes: int
    dram_write_bytes: int
    dram_bound_cycles: int
    writeback_bytes: int
    dram_weight_bytes: int
    dram_input_bytes: int
    dram_residual_bytes: int
    blocking: str  # "" without a DRAM


class HasPorts(Protocol):
    """The fields of a machine that the bounds need."""

    @property
    def read_bytes_per_cycle(self) -> int: ...

    @property
    def write_bytes_per_cycle(self) -> int: ...


def collect(
    machine: HasPorts,
    mode: str,
    column_tile: int,
    cycles: int,
    counts: Counter[str],
    states: list[Counter[str]],
    dram: DramLevel | None = None,
) -> RefResult:
    """Put the counts, and what each core did (its cycles by state), together; check that they add up."""
    assert counts["smem_read_bytes"] == sum(
        counts[kind] for kind in ("weight_bytes", "metadata_bytes", "activation_bytes", "writeback_bytes")
    )
    assert counts["dram_read_bytes"] == sum(
        counts[kind] for kind in ("dram_weight_bytes", "dram_input_bytes", "dram_residual_bytes")
    )
    assert all(sum(core.values()) == cycles and set(core) <= set(STATES) for core in states)
    numbers = [name for name in RefResult.__dataclass_fields__ if name.endswith("_bytes")]
    numbers += ["macs_issued", "mux_selections", "mux2_selections", "popcount_adders", "crossbar_bits"]
    return RefResult(
        mode=mode,
        column_tile=column_tile,
        cycles=cycles,
        compute_bound_cycles=max(core["busy"] + core["stall_rf"] for core in states),
        smem_bound_cycles=max(
            ceil_div(counts["smem_read_bytes"], machine.read_bytes_per_cycle),
            ceil_div(counts["smem_write_bytes"] - counts["prefetched_bytes"], machine.write_bytes_per_cycle),  # D21
        ),
        dram_bound_cycles=0 if dram is None else dram.bound(),
        blocking="" if dram is None else dram.blocking.name,
        **{state: [core[state] for core in states] for state in STATES},
        **{name: counts[name] for name in numbers},
    )


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)
