"""Energy against its reference twin: parts, totals and ratios of random layers, patterns, machines and tables.

The twin's counts and cycles come from the stepped reference twins, so that nothing of a row is taken on trust.
"""

import dataclasses
import math
import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crispsim.formats import CrispMatrix, NMMatrix, PackedLayer, PackedModel, Pattern, draw_weights
from crispsim.sim import Layer, Machine, load_arch, simulate
from crispsim.sim.energy import EnergyModel, area_of
from tests.reference.dual import DualMachine, run_dual
from tests.reference.energy import PARTS, EnergyMachine, area_mm2, derived, energy_uj, latency_us, too_slow
from tests.reference.result import RefResult
from tests.reference.stationary import RefMachine, run_reference

pytestmark = pytest.mark.kernel

PLAIN = bool(os.environ.get("NUMBA_DISABLE_JIT") or os.environ.get("NUMBA_BOUNDSCHECK"))
STATIONARY, DUAL = ("dense", "stc", "crisp-stc"), ("dstc", "dstc-given-masks")
TABLES = ("horowitz45", "horowitz22", "sparseloop")
# Size, word, banks, ports: all of them in CACTI's table at 45 and at 22 nm.
SMEMS = [
    (262144, 128, 16, "1rw"), (131072, 512, 4, "1rw"), (65536, 64, 1, "1rw"), (98304, 256, 1, "1rw"),
    (262144, 256, 16, "1r1w"), (524288, 32, 4, "1r1w"), (1048576, 512, 2, "2rw"), (8192, 32, 1, "2rw"),
]  # fmt: skip
RFS = [
    (1024, 64, 1, "1rw"), (1024, 24, 1, "1rw"), (1536, 48, 1, "1rw"), (2048, 128, 1, "1rw"), (2048, 32, 4, "1rw"),
    (4096, 1024, 1, "1rw"), (1024, 256, 1, "1r1w"), (2048, 32, 16, "1r1w"), (2048, 64, 2, "2rw"), (4096, 32, 1, "2rw"),
]  # fmt: skip
ACCUMULATORS = [
    (4096, 32, 16, "1rw"), (4096, 8, 1, "1rw"), (4096, 16, 1, "1r1w"), (6144, 96, 1, "1rw"), (8192, 24, 1, "1rw"),
    (4096, 64, 1, "2rw"), (8192, 128, 16, "1rw"),
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """A machine, an energy table and a layer with its weights and input."""

    machine: EnergyMachine
    table: str
    pattern: Pattern
    weights: CrispMatrix | NMMatrix | np.ndarray
    shuffled: np.ndarray  # another mask of as many nonzeros
    activations: np.ndarray  # the mask of K x P


@st.composite
def machines(draw, table):
    smem, rf, accumulator = (
        draw(st.sampled_from(SMEMS)),
        draw(st.sampled_from(RFS)),
        draw(st.sampled_from(ACCUMULATORS)),
    )
    names = ("bytes", "word_bits", "banks", "ports")
    return EnergyMachine(
        clock_ghz=draw(st.sampled_from([0.25, 0.7, 1.0, 2.0])),
        cores=draw(st.sampled_from([1, 2, 4])),
        # sparseloop's MAC is one of 8 bits; a small register file has no room for all operands of 16.
        operand_bits=draw(st.sampled_from([8, 8, 16])) if table != "sparseloop" and rf[0] >= 2048 else 8,
        sum_bits=draw(st.sampled_from([8, 16, 32])),
        smem_read_bytes_per_cycle=draw(st.sampled_from([16, 64])),
        smem_write_bytes_per_cycle=draw(st.sampled_from([8, 64])),
        rf_holds=draw(st.sampled_from(["all", "all", "sums"])),
        rf_sums=draw(st.sampled_from(["array", "flip-flops"])),
        **{f"smem_{name}": value for name, value in zip(names, smem, strict=True)},
        **{f"rf_{name}": value for name, value in zip(names, rf, strict=True)},
        **{f"accumulator_{name}": value for name, value in zip(names, accumulator, strict=True)},
    )


@st.composite
def cases(draw):
    table = draw(st.sampled_from(TABLES))
    machine = draw(machines(table))
    n, m = draw(st.sampled_from([(1, 4), (2, 4), (3, 4), (1, 2), (2, 8), (1, 1)]))
    pattern = Pattern(n=n, m=m, block=draw(st.sampled_from([None, 8, 32])))
    s, k, p = draw(st.integers(1, 70)), draw(st.integers(1, 80)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if pattern.kind == "dense":
        weights = rng.integers(1, 100, (s, k)).astype(np.int8)
        mask = weights != 0
    else:
        sparsity = None
        if pattern.block:
            columns = math.ceil(k / pattern.block)
            kept = draw(st.integers(1, columns))
            sparsity = math.ceil(1e6 * float(1 - pattern.density * kept / columns)) / 1e6
        weights = draw_weights((s, k), pattern, sparsity, draw(st.integers(0, 9)))
        mask = weights.decode() != 0
    shuffled = rng.permutation(mask.ravel()).reshape(mask.shape)
    activations = rng.random((k, p)) < draw(st.sampled_from([0.0, 0.1, 0.6, 1.0]))
    return Case(machine, table, pattern, weights, shuffled, activations)


def to_machine(machine: EnergyMachine) -> Machine:
    own = {"cores": "core.count", "smem_bytes": "smem.capacity_bytes"}
    fields = {}
    for name, value in vars(machine).items():
        section, _, rest = name.partition("_")
        if name == "dram_pj_per_bit":
            fields |= {} if value is None else {"dram.bytes_per_cycle": 16, "dram.pj_per_bit": value}
            continue
        dotted = {"smem": f"smem.{rest}", "rf": f"rf.{rest}", "accumulator": f"dstc.{name}"}.get(section, name)
        fields[own.get(name, dotted)] = value
    return Machine.load("edge", fields)


def packed(case: Case) -> PackedModel:
    k, p = case.activations.shape
    layer = PackedLayer(
        name="l",
        weights=case.weights,
        kind="gemm",
        in_channels=k,
        in_height=p,
        p=p,
        dtype="int8",
        unstructured=np.packbits(case.shuffled, axis=1, bitorder="little"),
        activations=case.activations.T.astype(np.int8).reshape(p, 1, k),
    )
    return PackedModel(layers=(layer,))


def mask_of(weights) -> np.ndarray:
    return (weights if isinstance(weights, np.ndarray) else weights.decode()) != 0


def twin_counts(case: Case, arch: str) -> RefResult:
    """Step the layer through the reference twin of its counts and cycles."""
    machine, mask = case.machine, mask_of(case.weights)
    s, k = mask.shape
    shared = {
        "cores": machine.cores,
        "operand_bytes": machine.operand_bits // 8,
        "sum_bytes": machine.sum_bits // 8,
        "read_bytes_per_cycle": machine.smem_read_bytes_per_cycle,
        "write_bytes_per_cycle": machine.smem_write_bytes_per_cycle,
    }
    if arch in DUAL:
        dual = DualMachine(
            core_columns=max(d for d in range(1, math.isqrt(machine.cores) + 1) if machine.cores % d == 0),
            accumulator_bytes=machine.accumulator_bytes,
            **shared,
        )
        return run_dual(dual, mask if arch == "dstc-given-masks" else case.shuffled, case.activations)
    pattern = case.pattern
    return run_reference(
        RefMachine(rf_bytes=machine.rf_bytes, rf_holds=machine.rf_holds, **shared),
        arch=arch,
        s=s,
        k=k,
        p=case.activations.shape[1],
        n=pattern.n,
        m=pattern.m,
        block=pattern.block,
        block_cols=case.weights.block_cols.tolist() if isinstance(case.weights, CrispMatrix) else None,
        mask=mask,
    )


def close(value: float):
    return pytest.approx(value, rel=1e-12, abs=0)


@settings(max_examples=15 if PLAIN else 100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_engine_and_twin_agree_on_every_energy(case):
    machine, archs = to_machine(case.machine), [*STATIONARY, *DUAL]
    results = simulate(weights=packed(case), archs=archs, machine=machine, energy=case.table)
    counts = {arch: twin_counts(case, arch) for arch in archs}
    parts = {arch: energy_uj(counts[arch], case.machine, case.table, dual=arch in DUAL) for arch in counts}
    s, k = mask_of(case.weights).shape
    p = case.activations.shape[1]
    for arch, expected in counts.items():
        (result,) = results.of(arch)
        row = result.row()
        names = [name for name in RefResult.__dataclass_fields__ if name in row and name not in ("mode", "column_tile")]
        assert {"cycles", "mux2_selections", "popcount_adders", "crossbar_bits"} <= set(names)
        assert {name: row[name] for name in names} == {name: getattr(expected, name) for name in names}, arch
        assert {part: row[f"{part}_uj"] for part in PARTS} == {part: close(parts[arch][part]) for part in PARTS}, arch
        nonzero = case.shuffled if arch == "dstc" else mask_of(case.weights)
        effectual = int((nonzero.astype(np.int64) @ case.activations.astype(np.int64)).sum())
        latency = latency_us(expected, case.machine)
        rest = derived(parts[arch], parts["dense"], latency, s * k * p, effectual)
        assert {name: row[name] for name in rest} == {name: close(value) for name, value in rest.items()}, arch


COUNTS = (
    "cycles", "macs_issued", "mux2_selections", "popcount_adders", "crossbar_bits", "rf_read_bytes", "rf_write_bytes",
    "accumulator_read_bytes", "accumulator_write_bytes", "weight_bytes", "activation_bytes", "metadata_bytes",
    "smem_write_bytes", "writeback_bytes", "dram_read_bytes", "dram_write_bytes",
)  # fmt: skip


@settings(max_examples=20 if PLAIN else 100, deadline=None)
@given(
    st.sampled_from(TABLES).flatmap(lambda table: st.tuples(st.just(table), machines(table))),
    st.one_of(st.none(), st.floats(0, 100)),
    st.fixed_dictionaries({name: st.integers(0, 10**12) for name in COUNTS}),
    st.sampled_from([*STATIONARY, *DUAL]),
)
def test_any_counts_cost_the_same_with_and_without_a_dram(pair, pj_per_bit, counts, arch):
    """Counts as no layer need have them; of selection only those that the architecture has."""
    table, machine = pair
    machine = dataclasses.replace(machine, dram_pj_per_bit=pj_per_bit)
    architecture = load_arch(arch).architecture
    none = {"mux2_selections", "popcount_adders", "crossbar_bits"} - {*architecture.selection_counts}
    given_counts: Any = SimpleNamespace(**counts | dict.fromkeys(none, 0))
    if arch in DUAL:  # an access a sum
        given_counts.accumulator_read_bytes *= machine.sum_bits // 8
        given_counts.accumulator_write_bytes *= machine.sum_bits // 8
    expected = energy_uj(given_counts, machine, table, dual=arch in DUAL)
    found = EnergyModel.of(to_machine(machine), architecture, table).energy(given_counts)
    assert {part: found.parts[f"{part}_uj"] for part in expected} == {p: close(value) for p, value in expected.items()}
    assert set(found.parts) - {f"{part}_uj" for part in expected} == (set() if "dram" in expected else {"dram_uj"})
    assert found.energy_uj == close(sum(expected.values()))


@settings(max_examples=10 if PLAIN else 60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(TABLES).flatmap(lambda table: st.tuples(st.just(table), machines(table))), st.data())
def test_a_network_of_convolutions_adds_up(pair, data):
    """Larger layers than the twins can step: the energy of the engine's own counts, and totals over calls."""
    table, machine = pair
    draw = data.draw
    layers = [
        Layer(
            name=f"l{index}", kind="conv", in_height=draw(st.integers(3, 12)), in_width=draw(st.integers(3, 12)),
            kernel_h=draw(st.integers(1, 3)), kernel_w=3, in_channels=groups * draw(st.integers(1, 48)),
            out_channels=groups * draw(st.integers(1, 48)), groups=groups, pad_h=draw(st.integers(0, 1)),
            batch=draw(st.integers(1, 2)), calls=draw(st.integers(1, 3)),
        )
        for index, groups in enumerate([1, draw(st.integers(1, 4))])
    ]  # fmt: skip
    archs, energies = ["dense", "stc", "dstc", "crisp-stc"], {}
    results = simulate(
        layers, archs, machine=to_machine(machine), nm=draw(st.sampled_from(["1:4", "2:4", "3:4"])), block=None,
        activation_sparsity=draw(st.sampled_from([0.0, 0.4, 1.0])), all_layers=True, energy=table,
    )  # fmt: skip
    for arch in archs:
        sums = dict.fromkeys(["energy", "latency", "dense", "effectual", *PARTS], 0.0)
        for result in results.of(arch):
            row: dict[str, Any] = result.row()
            counts: Any = SimpleNamespace(**row)
            parts = energy_uj(counts, machine, table, dual=arch == "dstc")
            assert {part: row[f"{part}_uj"] for part in PARTS} == {part: close(parts[part]) for part in PARTS}
            assert row["energy_uj"] == close(sum(row[f"{part}_uj"] for part in PARTS))
            m = {"stc": 4, "crisp-stc": 4}.get(arch, 1)
            assert row["mux2_selections"] == (m - 1) * row["mux_selections"]
            assert row["crossbar_bits"] == (2 * row["macs_issued"] * machine.sum_bits if arch == "dstc" else 0)
            for part in PARTS:
                sums[part] += row["calls"] * parts[part]
            sums["latency"] += row["calls"] * row["cycles"] / machine.clock_ghz / 1000
            sums["dense"] += row["calls"] * 2 * row["macs_dense"]
            sums["effectual"] += row["calls"] * 2 * row["macs_effectual"]
        energies[arch] = energy = sum(sums[part] for part in PARTS)
        expected = {
            **{f"{part}_uj": sums[part] for part in PARTS},
            "energy_uj": energy,
            "edp_uj_us": energy * sums["latency"],
            "energy_gain": energies["dense"] / energy,
            "tops_per_watt_dense": sums["dense"] / energy / 1e6,
            "tops_per_watt_effectual": sums["effectual"] / energy / 1e6,
        }
        total = results.total(arch).record()
        assert {name: total[name] for name in expected} == {name: close(value) for name, value in expected.items()}


@st.composite
def machines_at_the_limit(draw, table):
    """Ports that ask for about as much as the SMEM serves if its cycle time is a few cycles of the clock."""
    machine = draw(machines(table))
    limit = machine.smem_banks * machine.smem_word_bits // 8 // draw(st.integers(1, 8))
    asked = st.sampled_from([1, *(max(1, whole + more) for whole in (limit // 2, limit) for more in (-1, 0, 1))])
    return dataclasses.replace(machine, smem_read_bytes_per_cycle=draw(asked), smem_write_bytes_per_cycle=draw(asked))


@settings(max_examples=10 if PLAIN else 150, deadline=None)
@given(st.sampled_from(TABLES).flatmap(lambda table: st.tuples(st.just(table), machines_at_the_limit(table))))
def test_areas_and_what_cannot_make_its_clock(pair):
    table, machine = pair
    layer = Layer(name="l", kind="gemm", in_height=1, in_width=1, kernel_h=1, kernel_w=1, in_channels=8, out_channels=8)
    archs = ["dense", "stc", "dstc", "crisp-stc"]
    results = simulate([layer], archs, machine=to_machine(machine), energy=table)
    slow = {arch: set() for arch in archs}
    for warning in results.warnings():
        named, part, what = warning.split(": ", 2)
        assert "cannot make the clock" in what
        for arch in named.split(", "):
            slow[arch].add(part)
    for arch in archs:
        dual = arch == "dstc"
        assert slow[arch] == too_slow(machine, table, dual=dual), arch
        areas = area_mm2(machine, table, dual=dual)
        assert area_of(results.energy_models[arch].memories) == {part: close(area) for part, area in areas.items()}, (
            arch
        )
