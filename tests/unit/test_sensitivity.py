"""Energy figures varied: against runs with those figures, against every combination one by one, and by hand."""

import csv
import itertools
import json
import math
import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import tomli_w

from crispsim.bench.run_folder import RunRecord, read_run, write_run
from crispsim.bench.sensitivity import Item, Option, Study, json_of, records_of, study_run, write_options
from crispsim.sim import ARCHITECTURES, InputError, Layer, load_arch, simulate
from crispsim.sim.energy import FIGURES, PARTS, EnergyModel, Figure, load_table
from crispsim.sim.energy.rows import compute_rows
from crispsim.sim.energy.spreads import ITEMS, NODES, load_spreads
from crispsim.sim.result import parts_of

ROOT = Path(__file__).resolve().parents[2]
SPREADS = tomllib.loads((ROOT / "sim" / "energy" / "spreads.toml").read_text())
PAGE = (ROOT / "docs" / "sensitivity.md").read_text(encoding="utf-8")
ARCHS = ("dense", "stc", "dstc", "crisp-stc")
FLIP_FLOPS = {"rf.sums": "flip-flops"}
ONE_BANK = {"smem.banks": 1, "dstc.accumulator_banks": 1}


def gemm(name, p, s=64, k=256, **more):
    sizes = {"in_height": p, "in_width": 1, "kernel_h": 1, "kernel_w": 1, "in_channels": k, "out_channels": s}
    return Layer(name=name, kind="gemm", **sizes, **more)


NETWORK = (gemm("first", 40), gemm("second", 20, calls=3))


def spec_of(arch, name, overrides):
    return replace(load_arch(arch, "edge", overrides), name=name)


def simulated(table, archs=ARCHS, overrides=None, machine="edge"):
    """Archs : names, or specs with machines of their own."""
    specs = [load_arch(arch, machine, overrides or {}) if isinstance(arch, str) else arch for arch in archs]
    asked = {"nm": "2:4", "block": 32, "sparsity": 0.75, "all_layers": True, "energy": table}
    return specs, simulate(NETWORK, specs, ideal=True, **asked)


def run_with(folder, table="horowitz45", archs=ARCHS, overrides=None, machine="edge"):
    table = None if table is None else load_table(table)
    specs, results = simulated(table, archs, overrides, machine)
    record = RunRecord(
        command="crispsim run", versions={}, seed=0, options={}, inputs=(), specs=tuple(specs), energy=table
    )
    write_run(folder, results, record)
    return read_run(folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return study_run(run_with(tmp_path_factory.mktemp("run") / "run"))


def with_figure(table, name, pj):
    figure = Figure(name=name, pj=pj, kind="derived", source="by hand")
    return replace(table, figures=MappingProxyType({**table.figures, name: figure}))


def alone(study, item, label):
    """Parts of every architecture with one item's alternative."""
    (axis,) = (place for place, one in enumerate(study.items) if one.name == item)
    (index,) = (place for place, option in enumerate(study.items[axis].options) if option.label == label)
    return {arch: {part: study.at(parts[part], axis, index) for part in PARTS} for arch, parts in study.parts.items()}


def agree(parts, results):
    """The parts equal those of a simulation, and so do their sums."""
    for arch in results.archs:
        told = results.total(arch).record()
        assert {f"{part}_uj": value for part, value in parts[arch].items()} == pytest.approx(
            {f"{part}_uj": told.get(f"{part}_uj", 0) for part in PARTS}, rel=1e-12, abs=0
        )
        assert sum(parts[arch].values()) == pytest.approx(told["energy_uj"], rel=1e-12)


# The alternatives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", NODES)
def test_every_alternative_resolves_at_its_node(node):
    spreads = load_spreads(node)
    assert list(spreads) == list(ITEMS) == list(SPREADS[f"nm{node}"])
    for item, alternatives in spreads.items():
        assert len({alternative.label for alternative in alternatives}) == len(alternatives) >= 1
        for alternative, given in zip(alternatives, SPREADS[f"nm{node}"][item], strict=True):
            assert alternative.why and alternative.source
            assert {figure.name for figure in alternative.figures} == set(given.get("figures", {})) <= set(ITEMS[item])
            assert all(math.isfinite(figure.pj) and figure.pj > 0 for figure in alternative.figures)
            assert (alternative.technology is not None) == (item == "technology")
            assert (alternative.dram is not None) == (item == "dram")
            assert alternative.technology is None or alternative.technology.node_nm == node
            for figure in given.get("figures", {}).values():
                if "row" not in figure:
                    assert node == 45 and ("artifact" in figure["source"])
                    continue
                (row,) = compute_rows()[tuple(map(str, figure["row"]))]
                taken_for_45 = figure["row"][2] == 40 and "as 40 or 45 nm" in row.source
                assert figure["row"][2] == node or (node == 45 and taken_for_45)
    assert {figure for figures in ITEMS.values() for figure in figures} | {"mac_16", "multiply_16"} == set(FIGURES)


@pytest.mark.parametrize(
    ("node", "item", "figures"),
    [
        (45, "mac", [{"multiply_8": 0.2, "add_8": 0.03, "add_16": 0.05, "add_32": 0.1},
                     *({"mac_8": pj} for pj in (0.5608, 1.154))]),
        (45, "mux2_bit", [0.0078 / 3, 0.001587 / 3, 0.02126 / 3]),
        (45, "full_adder", [0.005, 0.03 / 8, 0.0324 / 8, 0.2507 / 31]),
        (45, "crossbar_bit", [0.02126, 0.0078, 0.001587]),
        (45, "register_bit", [0.01036, 0.009, 0.00936, 0.0132]),
        (45, "smem", [{}, {"smem_read_byte": 285.7 / 64, "smem_write_byte": 317.0 / 64}]),
        (45, "metadata", [{}, 25.87 / 8]),
        (45, "rf", [{}, {"rf_read_byte": 1.66, "rf_write_byte": 1.68},
                   {"rf_read_byte": 8 * 0.01036, "rf_write_byte": 8 * 0.01036}]),
        (45, "buffer", [{}, {"buffer_read_byte": 1.66, "buffer_write_byte": 1.68},
                   {"buffer_read_byte": 8 * 0.01036, "buffer_write_byte": 8 * 0.01036}]),
        (22, "mac", [{"multiply_8": 0.05882, "add_8": 0.008823, "add_16": 0.01471, "add_32": 0.02941},
                     {"mac_8": 0.3393}]),
        (22, "mux2_bit", [0.002294 / 3, 0.0004916 / 3]),
        (22, "full_adder", [0.008823 / 8, 0.00858 / 8]),
        (22, "crossbar_bit", [0.002294, 0.0004916]),
        (22, "register_bit", [0.003046, 0.00255]),
        (22, "rf", [{}, {"rf_read_byte": 8 * 0.003046, "rf_write_byte": 8 * 0.003046}]),
    ],
)  # fmt: skip
def test_the_figures(node, item, figures):
    """From the sources, written out."""
    wanted = [figure if isinstance(figure, dict) else {ITEMS[item][0]: figure} for figure in figures]
    told = [{figure.name: figure.pj for figure in alternative.figures} for alternative in load_spreads(node)[item]]
    assert told == [pytest.approx(one, rel=1e-12) for one in wanted]


def test_an_alternative_replaces_all_figures_of_its_item():
    table, mac = load_table("sparseloop"), load_spreads(45)["mac"]
    assert "mac_8" not in mac[0].apply(table).figures
    assert mac[0].apply(table).figures["multiply_8"].pj == 0.2
    assert "rf_read_byte" not in load_spreads(45)["rf"][0].apply(table).figures
    assert load_spreads(45)["rf"][0].apply(table).figures["smem_read_byte"].pj == 285.7 / 64


@pytest.mark.parametrize("node", NODES)
def test_the_page_has_every_alternative(node):
    """Label, pJ and what it is; of the MAC's additions the one to 32 bits."""
    _, _, section = PAGE.partition(f"At {node} nm")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    told = iter(rows[2:])
    for item, alternatives in load_spreads(node).items():
        for place, alternative in enumerate(alternatives):
            name, label, pj, _, why = next(told)
            assert (name, label, why) == ("" if place else item, alternative.label, alternative.why)
            shown = [figure for figure in alternative.figures if figure.name not in ("add_8", "add_16")]
            shown += [alternative.dram] if alternative.dram else []
            assert re.findall(r"[0-9.]+", pj) == [f"{figure.pj:.4g}" for figure in shown]


# One at a time -------------------------------------------------------------------------------------------------------


def test_the_run_itself_comes_out_again(study):
    totals = study.run.summary["totals"]
    for arch, parts in study.parts.items():
        for part in PARTS:
            assert study.at(parts[part]) == pytest.approx(totals[arch].get(f"{part}_uj", 0), rel=1e-12, abs=0)
        assert study.at(study.energies[arch]) == pytest.approx(totals[arch]["energy_uj"], rel=1e-12)
    for gain in study.gains:
        assert gain.gain == pytest.approx(totals[gain.arch]["energy_gain"], rel=1e-12)
    for conclusion in study.conclusions:
        key = {"energy": "energy_uj", "edp": "edp_uj_us"}[conclusion.measure]
        ratio = totals[conclusion.b][key] / totals[conclusion.a][key]
        assert conclusion.ratio == pytest.approx(ratio, rel=1e-12)
        assert ratio > 1
    assert len(study.conclusions) == 2 * 6
    assert [gain.arch for gain in study.gains] == ["stc", "dstc", "crisp-stc"]
    assert [item.options[item.base].label for item in study.items] == [
        "Horowitz", "NanGate", "NanGate", "Aladdin crossbar", "CACTI", "as the SMEM", "CACTI", "CACTI",
        "itrs-lstp, 300 K",
    ]  # fmt: skip
    assert study.left_out == ("register_bit: makes no difference to this run",)


@pytest.mark.parametrize(
    ("item", "label", "figures"),
    [
        ("mac", "Aladdin, 5 ns", {"mac_8": 0.5608}),
        ("mac", "Aladdin, 1 ns", {"mac_8": 1.154}),
        ("mux2_bit", "NeuroSim", {"mux2_bit": 0.001587 / 3}),
        ("mux2_bit", "Aladdin crossbar", {"mux2_bit": 0.02126 / 3}),
        ("full_adder", "Aladdin count", {"full_adder": 0.2507 / 31}),
        ("crossbar_bit", "NeuroSim 4:1 MUX", {"crossbar_bit": 0.001587}),
        ("smem", "Sparseloop", {"smem_read_byte": 285.7 / 64, "smem_write_byte": 317 / 64}),
        ("metadata", "Sparseloop", {"metadata_read_byte": 25.87 / 8}),
        ("rf", "Sparseloop", {"rf_read_byte": 1.66, "rf_write_byte": 1.68}),
        ("rf", "registers", {"rf_read_byte": 8 * 0.01036, "rf_write_byte": 8 * 0.01036}),
        ("buffer", "Sparseloop's RF", {"buffer_read_byte": 1.66, "buffer_write_byte": 1.68}),
        ("buffer", "registers", {"buffer_read_byte": 8 * 0.01036, "buffer_write_byte": 8 * 0.01036}),
    ],
)
def test_one_alternative_is_a_run_with_its_figures(item, label, figures, study):
    table = load_table("horowitz45")
    for name, pj in figures.items():
        table = with_figure(table, name, pj)
    parts = alone(study, item, label)
    _, results = simulated(table)
    agree(parts, results)
    assert parts != {arch: {part: study.at(own[part]) for part in PARTS} for arch, own in study.parts.items()}


@pytest.mark.parametrize("overrides", [FLIP_FLOPS, {"rf.holds": "sums"}])
def test_registers_where_a_machine_uses_them(overrides, tmp_path):
    """For sums, or for operands."""
    study = study_run(run_with(tmp_path / "run", overrides=overrides))
    assert study.left_out == ()
    for label, pj in (("Aladdin, 40 nm", 0.009), ("NeuroSim", 0.00936), ("NanGate", 0.0132)):
        table = with_figure(load_table("horowitz45"), "register_bit", pj)
        agree(alone(study, "register_bit", label), simulated(table, overrides=overrides)[1])


def test_a_table_with_figures_of_memories_can_do_without(tmp_path):
    """What the sparseloop table gives is one alternative; CACTI and Horowitz are others."""
    study = study_run(run_with(tmp_path / "run", "sparseloop"))
    assert {item.name: item.options[item.base].label for item in study.items} == {
        "mac": "Aladdin, 5 ns", "mux2_bit": "NanGate", "full_adder": "NanGate", "crossbar_bit": "Aladdin crossbar",
        "smem": "Sparseloop", "metadata": "Sparseloop", "rf": "Sparseloop", "buffer": "Sparseloop's RF",
        "technology": "itrs-lstp, 300 K",
    }  # fmt: skip
    table = load_table("sparseloop")

    def without(*names):
        path = tmp_path / "mine.toml"
        figures = {f.name: {"pj": f.pj, "kind": f.kind, "source": f.source} for f in table.figures.values()}
        figures = {name: figure for name, figure in figures.items() if name not in names}
        if "mac_8" in names:
            figures |= {
                name: {"pj": pj, "kind": "tool", "source": "s"} for name, pj in (("multiply_8", 0.2), ("add_32", 0.1))
            }
        technology = {"node_nm": 45, "cell_type": "itrs-lstp", "temperature_k": 300}
        path.write_text(tomli_w.dumps(technology | {"figures": figures}))
        return simulated(load_table(path))[1]

    agree(alone(study, "mac", "Horowitz"), without("mac_8"))
    agree(alone(study, "smem", "CACTI"), without("smem_read_byte", "smem_write_byte"))
    agree(alone(study, "metadata", "as the SMEM"), without("metadata_read_byte"))
    agree(alone(study, "rf", "CACTI"), without("rf_read_byte", "rf_write_byte"))
    agree(alone(study, "buffer", "CACTI"), without("buffer_read_byte", "buffer_write_byte"))


@pytest.mark.parametrize("cell", ["itrs-hp", "itrs-lop"])
def test_another_process_of_arrays_that_the_table_has(cell, tmp_path):
    """Of one bank and one port: what a run in that process has."""
    study = study_run(run_with(tmp_path / "run", overrides=ONE_BANK))
    path = tmp_path / "mine.toml"
    figures = {f.name: {"pj": f.pj, "kind": f.kind, "source": f.source} for f in study.table.figures.values()}
    path.write_text(tomli_w.dumps({"node_nm": 45, "cell_type": cell, "temperature_k": 300, "figures": figures}))
    agree(alone(study, "technology", f"{cell}, 300 K"), simulated(load_table(path), overrides=ONE_BANK)[1])


def test_another_process_of_arrays_that_the_table_lacks(study):
    """The base machine's SMEM has 16 banks: read and write x that of one bank (cacti_sram.csv), by hand."""
    was = {part: study.at(study.parts["dense"][part]) for part in PARTS}
    now = alone(study, "technology", "itrs-hp, 300 K (scaled)")["dense"]
    rows = study.run.rows[study.run.rows["arch"] == "dense"]
    read, written = (
        int((rows[name] * rows["calls"]).sum()) for name in ("smem_read_bytes", "smem_write_bytes")
    )  # a dense machine reads no metadata
    one_bank = 54.5535 / 76.1191, 50.0834 / 63.6773  # 262144,128,1,1rw,45,300: itrs-hp over itrs-lstp
    smem = (read * 65.029 * one_bank[0] + written * 77.5033 * one_bank[1]) / 16 / 1e6
    assert now["smem"] == pytest.approx(smem, rel=1e-12)
    assert now["mac"] == was["mac"]
    leakage = 0.00921342 * 124.336 / 0.00626877 + 4 * 0.576918  # mW: of the SMEM, of four register files
    assert now["leakage"] == pytest.approx(leakage * int((rows["cycles"] * rows["calls"]).sum()) / 1e6, rel=1e-12)
    hot = alone(study, "technology", "itrs-lstp, 350 K (scaled)")["dense"]
    assert {part: hot[part] for part in PARTS if part != "leakage"} == {
        part: was[part] for part in PARTS if part != "leakage"
    }
    assert 5 < hot["leakage"] / was["leakage"] < 7  # 0.0436327 / 0.00626... of neighbouring words


def test_a_process_that_the_table_does_not_tell_is_left_out(tmp_path):
    """At 350 K it has no arrays of less than 1024 B."""
    study = study_run(run_with(tmp_path / "run", overrides={"rf.bytes": 512, "rf.word_bits": 32}))
    (item,) = (item for item in study.items if item.name == "technology")
    assert [option.label.partition(" (")[0] for option in item.options] == [
        "itrs-lstp, 300 K", "itrs-hp, 300 K", "itrs-lop, 300 K",
    ]  # fmt: skip
    assert "technology: itrs-lstp, 350 K: CACTI's table lacks the memories of this run there" in study.left_out


def test_a_figure_that_no_source_has_is_an_alternative_too(tmp_path):
    table = with_figure(load_table("horowitz45"), "crossbar_bit", 0.05)
    study = study_run(run_with(tmp_path / "run", table))
    (item,) = (item for item in study.items if item.name == "crossbar_bit")
    assert [option.label for option in item.options] == [
        "horowitz45's own", "Aladdin crossbar", "NanGate 4:1 MUX", "NeuroSim 4:1 MUX",
    ]  # fmt: skip
    assert item.base == 0 and item.options[0].source == "by hand"
    agree(alone(study, "crossbar_bit", "Aladdin crossbar"), simulated("horowitz45")[1])


def test_operands_of_16_bits_leave_the_mac_out(tmp_path):
    study = study_run(run_with(tmp_path / "run", archs=("dense", "crisp-stc"), overrides={"operand_bits": 16}))
    assert "mac" not in [item.name for item in study.items]
    assert study.left_out[0] == (
        "mac: operands of 16 bits on dense, crisp-stc; other sources are known for 8 bits only"
    )
    table = with_figure(load_table("horowitz45"), "mux2_bit", 0.001587 / 3)
    _, results = simulated(table, ("dense", "crisp-stc"), {"operand_bits": 16})
    agree(alone(study, "mux2_bit", "NeuroSim"), results)


# All at once ---------------------------------------------------------------------------------------------------------


def test_all_at_once_is_every_combination(tmp_path):
    """Whole models, one by one, with tables and memories changed together."""
    archs = ("crisp-stc", "dstc")
    run = run_with(tmp_path / "run", "horowitz22", archs, FLIP_FLOPS | ONE_BANK)
    study = study_run(run)
    latencies = {arch.name: arch.latency_us for arch in study.archs}
    counts = {
        name: SimpleNamespace(**{column: int((rows[column] * rows["calls"]).sum()) for column in study.archs[1].counts},
                              mux2_selections=int((rows["mux2_selections"] * rows["calls"]).sum()))
        for name, rows in run.rows.groupby("arch")
    }  # fmt: skip
    machines = {arch: load_arch(arch, "edge", FLIP_FLOPS | ONE_BANK).machine for arch in archs}
    found: list[tuple[dict[str, str], dict[str, float]]] = []
    largest = []
    for options in itertools.product(*(item.options for item in study.items)):
        table = load_table("horowitz22")
        technology = table.technology
        for option in options:
            if option.item == "technology":
                (technology,) = (
                    a.technology for a in load_spreads(22)["technology"] if option.label.startswith(a.label)
                )
            elif option.alternative is not None:
                table = option.alternative.apply(table)
        energies = {}
        for arch in archs:
            memories = SimpleNamespace(found=study.archs[archs.index(arch)].memories)
            if technology != table.technology:
                (option,) = (option for option in options if option.item == "technology")
                memories.found = option.memories[arch]
            model = EnergyModel(
                machine=machines[arch], architecture=ARCHITECTURES[arch], table=table, memories=memories.found
            )
            energy = model.energy(counts[arch])
            energies[arch] = energy.energy_uj
            if arch == "dstc":
                largest.append(max(PARTS, key=lambda part: energy.parts[f"{part}_uj"]))
        found.append(({option.item: option.label for option in options}, energies))
    assert len(found) == study.combinations == math.prod(study.shape) > 1000
    assert {"register_bit", "rf", "buffer", "technology", "crossbar_bit"} <= {item.name for item in study.items}
    for conclusion in study.conclusions:
        a, b = conclusion.a, conclusion.b
        delay = latencies[b] / latencies[a] if conclusion.measure == "edp" else 1
        ratios = [energies[b] / energies[a] * delay for _, energies in found]
        span = conclusion.all_at_once
        assert (span.least, span.greatest) == pytest.approx((min(ratios), max(ratios)), rel=1e-12)
        assert conclusion.share == pytest.approx(np.mean(np.array(ratios) > 1), abs=1e-12)
        for value, choices in ((span.least, span.least_with), (span.greatest, span.greatest_with)):
            with_them = [
                ratio
                for (chosen, _), ratio in zip(found, ratios, strict=True)
                if dict(choices).items() <= chosen.items()
            ]
            assert with_them and with_them == pytest.approx([value] * len(with_them), rel=1e-12)
        base = {item.name: item.options[item.base].label for item in study.items}
        single = [
            (ratio, {key for key in base if chosen[key] != base[key]})
            for (chosen, _), ratio in zip(found, ratios, strict=True)
            if sum(chosen[key] != base[key] for key in base) <= 1
        ]
        one = conclusion.one_at_a_time
        assert (one.least, one.greatest) == pytest.approx((min(single)[0], max(r for r, _ in single)), rel=1e-12)
        assert {item for item, _ in one.least_with} <= min(single, key=lambda s: s[0])[1]
        assert {item for item, _ in conclusion.overturned_by} == {key for r, keys in single if r < 1 for key in keys}
    (part,) = (part for part in study.largest_parts if part.arch == "dstc")
    assert part.share == pytest.approx(largest.count(part.part) / len(largest), abs=1e-12)
    assert set(largest) <= {part.part, *part.others}


# Verdicts ------------------------------------------------------------------------------------------------------------


def made(a, b, latencies=(1.0, 1.0), base=(0, 0)):
    """Make a study of two architectures and two items from their energies, all in the MACs."""

    def option(item, label):
        return Option(item=item, label=label, why="w", source="s", kind="tool", alternative=None)

    items = tuple(
        Item(name=name, options=tuple(option(name, f"{name}{n}") for n in range(np.shape(a)[axis])), base=base[axis])
        for axis, name in enumerate(("x", "y"))
    )
    parts = {
        name: {part: np.array(values if part == "mac" else [[0.0]], float) for part in PARTS}
        for name, values in (("a", a), ("b", b))
    }
    archs = tuple(
        SimpleNamespace(name=name, baseline=False, latency_us=latency)
        for name, latency in zip("ab", latencies, strict=True)
    )
    return Study(run=None, table=None, archs=archs, items=items, parts=MappingProxyType(parts), left_out=())


def test_a_conclusion_that_stands():
    energy, edp = made([[1, 1], [2, 2]], [[4, 2], [4, 3]], (1.0, 3.0)).conclusions
    assert (energy.a, energy.b, energy.ratio, energy.equal) == ("a", "b", 4.0, False)
    assert (energy.verdict, energy.overturned_by, energy.share) == ("stands", (), 1.0)
    assert (energy.one_at_a_time.least, energy.one_at_a_time.least_with) == (2.0, (("x", "x1"),))
    assert (energy.one_at_a_time.greatest, energy.one_at_a_time.greatest_with) == (4.0, ())
    assert (energy.all_at_once.least, energy.all_at_once.least_with) == (1.5, (("x", "x1"), ("y", "y1")))
    assert (edp.ratio, edp.all_at_once.least, edp.verdict) == (12.0, 4.5, "stands")


def test_a_conclusion_that_stands_one_at_a_time():
    energy = made([[1, 1], [1, 1]], [[2, 1.5], [1.25, 0.5]]).conclusions[0]
    assert (energy.verdict, energy.overturned_by, energy.share) == ("stands one at a time", (), 0.75)
    assert (energy.one_at_a_time.least, energy.all_at_once.least) == (1.25, 0.5)


def test_a_conclusion_that_depends():
    energy = made([[1, 1], [1, 1]], [[2, 0.9], [1.0, 3]]).conclusions[0]
    assert energy.verdict == "depends"
    assert energy.overturned_by == (("x", "x1"), ("y", "y1"))  # with x1 they are equal, which is not less
    assert energy.share == 0.5
    assert (energy.all_at_once.greatest, energy.all_at_once.greatest_with) == (3.0, (("x", "x1"), ("y", "y1")))


def test_the_run_is_not_the_first_option():
    energy = made([[1, 1], [1, 1]], [[9, 9], [0.5, 2]], base=(1, 1)).conclusions[0]
    assert (energy.ratio, energy.overturned_by, energy.share) == (2.0, (("y", "y0"),), 0.75)
    assert energy.one_at_a_time.greatest_with == (("x", "x0"),)


def test_the_order_of_the_product_is_its_own():
    energy, edp = made([[1, 1], [1, 1]], [[2, 2], [2, 2]], (9.0, 1.0)).conclusions
    assert (energy.a, energy.b, energy.ratio) == ("a", "b", 2.0)
    assert (edp.a, edp.b, edp.ratio) == ("b", "a", 4.5)


def test_equal_energies_are_said_to_be_equal():
    energy = made([[1, 1], [1, 1]], [[1, 1], [1, 1 + 1e-15]]).conclusions[0]
    assert (energy.equal, energy.verdict, energy.share) == (True, "stands", 1.0)
    energy = made([[1, 1], [1, 1]], [[1, 2], [1, 1]]).conclusions[0]
    assert (energy.equal, energy.verdict, energy.overturned_by) == (True, "depends", (("y", "y1"),))


def test_the_largest_part():
    """MACs, 10 or 30, against the SMEM, 20 or 25, and the register file, 1 or 26."""
    study = made([[10, 10], [30, 30]], [[1, 1], [1, 1]])
    study.parts["a"].update(smem=np.array([[20.0, 25.0]]), rf=np.array([[1.0, 22.0]]), select=np.array([[4.0]]))
    largest, other = study.largest_parts
    assert (largest.arch, largest.part, largest.of_energy) == ("a", "smem", 20 / 35)
    assert (largest.verdict, largest.overturned_by, largest.share) == ("depends", (("x", "x1"),), 0.5)
    assert largest.others == ("mac",)  # the MUXes never, the register file neither
    assert (other.part, other.verdict, other.others) == ("mac", "stands", ())
    study.parts["a"].update(rf=np.array([[1.0, 26.0]]))
    largest = study.largest_part("a")
    assert (largest.overturned_by, largest.share) == ((("x", "x1"), ("y", "y1")), 0.25)
    assert largest.others == ("mac", "rf")
    study.parts["a"].update(rf=np.array([[1.0], [28.0]]))  # beyond the SMEM with x1 only, where the MACs are, too
    assert study.largest_part("a").others == ("mac",)
    study.parts["a"].update(
        rf=np.array([[1.0, 26.0]]), mac=np.array([[10.0]]), select=np.array([[21.0]]), smem=np.array([[20.0, 20.5]])
    )
    assert study.largest_part("a").part == "select"
    assert study.largest_part("a").others == ("rf",)  # the SMEM never exceeds the MUXes


def test_what_does_not_matter_is_not_named(study):
    for conclusion in study.conclusions:
        named = {item for item, _ in conclusion.all_at_once.least_with + conclusion.all_at_once.greatest_with}
        dual = "dstc" in (conclusion.a, conclusion.b)
        assert ("buffer" in named, "crossbar_bit" in named, "full_adder" in named) == (dual, dual, dual)
        assert {"mac", "rf", "technology"} <= named


# Folders -------------------------------------------------------------------------------------------------------------


def test_without_dense_there_are_no_gains(tmp_path):
    study = study_run(run_with(tmp_path / "run", archs=("stc", "crisp-stc")))
    assert (study.baselines, study.gains) == ({"stc": None, "crisp-stc": None}, [])
    assert all(record["energy_gain"] is None for record in records_of(study))
    assert {"full_adder", "crossbar_bit", "buffer"} & {item.name for item in study.items} == set()
    write_options(tmp_path / "o.csv", study)
    assert ",,tool," in (tmp_path / "o.csv").read_text()
    assert json.loads(json.dumps(json_of(study)))["gains"] == []


FAST = FLIP_FLOPS | {"clock_ghz": 2}


def test_a_gain_is_over_dense_on_the_same_machine(tmp_path):
    """That of `fast` is over the dense one which is not in the run."""
    fast = spec_of("crisp-stc", "fast", FAST)
    study = study_run(run_with(tmp_path / "run", archs=("dense", fast, "stc")))
    assert study.baselines == {"dense": "dense", "fast": None, "stc": "dense"}
    assert study.without_gain == ["fast"]
    (gain,) = study.gains
    assert (gain.arch, gain.over) == ("stc", "dense")
    assert gain.gain == pytest.approx(study.run.summary["totals"]["stc"]["energy_gain"], rel=1e-12)
    assert {r["arch"] for r in records_of(study) if r["energy_gain"] is None} == {"fast"}
    assert {r["arch"] for r in records_of(study) if r["energy_gain"] is not None} == {"dense", "stc"}
    told = json.loads(json.dumps(json_of(study), allow_nan=False))
    assert told["baselines"] == {"dense": "dense", "fast": None, "stc": "dense"}
    assert [(gain["arch"], gain["over"]) for gain in told["gains"]] == [("stc", "dense")]
    assert {r["arch"] for r in told["alternatives"] if r["energy_gain"] is None} == {"fast"}
    write_options(tmp_path / "o.csv", study)
    with (tmp_path / "o.csv").open() as file:
        assert {row["arch"] for row in csv.DictReader(file) if row["energy_gain"] == ""} == {"fast"}
    claimed = [c for c in study.conclusions if {c.a, c.b} == {"dense", "fast"}]
    assert len(claimed) == 2  # they are compared nevertheless


def test_each_machine_has_its_own_dense(tmp_path):
    """With every alternative the gains are those of a run with its figures."""
    archs = ("dense", "crisp-stc", spec_of("crisp-stc", "fast", FAST), spec_of("dense", "fast dense", FAST))
    study = study_run(run_with(tmp_path / "run", archs=archs))
    assert study.baselines == {
        "dense": "dense", "crisp-stc": "dense", "fast": "fast dense", "fast dense": "fast dense",
    }  # fmt: skip
    assert study.without_gain == []
    assert [(gain.arch, gain.over) for gain in study.gains] == [("crisp-stc", "dense"), ("fast", "fast dense")]
    totals = study.run.summary["totals"]
    for gain in study.gains:
        assert gain.gain == pytest.approx(totals[gain.arch]["energy_gain"], rel=1e-12)
    _, results = simulated(with_figure(load_table("horowitz45"), "register_bit", 0.0132), archs)
    for record in records_of(study):
        if (record["item"], record["alternative"]) == ("register_bit", "NanGate"):
            wanted = results.total(record["arch"]).record()["energy_gain"]
            assert record["energy_gain"] == pytest.approx(wanted, rel=1e-12)


def test_a_machine_that_dense_takes_the_same_energy_on_will_do(tmp_path):
    """Dense has no accumulation buffer; of two that take the same, that on the very machine is named."""
    banks = spec_of("crisp-stc", "banks", ONE_BANK | {"smem.banks": 16})
    study = study_run(run_with(tmp_path / "one", archs=("dense", banks)))
    assert study.baselines == {"dense": "dense", "banks": "dense"}
    dense = spec_of("dense", "dense banks", ONE_BANK | {"smem.banks": 16})
    study = study_run(run_with(tmp_path / "two", archs=("dense", banks, dense)))
    assert study.baselines["banks"] == "dense banks"


def test_the_records(study, tmp_path):
    records = records_of(study)
    assert len(records) == sum(study.shape) * len(ARCHS)
    for record in records:
        energy = sum(record[f"{part}_uj"] for part in parts_of(with_dram=False))
        assert energy == pytest.approx(record["energy_uj"], rel=1e-12)
        assert "dram_uj" not in record
        assert record["edp_uj_us"] == pytest.approx(record["energy_uj"] * record["latency_us"])
    (one,) = (r for r in records if (r["alternative"], r["arch"]) == ("Aladdin, 1 ns", "dstc"))
    assert (one["pj"], one["kind"], one["as_run"]) == ({"op": 1.154}, "tool", False)
    (buffer,) = (r for r in records if (r["item"], r["as_run"], r["arch"]) == ("buffer", True, "dstc"))
    assert buffer["pj"] == pytest.approx({"read": 2.99896 / 4, "write": 3.43254 / 4})
    assert all(r["pj"] == {} for r in records if r["item"] == "buffer" and r["arch"] != "dstc")
    assert sum(record["as_run"] for record in records) == len(study.items) * len(ARCHS)


def changed(source, target, name, old, new):
    shutil.copytree(source, target)
    text = (target / name).read_text()
    assert old in text
    (target / name).write_text(text.replace(old, new, 1))
    return target


def test_folders_that_are_refused(study, tmp_path):
    def refused(folder):
        with pytest.raises(InputError) as caught:
            study_run(read_run(folder))
        (line,) = caught.value.lines
        assert "\n" not in line
        return line

    here = study.run.path
    assert "run with --energy none: it has no energy to vary" in refused(
        run_with(tmp_path / "none", None, ("stc",)).path
    )
    total = study.run.summary["totals"]["stc"]
    other = changed(here, tmp_path / "mac", "summary.json", f'"mac_uj": {total["mac_uj"]}', '"mac_uj": 1.5')
    assert "totals of " in refused(other) and "mac_uj: value 1.5" in refused(other)
    other = changed(here, tmp_path / "figure", "config.toml", "pj = 0.2\n", "pj = 0.2000001\n")
    assert "a run of another version, or changed since?" in refused(other)
    assert study_run(
        read_run(changed(here, tmp_path / "close", "config.toml", "pj = 0.2\n", "pj = 0.2000000000000001\n"))
    )
    other = changed(here, tmp_path / "node", "config.toml", "node_nm = 45", "node_nm = 32")
    assert refused(other) == "energy table at 32 nm: other sources are known at 45 and 22 nm only"
    other = changed(here, tmp_path / "gone", "config.toml", "cell_type = ", "cell = ")
    assert "energy: cell_type is missing; a run of another version?" in refused(other)
    other = changed(here, tmp_path / "unknown", "config.toml", "energy.figures.multiply_8", "energy.figures.multiply_9")
    assert "unknown figure 'multiply_9'" in refused(other)
    other = changed(here, tmp_path / "arch", "config.toml", 'arch = "stc"', 'arch = "sct"')
    assert "stc: sct is missing; a run of another version?" in refused(other)
    other = changed(here, tmp_path / "ports", "summary.json", '"ports": "1rw"', '"ports": "5rw"')
    assert "ports: value '5rw'" in refused(other)
    parts = ('"part": "rf",\n          "count": 4', '"part": "fr",\n          "count": 4')
    other = changed(here, tmp_path / "part", "summary.json", *parts)
    assert "memories of another kind" in refused(other)
    other = changed(here, tmp_path / "machine", "config.toml", "\nlanes = 8", "\nlanez = 8")
    assert "lane" in refused(other)
    other = changed(here, tmp_path / "column", "results.csv", "popcount_adders", "popcounts")
    assert re.search("popcount_adders.* is missing", refused(other))
    other = changed(here, tmp_path / "memory", "summary.json", '"read_pj"', '"reads_pj"')
    assert re.search("read_pj.* is missing", refused(other))


# DRAM ----------------------------------------------------------------------------------------------------------------

DRAM = {"LPDDR4": 8.0, "LPDDR5": 6.4, "HBM2": 3.9, "DDR, Horowitz": 20.3, "LPDDR2": 40.0}


@pytest.mark.parametrize("node", NODES)
def test_what_other_sources_say_of_a_dram(node):
    assert {own.label: own.dram.pj for own in load_spreads(node)["dram"]} == DRAM


@pytest.mark.parametrize("archs", [("dense", "crisp-stc"), ARCHS])
def test_dram_varied_is_as_simulated_with_it(archs, tmp_path):
    study = study_run(run_with(tmp_path / "run", archs=archs, machine="edge-lpddr4"))
    (item,) = (item for item in study.items if item.name == "dram")
    assert [option.label for option in item.options] == list(DRAM)
    assert item.options[item.base].label == "LPDDR4"
    for label, pj in DRAM.items():
        overrides = {"dram.pj_per_bit": pj}
        agree(alone(study, "dram", label), simulated("horowitz45", archs, overrides, machine="edge-lpddr4")[1])
    for record in records_of(study):
        if record["item"] == "dram":
            assert record["pj"] == {"bit": DRAM[record["alternative"]]}
            assert record["kind"] == {"LPDDR4": "tool", "LPDDR5": "guess"}.get(record["alternative"], "published")
        assert record["dram_uj"] > 0


def test_a_dram_that_no_source_has_is_an_alternative_of_its_own(tmp_path):
    specs = [load_arch("dense", "edge-lpddr4", {"dram.pj_per_bit": 5.0}), load_arch("stc", "edge-lpddr5")]
    study = study_run(run_with(tmp_path / "run", archs=specs))
    (item,) = (item for item in study.items if item.name == "dram")
    assert [option.label for option in item.options] == ["the machine's own", *DRAM]
    assert item.base == 0
    pj = {record["arch"]: record["pj"] for record in records_of(study) if record["alternative"] == "the machine's own"}
    assert pj == {"dense": {"bit": 5.0}, "stc": {"bit": 6.4}}


def test_without_a_dram_there_is_none_to_vary(study, tmp_path):
    assert "dram" not in [item.name for item in study.items]
    assert not any("dram" in line for line in study.left_out)
    mixed = study_run(run_with(tmp_path / "run", archs=["stc", load_arch("dense", "edge-lpddr4")]))
    energies = {label: alone(mixed, "dram", label) for label in DRAM}
    assert len({parts["stc"]["dram"] for parts in energies.values()}) == 1
    assert len({parts["dense"]["dram"] for parts in energies.values()}) == len(DRAM)
