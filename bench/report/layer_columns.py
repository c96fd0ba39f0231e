"""The columns of results.csv as a report heads, groups and explains them (docs/files.md has the definitions)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from ...sim.result import CAUSE_COLUMNS
from .. import vocabulary
from ..vocabulary import CAUSES, PART_COLUMNS, PARTS
from .content import Column, Form

if TYPE_CHECKING:
    import pandas

MAIN, SHAPE, WORK, STALLS, TRAFFIC, ENERGY, OTHER = (
    "main", "shape and sparsity", "work and bounds", "stalls", "traffic", "energy", "other",
)  # fmt: skip


_Entry: TypeAlias = tuple[str, str, str, Form, str]  # name, label, unit, form, meaning
_CAUSES: list[_Entry] = [
    (CAUSE_COLUMNS[cause], cause, "core-cycle", "count", meaning) for cause, meaning in CAUSES.items()
]
_PARTS: list[_Entry] = [
    (PART_COLUMNS[part], label, "µJ", "significant", meaning) for part, (label, meaning) in PARTS.items()
]


def _of(group: str, *columns: _Entry) -> dict[str, Column]:
    return {
        name: Column(label=label, unit=unit, form=form, meaning=f"{name}: {meaning}", group=group)
        for name, label, unit, form, meaning in columns
    }


# By name of results.csv, in the order of the report; columns of a group stand together.
LAYER_COLUMNS = {
    **_of(
        "",
        ("layer", "layer", "", "text", "name, unique in the layer table"),
        ("arch", "architecture", "", "text", "name of the architecture or of its file"),
    ),
    **_of(
        MAIN,
        ("mode", "mode", "", "text", "how the machine ran the layer"),
        ("weight_sparsity", "weight zeros", "%", "percent", "realised zeros over real weights"),
        ("calls", "calls", "", "count", "how often the network calls the layer; every other number is of one call"),
        ("cycles", "cycles", "cycle", "count", "from cycle 0 to the last output byte, plus latency"),
        ("latency_us", "latency", "µs", "significant", "cycles over clock"),
        ("speedup", "speedup", "×", "fixed", "cycles of dense on the same machine over its own"),
        ("utilization", "utilization", "%", "percent", "MACs issued over cycles x all MACs"),
        ("energy_uj", "energy", "µJ", "significant", "the sum of its parts"),
        ("energy_gain", "energy gain", "×", "fixed", "energy of dense on the same machine over its own"),
        ("smem_resident_ideal", "ideal", "", "text", "yes: all is taken to lie in an SMEM that cannot hold it"),
        ("dram_read_bytes", "DRAM read", "B", "count", "every fetch counted"),
        ("dram_write_bytes", "DRAM written", "B", "count", "results"),
        ("blocking", "blocking", "", "text", "in which order DRAM is read"),
    ),
    **_of(
        SHAPE,
        ("mask", "mask", "", "text", "what its weights look like"),
        ("nm", "N:M", "", "text", "N:M of its weights, or dense"),
        ("block", "block", "", "text", "block size of its weights, or none"),
        ("requested_sparsity", "zeros asked", "%", "percent", "weight sparsity asked for"),
        ("activation_sparsity", "activation zeros", "%", "percent", "realised zeros of the unpadded input"),
        ("s", "S", "row", "count", "output rows of a group"),
        ("k", "K", "", "count", "reduction length of a group"),
        ("p", "P", "column", "count", "output pixels x batch"),
        ("groups", "groups", "", "count", "convolution groups"),
        ("column_tile", "column tile", "column", "count", "widest tile allowed; the smallest of groups"),
        ("note", "note", "", "text", "why the layer is not pruned as asked"),
    ),
    **_of(
        WORK,
        ("macs_dense", "dense MACs", "MAC", "count", "groups x S x K x P"),
        ("macs_effectual", "effectual MACs", "MAC", "count", "those with both operands nonzero"),
        ("macs_issued", "issued MACs", "MAC", "count", "MAC slots driven"),
        ("compute_bound_cycles", "compute bound", "cycle", "count", "step cycles of the busiest core"),
        ("smem_bound_cycles", "SMEM bound", "cycle", "count", "bytes over bandwidth, the larger of the two ports"),
        ("dram_bound_cycles", "DRAM bound", "cycle", "count", "bytes over bandwidth of the DRAM, both ways together"),
    ),
    **_of(
        STALLS,
        *_CAUSES,
    ),
    **_of(
        TRAFFIC,
        ("smem_read_bytes", "SMEM read", "B", "count", "every re-read counted"),
        ("smem_write_bytes", "SMEM written", "B", "count", "results, and what DRAM fills in"),
        ("weight_bytes", "weights", "B", "count", "of the bytes read: stored weights"),
        ("metadata_bytes", "metadata", "B", "count", "of the bytes read: indices, block columns, bitmaps"),
        ("activation_bytes", "activations", "B", "count", "of the bytes read: activations"),
        ("rf_read_bytes", "register file read", "B", "count", "operands read from the register files"),
        ("rf_write_bytes", "register file written", "B", "count", "operands written to the register files"),
        ("accumulator_read_bytes", "partial sums read", "B", "count", "partial sums"),
        ("accumulator_write_bytes", "partial sums written", "B", "count", "partial sums"),
        ("smem_needed_bytes", "SMEM needed", "B", "count", "unpadded input, stored weights and results, each once"),
        ("smem_excess_bytes", "SMEM excess", "B", "count", "of these, beyond the capacity"),
        ("dram_weight_bytes", "DRAM weights", "B", "count", "of the bytes read: weights with their metadata"),
        ("dram_input_bytes", "DRAM inputs", "B", "count", "of the bytes read: the input"),
        ("dram_residual_bytes", "DRAM residual", "B", "count", "of the bytes read: what is added to the results"),
        ("input_kept", "input kept", "", "text", "the layer before left its results in the SMEM"),
        ("output_kept", "results kept", "", "text", "they stay in the SMEM for the next layer"),
        ("prefetched_bytes", "prefetched", "B", "count", "of the DRAM weights: moved in the layer before's end"),
        ("writeback_bytes", "written back", "B", "count", "results read from the SMEM on their way to DRAM"),
    ),
    **_of(
        ENERGY,
        *_PARTS,
        ("edp_uj_us", "EDP", "µJ·µs", "significant", "energy x latency"),
        ("tops_per_watt_dense", "dense", "TOPS/W", "significant", "2 x dense MACs over energy"),
        ("tops_per_watt_effectual", "effectual", "TOPS/W", "significant", "2 x effectual MACs over energy"),
        ("mux_selections", "MUX selections", "", "count", "activations picked by an index"),
        ("mux2_selections", "2:1 selections", "", "count", "two-way MUXes switched"),
        ("popcount_adders", "popcount adders", "", "count", "full adders of dstc's popcounts"),
        ("crossbar_bits", "crossbar bits", "bit", "count", "bits through dstc's crossbars"),
        ("sram_origin", "SRAM figures", "", "text", "where the memories' figures come from"),
    ),
}  # fmt: skip


# Columns whose unit is chosen, the same for all that stand side by side.
_UNITS = (
    (("latency_us",), vocabulary.LATENCY),
    (("energy_uj", *PART_COLUMNS.values()), vocabulary.ENERGY),
    (("edp_uj_us",), vocabulary.EDP),
)


def layer_columns(rows: pandas.DataFrame) -> tuple[dict[str, Column], dict[str, float]]:
    """The columns of a table of results, those that this list does not know last, under the name of the file.

    Second, by column: the size of its unit in that of results.csv, if that is another one.
    """
    names = [str(name) for name in rows.columns]
    columns = {name: column for name, column in LAYER_COLUMNS.items() if name in names}
    sizes = {}
    for own, units in _UNITS:
        there = [name for name in own if name in columns]
        if there:
            size, unit = vocabulary.unit_for([max(rows[name].dropna().tolist()) for name in there], units)
            columns |= {name: replace(columns[name], unit=unit) for name in there}
            sizes |= dict.fromkeys(there, size)
    return columns | {
        name: Column(label=name, meaning=name, group=OTHER) for name in names if name not in columns
    }, sizes
