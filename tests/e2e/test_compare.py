"""`crispsim compare` as its user meets it: what is printed at any width, JSON, the CSV, exit codes."""

import csv
import io
import json

import pytest

from crispsim.bench.compare import choose_pairs, compare_runs
from crispsim.bench.run_folder import read_run
from crispsim.cli.compare import print_comparison
from crispsim.cli.main import run_command as crispsim
from crispsim.cli.terminal import Terminal

TABLE = """Layer, M, N, K, Calls
first, 40, 64, 256, 1
a layer with a name as long as names of layers become, 30, 64, 512, 12
third, 12, 64, 256, 1
head, 1, 10, 64, 1
"""
ARCHS = ["--arch", "dense", "--arch", "crisp-stc", "--arch", "dstc"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    (root / "net.csv").write_text(TABLE)
    (root / "fewer.csv").write_text("\n".join(TABLE.splitlines()[:3]) + "\nlast, 1, 10, 64, 1\n")

    def run(name, *arguments, table="net.csv"):
        asked = ["run", "--layer-csv", str(root / table), "--quiet", "--out", str(root / name)]
        assert crispsim([*asked, *(ARCHS if "--arch" not in arguments else ()), "--block", "32", *arguments]) == 0
        return root / name

    slow = ("--set", "smem.bytes_per_cycle=16")
    return {
        "base": run("base"),
        "again": run("again"),
        "slow": run("slow", *slow),
        "fast": run("fast", "--set", "clock_ghz=2"),
        "no energy": run("none", *slow, "--energy", "none"),
        "sparse": run("sparse", "--block", "64", "--sparsity", "0.75"),
        "fewer": run("fewer", table="fewer.csv"),
        "other": run("other", "--arch", "stc"),
    }


def compare(*arguments):
    return crispsim(["compare", *map(str, arguments)])


def rows_of(folder):
    with (folder / "results.csv").open() as file:
        return {(row["arch"], row["layer"]): row for row in csv.DictReader(file)}


def printed(a, b, width, most=15, pairs=None):
    file = io.StringIO()
    runs = read_run(a), read_run(b)
    comparison = compare_runs(*runs, choose_pairs(*runs, pairs=pairs) if pairs else None)
    print_comparison(comparison, Terminal(width=width, file=file), most)
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 200])
def test_no_number_is_cropped_whatever_the_width(width, folders):
    text = printed(folders["base"], folders["slow"], width)
    assert "…" not in text.replace("a layer with a …f layers become", "")  # the only name that is shortened
    a, b = rows_of(folders["base"]), rows_of(folders["slow"])
    for key, row in a.items():
        assert f"{int(row['cycles']):,}" in text
        assert f"{int(b[key]['cycles']):,}" in text
        energy = float(b[key]["energy_uj"])
        assert f"{energy:#.4g}" in text
    assert "x12" in text


def test_what_changed_is_said(folders, capsys):
    assert compare(folders["base"], folders["slow"]) == 0
    text = capsys.readouterr().out
    for line in text.splitlines():
        if line.split()[:1] == ["machine.smem.read_bytes_per_cycle"]:
            assert line.split() == ["machine.smem.read_bytes_per_cycle", "64", "16", "all"]
            break
    else:
        raise AssertionError(text)
    a, b = (json.loads((folders[name] / "summary.json").read_text())["totals"] for name in ("base", "slow"))
    for arch in ("dense", "crisp-stc", "dstc"):
        ratio = b[arch]["cycles"] / a[arch]["cycles"]
        assert f"{b[arch]['cycles']:,}" in text
        assert f"{ratio:.3f}x" in text
        assert f"{100 * (ratio - 1):+,.1f}%" in text
        assert f"Layers on {arch}" in text
    assert "stall_smem +" in text
    assert "energy, uJ" in text
    assert "comparable" not in text


def test_runs_alike_have_no_differences(folders, capsys):
    assert compare(folders["base"], folders["again"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:2] for line in lines[:4]] == ["A:", "  ", "B:", "  "]
    assert lines[1] == lines[3] == f"   {read_run(folders['base']).machine_line}"
    assert lines[4:] == ["no differences"]


def test_at_most_so_many_layers(folders, capsys):
    asked = [folders["base"], folders["slow"], "--arch", "crisp-stc"]
    assert compare(*asked, "--layers", "1") == 0
    text = capsys.readouterr().out
    assert "a layer with a" in text  # twelve calls
    assert "third" not in text
    assert "and 3 more changed" in text
    assert compare(*asked, "--layers", "0") == 0
    text = capsys.readouterr().out
    assert "third" in text
    assert "more" not in text


def test_layers_unchanged_are_counted(folders, capsys):
    """Another pattern changes neither the head, dense by rule, nor anything about it."""
    assert compare(folders["base"], folders["sparse"], "--arch", "crisp-stc") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "and 1 more unchanged" in text
    assert "* another shape or pattern in B: cycles are not comparable one to one; " in text
    assert "block 32 -> 64 (3 layers)" in text
    assert "first*" in text
    assert compare(folders["base"], folders["sparse"], "--arch", "crisp-stc", "--layers", "0") == 0
    assert " head " in " ".join(capsys.readouterr().out.split())


def test_layers_with_another_pattern_and_equal_numbers_are_counted(folders, capsys):
    """Dense takes no notice of the pattern."""
    asked = [folders["base"], folders["sparse"], "--arch", "dense"]
    assert compare(*asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Layers on dense: 3 with another pattern and equal numbers, 1 unchanged" in lines
    assert not [line for line in lines if line.split()[:1] in (["first*"], ["*"])]
    assert compare(*asked, "--layers", "0") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.split()[:1] in (["first*"], ["third*"], ["head"])] == [
        "first*", "third*", "head",
    ]  # fmt: skip
    assert "of them 3 with another pattern and equal numbers" in lines
    assert any(line.startswith("* another shape or pattern in B") for line in lines)


def test_layers_of_only_one_run_are_named(folders, capsys):
    assert compare(folders["base"], folders["fewer"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "layers only in A, in its totals nevertheless: third, head of" not in text
    assert "layers only in A, in its totals nevertheless: third, head" in text
    assert "layers only in B, in its totals nevertheless: last" in text


def test_different_clocks_are_said(folders, capsys):
    """The cycles are the same, however long."""
    said = "A and B have different clocks: cycles are compared as such, however long; what differs in time is"
    assert compare(folders["base"], folders["fast"], "--arch", "dense") == 0
    text = capsys.readouterr().out
    assert said in " ".join(text.split())
    rows = {line.split()[0]: line.split()[-2:] for line in text.partition("Layers on")[0].splitlines() if line.split()}
    assert rows["cycles"] == ["=", "="]
    assert rows["latency,"] == ["0.500x", "-50.0%"]
    assert compare(folders["base"], folders["slow"]) == 0
    assert "clocks" not in capsys.readouterr().out


def test_energy_that_one_lacks_is_left_out(folders, capsys):
    assert compare(folders["slow"], folders["no energy"]) == 0
    text = capsys.readouterr().out
    assert "energy.table" in text
    assert "no differences in the results of 4 layers" in text
    assert compare(folders["base"], folders["no energy"]) == 0
    text = capsys.readouterr().out
    assert "energy is not compared: B was run without an energy table" in text
    assert "uJ" not in text


def test_architectures_of_other_names(folders, capsys):
    assert compare(folders["base"], folders["other"]) == 2
    assert "no architecture in common" in capsys.readouterr().err
    assert compare(folders["base"], folders["other"], "--pair", "crisp-stc=stc") == 0
    text = capsys.readouterr().out
    assert "Layers on crisp-stc=stc" in text
    assert "Layers on dense" not in text


def test_json_is_the_only_thing_on_standard_output(folders, capsys):
    assert compare(folders["base"], folders["slow"], "--json", "--layers", "1") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["identical"] is False
    assert {row["key"] for row in document["configuration"]} == {
        "machine.smem.read_bytes_per_cycle", "machine.smem.write_bytes_per_cycle",
    }  # fmt: skip
    assert [len(arch["layers"]) for arch in document["archs"]] == [4, 4, 4]


def test_the_csv_has_a_row_a_layer_and_architecture(folders, tmp_path, capsys):
    out = tmp_path / "layers.csv"
    out.write_text("of before")
    assert compare(folders["base"], folders["slow"], "--out", str(out), "--layers", "1") == 0
    assert f"wrote {out}" in capsys.readouterr().out
    with out.open() as file:
        rows = list(csv.DictReader(file))
    a, b = rows_of(folders["base"]), rows_of(folders["slow"])
    assert [(row["arch_a"], row["layer"]) for row in rows] == sorted(a, key=lambda key: list(a).index(key) % 3)
    for row in rows:
        key = row["arch_a"], row["layer"]
        assert (row["cycles_a"], row["cycles_b"]) == (a[key]["cycles"], b[key]["cycles"])
        assert float(row["cycles_ratio"]) == pytest.approx(int(b[key]["cycles"]) / int(a[key]["cycles"]))
        assert float(row["energy_uj_b"]) == pytest.approx(float(b[key]["energy_uj"]), rel=1e-14)
    assert [file.name for file in tmp_path.iterdir()] == ["layers.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "base"], "nowhere: not a run's folder: there is no such folder"),
        (["base", "a file"], "a file: not a run's folder: it is a file"),
        (["empty", "base"], "empty: not a run's folder: results.csv is missing"),
        (["base", "half"], "half: not a run's folder: config.toml is missing"),
        (["base", "broken"], "broken: not a run's folder: "),
        (["base", "slow", "--arch", "stc"], "--arch stc: not in"),
        (["base", "slow", "--pair", "stc"], "--pair stc: must be A_NAME=B_NAME"),
        (["base", "slow", "--layers", "-1"], "-1 is not in the range"),
        (["base", "slow", "--layers", "x"], "'x' is not a valid integer"),
        (["base", "slow", "--out", "."], "is there and no file"),
        (["base"], "Missing argument 'DIR_B'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, folders, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, left_out in (("half", "config.toml"), ("broken", None)):
        (tmp_path / folder).mkdir()
        for name in ("results.csv", "summary.json", "config.toml"):
            if name != left_out:
                (tmp_path / folder / name).write_bytes((folders["base"] / name).read_bytes())
    (tmp_path / "broken" / "summary.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").write_text("no run")
    assert compare(*(folders.get(word, word) for word in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("crispsim: ")
    assert message in line


def test_help_has_an_example(capsys):
    assert compare("--help") == 0
    assert "Example: crispsim compare" in capsys.readouterr().out
