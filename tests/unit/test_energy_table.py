"""Energy tables: every shipped figure is a row or has a source; files of one's own; what is refused, and how."""

import csv
from dataclasses import replace
from importlib import resources

import pytest

from crispsim.sim import ARCHITECTURES, InputError, Layer, simulate
from crispsim.sim.energy import FIGURES, EnergyModel, Figure, load_table, table_names
from crispsim.sim.machine import Machine

HEAD = 'node_nm = 45\ncell_type = "itrs-lstp"\ntemperature_k = 300\n\n[figures]\n'
LAYER = Layer(name="l", kind="gemm", in_height=40, in_width=1, kernel_h=1, kernel_w=1, in_channels=64, out_channels=32)


def rows_of_the_source():
    path = resources.files("crispsim.sim.energy") / "data" / "compute_energy.csv"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def figure(operation, form, node, kind):
    (row,) = [
        row
        for row in rows_of_the_source()
        if (row["operation"], row["format"], row["tech_nm"], row["kind"]) == (operation, form, node, kind)
    ]
    return float(row["energy"])


def test_the_shipped_tables():
    assert table_names() == ["horowitz45", "horowitz22", "sparseloop"]
    assert {name: load_table(name).technology.node_nm for name in table_names()} == {
        "horowitz45": 45, "horowitz22": 22, "sparseloop": 45,
    }  # fmt: skip
    for name in table_names():
        for known in load_table(name).figures.values():
            assert known.pj > 0, known
            assert known.source, known


def test_the_figures_of_horowitz45_are_rows_of_the_source():
    figures = {name: known.pj for name, known in load_table().figures.items()}
    assert figures == {
        "multiply_8": figure("mul", "int8", "45", "published"),
        "multiply_16": figure("mul", "int16", "45", "derived"),
        "add_8": figure("add", "int8", "45", "published"),
        "add_16": figure("add", "int16", "45", "published"),
        "add_32": figure("add", "int32", "45", "published"),
        "mux2_bit": figure("mux 4:1", "per bit", "45", "derived") / 3,
        "full_adder": figure("full adder (popcount or prefix step)", "per FA", "45", "derived"),
        "crossbar_bit": figure("crossbar 1-to-4 NoC", "per bit", "40", "published"),
        "register_bit": figure("register read or write", "per bit", "45", "tool"),
    }
    assert figures["multiply_8"] + figures["add_32"] == pytest.approx(figure("mac", "int8xint8+int32", "45", "derived"))


def test_the_figures_of_horowitz22_are_scaled_alike():
    figures = {name: known.pj for name, known in load_table("horowitz22").figures.items()}
    assert figures["multiply_8"] + figures["add_32"] == pytest.approx(
        figure("mac", "int8xint8+int32", "22", "derived"), rel=1e-3
    )
    assert figures["multiply_16"] + figures["add_32"] == pytest.approx(
        figure("mac", "int16xint16+int32", "22", "derived"), rel=1e-3
    )
    # hwcomponents scales the register's row from 40 to 22 nm by this; the crossbar has no row there.
    scale = figure("register read or write", "per bit", "22", "tool") / figure(
        "register read or write", "per bit", "40", "published"
    )
    crossbar = figure("crossbar 1-to-4 NoC", "per bit", "40", "published")
    assert figures["crossbar_bit"] == pytest.approx(crossbar * scale, rel=2e-4)


def test_the_figures_of_sparseloop_are_those_of_the_specification():
    figures = {name: known.pj for name, known in load_table("sparseloop").figures.items()}
    assert figures["smem_read_byte"] * 64 == pytest.approx(285.7)
    assert figures["smem_write_byte"] * 64 == pytest.approx(317.0)
    assert figures["metadata_read_byte"] * 8 == pytest.approx(25.87)
    assert (figures["rf_read_byte"], figures["rf_write_byte"]) == (1.66, 1.68)
    assert figures["mac_8"] == pytest.approx(0.561, abs=5e-4)


def test_a_table_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "# 45 nm: ours\n" + HEAD + 'mac_8 = { pj = 0.5, divide_by = 2, kind = "tool", source = "synthesis" }\n'
        'mux2_bit = { row = ["mux 4:1", "per bit", 45, "tool"], note = "whole" }\n'
    )
    table = load_table(path)
    assert (table.name, table.summary) == ("mine", "45 nm: ours")
    assert table.figures["mac_8"].pj == 0.25
    assert table.figures["mac_8"].kind == "tool"
    assert table.figures["mux2_bit"].source.endswith("(whole)")
    (row,) = simulate([LAYER], "crisp-stc", energy=path).rows
    assert row.energy is not None
    assert row.energy.own.mac_uj == pytest.approx(row.group.macs_issued * 0.25e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "node_nm: missing"),
        (HEAD.replace("45", '"45"'), "node_nm: value '45': must be an integer"),
        (HEAD.replace("node_nm", "nod_nm"), "unknown key 'nod_nm'; the nearest known one is 'node_nm'"),
        (HEAD + "mac_9 = 1\n", "unknown key 'mac_9'; the nearest known one is 'mac_8'"),
        (HEAD + "mac_8 = 1\n", "mac_8: value 1: must be a table"),
        (HEAD + "mac_8 = { }\n", "mac_8: must have row or pj"),
        (HEAD + 'mac_8 = { pj = 1, row = ["a", "b", 1, "c"] }\n', "only one of them"),
        (HEAD + 'mac_8 = { pj = -1, kind = "tool", source = "s" }\n', "pj: value -1"),
        (HEAD + 'mac_8 = { pj = nan, kind = "tool", source = "s" }\n', "pj: value nan"),
        (HEAD + 'mac_8 = { pj = 1, kind = "heard", source = "s" }\n', "kind: value 'heard': must be one of published"),
        (HEAD + 'mac_8 = { pj = 1, kind = "tool" }\n', "source: missing"),
        (HEAD + 'mac_8 = { pj = 1, kind = "tool", source = "s", divide_by = 0 }\n', "divide_by: value 0"),
        (HEAD + 'mac_8 = { row = ["mul", "int9", 45, "published"] }\n', "no such row; the nearest is 'mul int8 45"),
        (HEAD + 'mac_8 = { row = ["wire", "int9", 45] }\n', "row: value ['wire', 'int9', 45]: must be"),
        ("node_nm = \n", "not TOML"),
    ],
)
def test_a_bad_file_is_refused_in_a_line(text, said, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_table(path)
    (line,) = error.value.lines
    assert line.startswith(str(path))
    assert said in line


def test_unknown_names_and_missing_figures_are_refused(tmp_path):
    with pytest.raises(InputError, match="'horowitz': unknown; known are horowitz45, horowitz22, sparseloop"):
        load_table("horowitz")
    with pytest.raises(InputError, match=r"none\.toml: cannot read"):
        load_table("none.toml")
    with pytest.raises(InputError, match=r"sparseloop: has no figure multiply_16 .* needed for operand_bits = 16"):
        simulate([LAYER], "dense", machine=Machine.load("edge", {"operand_bits": 16}), energy="sparseloop")


def test_a_mac_of_ones_own_is_of_its_operands(tmp_path):
    path = tmp_path / "mine.toml"
    macs = "".join(f'mac_{bits} = {{ pj = {bits}, kind = "tool", source = "s" }}\n' for bits in (8, 16))
    path.write_text(HEAD + macs + 'mux2_bit = { pj = 1, kind = "tool", source = "s" }\n')
    for bits in (8, 16):
        machine = Machine.load("edge", {"operand_bits": bits})
        model = EnergyModel.of(machine, ARCHITECTURES["dense"], path)
        assert [figure.name for figure in model.figures()] == [f"mac_{bits}", "mux2_bit"]
        assert model.terms[0].pj == bits


def test_only_figures_that_cost_something_are_listed():
    registers = Machine.load("paper")
    for arch, listed in (
        ("dense", {"smem_read_byte", "rf_read_byte"}),
        ("dstc", {"smem_read_byte", "buffer_read_byte"}),
    ):
        names = {figure.name for figure in EnergyModel.of(registers, ARCHITECTURES[arch], "sparseloop").figures()}
        assert {name for name in names if name.endswith("read_byte")} == listed | {"metadata_read_byte"}
        assert "register_bit" in names


@pytest.mark.parametrize(
    ("origins", "worst"),
    [(("live", "table"), "live"), (("live", "interpolated"), "interpolated"), (("table", "table"), "table")],
)
def test_the_least_certain_of_its_memories_is_told(origins, worst):
    model = EnergyModel.of(Machine.load(), ARCHITECTURES["dense"])
    changed = zip(model.memories, origins, strict=True)
    memories = tuple(replace(memory, sram=replace(memory.sram, origin=origin)) for memory, origin in changed)
    assert replace(model, memories=memories).origin == worst


def test_every_figure_has_a_unit_and_is_used_by_some_machine():
    used = set()
    for table in table_names():
        for changes in ({}, {"rf.sums": "flip-flops"}, {"operand_bits": 16}, {"sum_bits": 8}, {"sum_bits": 16}):
            for arch in ("crisp-stc", "dstc"):
                if changes != {"operand_bits": 16} or table != "sparseloop":
                    machine = Machine.load("edge", changes)
                    model = EnergyModel.of(machine, ARCHITECTURES[arch], table)
                    used |= {known.name for known in model.figures()}
    assert used == {name for name in FIGURES if name != "mac_16"}  # no shipped table has a MAC of 16 bits
    assert {unit for unit, _ in FIGURES.values()} == {"pJ/op", "pJ/bit", "pJ/B"}


def test_without_a_table_there_is_no_energy():
    results = simulate([LAYER], ["stc"], energy=None, machine=Machine.load("edge", {"smem.banks": 7}))
    assert not [column for column in results.to_dataframe().columns if column.endswith("_uj") or "watt" in column]
    assert results.total("stc").energy is None
    assert "energy_uj" not in results.total("stc").record()
    assert results.warnings() == []


@pytest.mark.parametrize("changes", [{}, {"rf.sums": "flip-flops"}, {"rf.holds": "sums"}, {"operand_bits": 16}])
@pytest.mark.parametrize("arch", ["crisp-stc", "dstc"])
def test_a_term_names_all_that_it_may_cost(arch, changes):
    """Each figure that is doubled, or array, changes the terms that name it, and no others."""
    machine = Machine.load("edge", changes)
    table = load_table("horowitz45")
    model = EnergyModel.of(machine, ARCHITECTURES[arch], table)
    own = {(term.part, term.count): term for term in model.terms}

    def changed(table, memories=model.memories):
        other = EnergyModel(machine=machine, architecture=ARCHITECTURES[arch], table=table, memories=memories)
        return {(term.part, term.count) for term in other.terms if term.pj != own[term.part, term.count].pj}

    for name in FIGURES:
        pj = 2 * table.figures[name].pj if name in table.figures else 1000.0
        figures = {**table.figures, name: Figure(name=name, pj=pj, kind="guess", source="s")}
        assert changed(replace(table, figures=figures)) == {key for key, term in own.items() if name in term.figures}
    for place, memory in enumerate(model.memories):
        for other in (
            replace(memory.sram, read_pj=2 * memory.sram.read_pj, write_pj=2 * memory.sram.write_pj),
            replace(memory.sram, leakage_mw=2 * memory.sram.leakage_mw),
        ):
            memories = [*model.memories]
            memories[place] = replace(memory, sram=other)
            found = changed(table, tuple(memories))
            named = {key for key, term in own.items() if memory.part in term.memories}
            leaks = other.leakage_mw != memory.sram.leakage_mw
            assert found == {key for key in named if (key == ("leakage", "cycles")) == leaks}
    assert {term.count: term.units for term in model.terms if term.units > 1} == {
        count: machine.operand_bits if count == "mux2_selections" else 8
        for (_, count), term in own.items()
        if term.figures in (("mux2_bit",), ("register_bit",))
    }
