"""Two runs side by side: what differs, totals, layers and what explains their changes, from runs really simulated."""

import json
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import tomli_w

from crispsim.bench.compare import choose_pairs, compare_runs, json_of, write_csv
from crispsim.bench.run_folder import RunRecord, read_run, write_run
from crispsim.bench.whole_files import check_file
from crispsim.sim import InputError, Layer, load_arch, simulate
from crispsim.sim.energy import load_table

CAUSES = ("busy", "stall_drain", "stall_smem", "stall_rf", "stall_sync", "idle")
ARCHS = ("dense", "crisp-stc", "dstc")


def gemm(name, p, s=64, k=256, **more):
    sizes = {"in_height": p, "in_width": 1, "kernel_h": 1, "kernel_w": 1, "in_channels": k, "out_channels": s}
    return Layer(name=name, kind="gemm", **sizes, **more)


NETWORK = (gemm("first", 40), gemm("second", 20, calls=3), gemm("third", 12, k=512, activation_sparsity=0.5))


def write(folder, layers=NETWORK, archs=ARCHS, overrides=None, energy: str | None = "horowitz45", block=32, seed=0):
    specs = [load_arch(name, "edge", overrides or {}) for name in archs]
    options = {"nm": "2:4", "block": block, "sparsity": 0.75, "all_layers": True}
    results = simulate(
        list(layers), specs, nm="2:4", block=block, sparsity=0.75, all_layers=True, seed=seed, energy=energy
    )
    record = RunRecord(
        command=f"crispsim run --out {folder}", versions={"crispsim": "0.1.0"}, seed=seed, options=options, inputs=(),
        specs=tuple(specs), energy=None if energy is None else load_table(energy),
    )  # fmt: skip
    write_run(folder, results, record)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Runs that differ in one thing each."""
    root = tmp_path_factory.mktemp("runs")
    slow = {"smem.bytes_per_cycle": 16}
    return {
        "base": write(root / "base"),
        "again": write(root / "again"),
        "slow": write(root / "slow", overrides=slow),
        "two cores": write(root / "two", overrides={"core.count": 2}),
        "no energy": write(root / "none", overrides=slow, energy=None),
        "other node": write(root / "node", energy="horowitz22"),
        "layers": write(root / "layers", (NETWORK[0], gemm("third", 12), gemm("fourth", 9))),
        "block": write(root / "block", block=64),
        "two": write(root / "other", archs=("stc", "dense")),
    }


@pytest.fixture(scope="module")
def runs(folders):
    return {name: read_run(folder) for name, folder in folders.items()}


@pytest.mark.parametrize("name", ["base", "slow", "two cores", "layers"])
def test_totals_are_sums_over_calls(name, runs):
    comparison = compare_runs(runs["base"], runs[name])
    for arch in comparison.archs:
        for side, run in (("a", runs["base"]), ("b", runs[name])):
            rows = pd.read_csv(run.path / "results.csv")
            rows = rows[rows["arch"] == arch.a]
            for key, change in arch.totals.items():
                column = f"{key.removeprefix('core_cycles.')}_core_cycles" if key.startswith("core_cycles") else key
                if key in ("speedup", "utilization", "energy_gain", "edp_uj_us") or key.startswith("tops"):
                    continue
                assert getattr(change, side) == pytest.approx((rows[column] * rows["calls"]).sum(), rel=1e-12), key
            sums = {key: (rows[key] * rows["calls"]).sum() for key in ("energy_uj", "latency_us", "cycles")}
            assert getattr(arch.totals["edp_uj_us"], side) == pytest.approx(sums["energy_uj"] * sums["latency_us"])
            dense = pd.read_csv(run.path / "results.csv").query("arch == 'dense'")
            gain = (dense["energy_uj"] * dense["calls"]).sum() / sums["energy_uj"]
            assert getattr(arch.totals["energy_gain"], side) == pytest.approx(gain)
            speedup = (dense["cycles"] * dense["calls"]).sum() / sums["cycles"]
            assert getattr(arch.totals["speedup"], side) == pytest.approx(speedup)


@pytest.mark.parametrize("name", ["slow", "two cores"])
def test_changes_of_layers_and_what_explains_them(name, runs):
    """Recomputed from the two results.csv alone."""
    comparison = compare_runs(runs["base"], runs[name])
    a, b = (pd.read_csv(runs[run].path / "results.csv").set_index(["arch", "layer"]) for run in ("base", name))
    cores = {"base": 4, "slow": 4, "two cores": 2}
    assert [arch.label for arch in comparison.archs] == list(ARCHS)
    seen = 0
    for arch in comparison.archs:
        assert list(arch.layers["layer"]) == [layer.name for layer in NETWORK]
        for row in arch.layers.to_dict(orient="records"):
            one, other = a.loc[(arch.a, row["layer"])], b.loc[(arch.b, row["layer"])]
            for column in ("cycles", "smem_read_bytes", "energy_uj", "rf_uj", "stall_smem_core_cycles", "speedup"):
                assert (row[f"{column}_a"], row[f"{column}_b"]) == (one[column], other[column])
                if one[column]:
                    assert row[f"{column}_ratio"] == pytest.approx(other[column] / one[column])
                else:
                    assert pd.isna(row[f"{column}_ratio"])
            change = other["cycles"] - one["cycles"]
            assert row["cycles_change"] == change
            if not change:
                assert all(pd.isna(row[f"{cause}_share"]) for cause in CAUSES)
                continue
            seen += 1
            for cause in CAUSES:
                column = f"{cause}_core_cycles"
                explained = other[column] / cores[name] - one[column] / cores["base"]
                assert row[f"{cause}_share"] == pytest.approx(explained / change, abs=1e-12)
            assert sum(row[f"{cause}_share"] for cause in CAUSES) == pytest.approx(1)
    assert seen >= 6


def test_the_largest_change_of_the_network_comes_first(runs):
    for arch in compare_runs(runs["base"], runs["slow"]).archs:
        rows = arch.by_change()
        changes = [abs(row["cycles_b"] - row["cycles_a"]) * row["calls_a"] for row in rows.to_dict(orient="records")]
        assert changes == sorted(changes, reverse=True)
        assert changes[0] > 0
    rows = compare_runs(runs["base"], runs["slow"]).archs[0].by_change().set_index("layer")
    assert rows.index[0] == "second"  # three calls, each of which changed less than the one of `first`
    changes = dict(zip(rows.index, rows["cycles_change"], strict=True))
    assert changes["second"] < changes["first"]


def test_unchanged_layers_come_last(runs, tmp_path):
    layers = (NETWORK[0], NETWORK[1], gemm("third", 12, k=512, activation_sparsity=0.25))
    other = read_run(write(tmp_path / "run", layers))
    comparison = compare_runs(runs["base"], other)
    for arch in comparison.archs:
        rows = arch.by_change()
        assert rows.iloc[0]["layer"] == "third"
        assert list(rows["changed"] | rows["pattern_only"]) == [True, False, False]
        assert bool(rows.iloc[0]["changed"]) == (arch.a == "dstc")  # the others take no notice of zeros in inputs
        assert rows.iloc[0]["differs"] == "activation_sparsity"
    assert not comparison.configuration
    assert not comparison.identical


def test_the_same_run_twice_is_identical(runs):
    comparison = compare_runs(runs["base"], runs["again"])
    assert comparison.identical
    assert comparison.configuration == []
    assert json_of(comparison)["identical"] is True
    assert not compare_runs(runs["base"], runs["slow"]).identical


def settings(comparison):
    return {difference.key: (difference.a, difference.b, difference.archs) for difference in comparison.configuration}


def test_a_machine_field_of_all_architectures_is_told_once(runs):
    found = settings(compare_runs(runs["base"], runs["two cores"]))
    assert found == {"machine.core.count": (4, 2, ARCHS)}
    found = settings(compare_runs(runs["base"], runs["slow"]))
    assert found["machine.smem.read_bytes_per_cycle"] == (64, 16, ARCHS)
    assert found["machine.smem.write_bytes_per_cycle"] == (64, 16, ARCHS)
    assert settings(compare_runs(runs["base"], runs["block"])) == {"options.block": (32, 64, ())}


def edited(folder, target, change):
    """A copy of a run's folder with its config.toml changed."""
    target.mkdir()
    for name in ("results.csv", "summary.json"):
        (target / name).write_bytes((folder / name).read_bytes())
    config = tomllib.loads((folder / "config.toml").read_text())
    change(config)
    (target / "config.toml").write_text(tomli_w.dumps(config))
    return read_run(target)


def test_settings_inputs_and_masks_are_told(folders, tmp_path):
    def first(config):
        config["input"] = [{"path": "net.csv", "sha256": "1" * 64}]
        config["options"]["layer_csv"] = "net.csv"

    def second(config):
        config["input"] = [{"path": "other.csv", "sha256": "2" * 64}, {"path": "more.csv"}]
        config["options"] |= {"layer_csv": "other.csv", "weights": "w.safetensors"}
        config["seed"] = 7
        config["versions"]["crispsim"] = "0.2.0"
        config["arch"][1]["masks"] = "unstructured"
        config["arch"][1]["machine"]["rf"]["bytes"] = 2048

    a, b = edited(folders["base"], tmp_path / "a", first), edited(folders["base"], tmp_path / "b", second)
    comparison = compare_runs(a, b)
    assert settings(comparison) == {
        "seed": (0, 7, ()),
        "versions.crispsim": ("0.1.0", "0.2.0", ()),
        "options.weights": (None, "w.safetensors", ()),
        "input 1.path": ("net.csv", "other.csv", ()),  # not again as options.layer_csv
        "input 1.sha256": ("1" * 64, "2" * 64, ()),
        "input 2.path": (None, "more.csv", ()),
        "masks": ("given", "unstructured", ("crisp-stc",)),
        "machine.rf.bytes": (1024, 2048, ("crisp-stc",)),
    }
    assert not comparison.identical  # though no number differs
    assert all(arch.identical for arch in comparison.archs)


def test_another_energy_table_is_told_with_its_figures(runs):
    comparison = compare_runs(runs["base"], runs["other node"])
    found = settings(comparison)
    assert found["energy.table"] == ("horowitz45", "horowitz22", ())
    assert found["energy.node_nm"][:2] == (45, 22)
    one, other = (
        {part["part"]: part for part in runs[name].summary["energy"]["memories"]["dense"]}
        for name in ("base", "other node")
    )
    assert found["memory.smem.read_pj"] == (one["smem"]["read_pj"], other["smem"]["read_pj"], ARCHS)
    assert set(found["memory.accumulator.read_pj"][2]) == {"dstc"}
    for arch in comparison.archs:
        assert arch.totals["energy_uj"].a > arch.totals["energy_uj"].b
        assert arch.totals["cycles"].a == arch.totals["cycles"].b
        assert all(arch.layers["changed"])


@pytest.mark.parametrize("order", [("base", "no energy"), ("no energy", "base"), ("no energy", "no energy")])
def test_without_energy_in_one_it_is_left_out(order, runs):
    comparison = compare_runs(*(runs[name] for name in order))
    without = [name for name, run in zip("AB", order, strict=True) if run == "no energy"]
    assert comparison.energy_not_compared is not None
    assert comparison.energy_not_compared.startswith(" and ".join(without) + " w")
    for arch in comparison.archs:
        assert not [name for name in (*arch.layers.columns, *arch.totals) if "uj" in name or "energy" in name]
        assert "cycles" in arch.totals
    energy = [difference.key for difference in comparison.configuration if "energy" in difference.key]
    assert energy == ([] if order[0] == order[1] else ["energy.table"])


def test_layers_of_only_one_run(runs):
    comparison = compare_runs(runs["base"], runs["layers"])
    for arch in comparison.archs:
        assert arch.only_in("a") == ["second"]
        assert arch.only_in("b") == ["fourth"]
        assert list(arch.layers["layer"]) == ["first", "second", "third", "fourth"]
        rows = arch.layers.set_index("layer")
        assert list(rows["in"]) == ["both", "a", "both", "b"]
        assert pd.isna(rows.loc["second", "cycles_b"])
        assert pd.isna(rows.loc["fourth", "cycles_a"])
        assert rows.loc["third", "differs"].split()[:1] == ["k"]  # 512 and 256
        assert rows.loc["first", "differs"] == ""
        assert arch.by_change()["layer"].iloc[0] == "third"
        assert len(arch.by_change()) == 2


def test_another_pattern_is_flagged(runs):
    comparison = compare_runs(runs["base"], runs["block"])
    flagged = {arch.a: set(arch.layers["differs"]) for arch in comparison.archs}
    assert flagged["crisp-stc"] == {"block"}  # 0.75 asked is 0.75 with both
    assert flagged["dstc"] == {""}  # given unstructured weights, of the same sparsity
    row = comparison.archs[1].layers.iloc[0]
    assert (row["block_a"], row["block_b"]) == ("32", "64")


def test_layers_whose_pattern_alone_changed(runs, tmp_path):
    """By another block size or other random weights: dense does the same work."""
    reseeded = read_run(write(tmp_path / "seed", seed=1))
    for other in (runs["block"], reseeded):
        dense = compare_runs(runs["base"], other).archs[0]
        assert set(dense.layers["pattern_only"]) == {True} and set(dense.layers["changed"]) == {False}
        assert not dense.identical
        assert json_of(compare_runs(runs["base"], other))["identical"] is False
        for row in dense.layers.to_dict(orient="records"):
            assert row["macs_effectual_a"] != row["macs_effectual_b"]
            assert (row["cycles_ratio"], row["energy_uj_ratio"], row["cycles_change"]) == (1, 1, 0)
    dual = compare_runs(runs["base"], reseeded).archs[2]
    assert set(dual.layers["changed"]) == {True} and set(dual.layers["pattern_only"]) == {False}
    dense, crisp, _ = compare_runs(runs["base"], runs["block"]).archs
    assert set(dense.layers["differs"]) == {"block"}
    assert set(crisp.layers["changed"]) == {True}  # weights lie elsewhere
    slow = compare_runs(runs["base"], runs["slow"]).archs[0].layers
    assert set(slow["changed"]) == {True} and set(slow["pattern_only"]) == {False}
    one = compare_runs(runs["base"], runs["layers"]).archs[0].layers
    assert list(one["pattern_only"]) == [False] * 4 and list(one["changed"]) == [False, True, True, True]


def test_a_name_given_twice_is_matched_by_its_occurrence(folders, tmp_path):
    """Not written by `crispsim run`, which renames; but nothing of it may be lost."""
    for name, run in (("a", "base"), ("b", "slow")):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("summary.json", "config.toml"):
            (folder / file).write_bytes((folders[run] / file).read_bytes())
        text = (folders[run] / "results.csv").read_text()
        (folder / "results.csv").write_text(text.replace("\nsecond,", "\nfirst,"))
    found = compare_runs(read_run(tmp_path / "a"), read_run(tmp_path / "b")).archs[0].layers
    expected = compare_runs(read_run(folders["base"]), read_run(folders["slow"])).archs[0].layers
    assert list(found["layer"]) == ["first", "first", "third"]
    pd.testing.assert_frame_equal(found.drop(columns="layer"), expected.drop(columns="layer"))


def test_architectures_of_one_run_are_named(runs):
    comparison = compare_runs(runs["base"], runs["two"])
    assert [arch.label for arch in comparison.archs] == ["dense"]
    assert (comparison.only_a, comparison.only_b) == (["crisp-stc", "dstc"], ["stc"])
    assert not comparison.identical  # though dense is
    asked = compare_runs(runs["base"], runs["two"], choose_pairs(runs["base"], runs["two"], ["dense"]))
    assert (asked.only_a, asked.only_b, asked.identical) == ([], [], True)


def test_pairs_of_other_names(runs):
    pairs = choose_pairs(runs["base"], runs["two"], ["dense"], ["crisp-stc=stc", "dense=dense"])
    assert pairs == [("dense", "dense"), ("crisp-stc", "stc")]
    arch = compare_runs(runs["base"], runs["two"], pairs).archs[1]
    assert arch.label == "crisp-stc=stc"
    rows = pd.read_csv(runs["two"].path / "results.csv").query("arch == 'stc'")
    assert list(arch.layers["cycles_b"]) == list(rows["cycles"])
    assert settings(compare_runs(runs["base"], runs["two"], pairs))["arch"] == ("crisp-stc", "stc", ("crisp-stc=stc",))


@pytest.mark.parametrize(
    ("archs", "pairs", "message"),
    [
        (["nothing"], [], "--arch nothing: not in"),
        (["stc"], [], "--arch stc: not in"),  # only in B
        ([], ["dense"], "--pair dense: must be A_NAME=B_NAME"),
        ([], ["stc=dense"], "--pair stc=dense: must name one of dense, crisp-stc, dstc"),
    ],
)
def test_names_that_are_not_there_are_refused(archs, pairs, message, runs):
    with pytest.raises(InputError) as caught:
        choose_pairs(runs["base"], runs["two"], archs, pairs)
    assert str(caught.value).startswith(message)


def test_runs_without_a_common_architecture_are_refused(runs, tmp_path):
    other = read_run(write(tmp_path / "stc", archs=("stc",)))
    with pytest.raises(InputError, match="no architecture in common"):
        compare_runs(runs["base"], other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="stall_smem_core_cycles"), "'stall_smem_core_cycles' is missing"),
        (lambda rows: rows.assign(cycles="many"), "'cycles': must hold numbers only"),
        (lambda rows: rows.assign(cycles=0), "must be at least 1"),
        (lambda rows: rows.assign(energy_uj=float("inf")), "'energy_uj': must hold numbers only"),
    ],
)
def test_results_that_no_run_wrote_are_refused(change, message, folders, runs, tmp_path):
    for name in ("summary.json", "config.toml"):
        (tmp_path / name).write_bytes((folders["base"] / name).read_bytes())
    change(pd.read_csv(folders["base"] / "results.csv")).to_csv(tmp_path / "results.csv", index=False)
    with pytest.raises(InputError) as caught:
        compare_runs(runs["base"], read_run(tmp_path))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_the_csv_reads_back_as_it_was(runs, tmp_path):
    comparison = compare_runs(runs["base"], runs["layers"])
    path = tmp_path / "made" / "layers.csv"
    write_csv(path, comparison)
    assert [file.name for file in path.parent.iterdir()] == ["layers.csv"]
    read: pd.DataFrame = pd.read_csv(path)
    assert len(read) == 4 * len(ARCHS)
    wanted = comparison.layers
    assert list(read.columns) == list(wanted.columns)
    for name in wanted.columns:
        if name.endswith(("_ratio", "_share")):
            values = [[float(value) for value in table[name]] for table in (read, wanted.fillna(float("nan")))]
            assert values[0] == pytest.approx(values[1], rel=1e-14, nan_ok=True)
    first = path.read_text().splitlines()[1].split(",")
    columns = list(read.columns)
    assert first[columns.index("cycles_a")] == str(wanted["cycles_a"].iloc[0])  # an integer stays one
    assert read.loc[read["in"] == "a", "cycles_b"].isna().all()


def test_json_holds_every_layer_and_no_nan(runs):
    comparison = compare_runs(runs["base"], runs["layers"])
    document = json.loads(json.dumps(json_of(comparison), allow_nan=False))
    assert [arch["a"] for arch in document["archs"]] == list(ARCHS)
    for arch, made in zip(document["archs"], comparison.archs, strict=True):
        assert [row["layer"] for row in arch["layers"]] == ["first", "second", "third", "fourth"]
        assert arch["layers_only_in_a"] == ["second"]
        assert arch["layers"][1]["cycles_b"] is None
        assert arch["layers"][0]["cycles_a"] == made.layers["cycles_a"].iloc[0]
        assert arch["totals"]["cycles"]["ratio"] == made.totals["cycles"].b / made.totals["cycles"].a


def test_a_file_that_cannot_be_written_is_refused(folders, runs, tmp_path):
    (tmp_path / "file").write_text("mine")
    taken = [*runs["base"].files, *runs["slow"].files]
    for path, message in {
        tmp_path: "is there and no file",
        tmp_path / "file" / "x.csv": "is a file; give a path in a folder",
        folders["slow"] / "results.csv": "is a file of a run",
        folders["slow"] / ".." / "base" / "config.toml": "is a file of a run",
        Path("/dev/null"): "is there and no file",
    }.items():
        with pytest.raises(InputError, match=message):
            check_file(path, taken)
    check_file(tmp_path / "new" / "x.csv", taken)
    assert not (tmp_path / "new").exists()


def test_a_csv_that_fails_leaves_the_old_one(runs, tmp_path, monkeypatch):
    path = tmp_path / "layers.csv"
    path.write_text("old")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(InputError, match="cannot write: No space left on device"):
        write_csv(path, compare_runs(runs["base"], runs["slow"]))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("layers.csv", "old")]
