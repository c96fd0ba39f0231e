"""From a command line to masks that the simulator runs: prune, what stands in the folder, run; what is refused."""

import csv
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from crispsim.bench.pruned_folder import FILES
from crispsim.cli.main import run_command as crispsim
from crispsim.formats import read_model
from crispsim.prune.models import resnet_tiny
from crispsim.sim import read_layers
from tests.reference.packed_check import check_packed

MODEL = ["--model", "crispsim.prune.models:resnet_tiny"]
SMALL = ["--data", "digits", *MODEL, "--classes", "1,3,7", "--block", "16", "--samples-per-class", "32"]


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """A network pruned to 80% in 3 iterations, 4 epochs."""
    folder = tmp_path_factory.mktemp("prune") / "out"
    options = ["--sparsity", "0.8", "--steps", "3", "--epochs", "4", "--activations", "mask"]
    assert crispsim(["prune", *SMALL, *options, "--out", str(folder), "--quiet"]) == 0
    return folder


def report(folder):
    return json.loads((folder / "report.json").read_text())


def test_the_folder_is_complete(pruned):
    assert {path.name for path in pruned.iterdir()} == {*FILES, "checkpoint.pt"}


def test_the_file_keeps_what_was_promised(pruned):
    found = check_packed(pruned / "model.safetensors")
    assert found.violations == []
    assert [layer.name for layer in found.layers if not layer.patterned] == ["stem.0", "fc"]
    assert Fraction(8, 10) <= found.sparsity < Fraction(8, 10) + Fraction(found.rank_column, found.weights)
    totals = report(pruned)["totals"]["prunable"]
    assert (totals["weights"], totals["kept_weights"]) == (found.weights, found.slots)


def test_the_checkpoint_is_a_plain_network_with_these_weights_and_masks(pruned):
    network = resnet_tiny(num_classes=3, in_channels=1)
    network.load_state_dict(torch.load(pruned / "checkpoint.pt", weights_only=True)["model"])
    masks = load_file(pruned / "masks.safetensors")
    packed = {layer.name: layer for layer in check_packed(pruned / "model.safetensors").layers}
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    assert len(masks) == 8
    for name, mask in masks.items():
        assert mask.dtype == bool
        assert not state[name][~mask].any()
        rows = state[name].transpose(0, 2, 3, 1).reshape(len(mask), -1)
        np.testing.assert_array_equal(packed[name.removesuffix(".weight")].matrices[0], rows)
        assert int(mask.sum()) == packed[name.removesuffix(".weight")].slots


def test_the_tables_say_what_the_masks_say(pruned):
    masks = load_file(pruned / "masks.safetensors")
    rows = list(csv.DictReader((pruned / "sparsity.csv").open()))
    layers = read_layers(pruned / "layers.csv")
    assert [row["layer"] for row in rows] == [layer.name for layer in layers]
    kept = {name.removesuffix(".weight"): int(mask.sum()) for name, mask in masks.items()}
    for row, layer in zip(rows, layers, strict=True):
        assert (int(row["s"]), int(row["k"]), int(row["p"])) == (layer.s, layer.k, layer.p)
        assert int(row["kept_weights"]) == kept.get(row["layer"], layer.weights)
        assert int(row["macs_kept"]) == int(row["kept_weights"]) * layer.p
        assert float(row["sparsity"]) == pytest.approx(1 - int(row["kept_weights"]) / layer.weights)
    network = report(pruned)["totals"]["network"]
    assert network["flops_ratio"] == pytest.approx(
        sum(int(row["macs_kept"]) for row in rows) / sum(layer.macs for layer in layers)
    )
    history = list(csv.DictReader((pruned / "history.csv").open()))
    assert [int(row["epoch"]) for row in history] == [1, 2, 3, 4]
    sparsities = [float(row["sparsity"]) for row in history]
    assert sparsities == sorted(sparsities)
    assert sparsities[-1] == pytest.approx(report(pruned)["totals"]["prunable"]["sparsity"])


def test_accuracy_is_of_the_test_images_of_the_classes(pruned):
    found = report(pruned)["accuracy"]
    assert found["test"]["images"] == 107
    network = resnet_tiny(num_classes=3, in_channels=1).eval()
    network.load_state_dict(torch.load(pruned / "checkpoint.pt", weights_only=True)["model"])
    from crispsim.prune.data import load_data

    images = load_data("digits").test.subset((1, 3, 7))
    with torch.no_grad():
        right = (network(images.batch(torch.arange(len(images)))).argmax(1) == images.targets).sum()
    assert found["test"]["after"] == pytest.approx(int(right) / 107)


def test_the_simulator_runs_it_on_its_own_masks(pruned, tmp_path, capsys):
    out = tmp_path / "run"
    assert crispsim(["run", "--weights", str(pruned / "model.safetensors"), "--out", str(out), "--quiet"]) == 0
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert {row["arch"] for row in rows} == {"dense", "stc", "dstc", "crisp-stc"}
    own = {row["layer"]: float(row["sparsity"]) for row in csv.DictReader((pruned / "sparsity.csv").open())}
    samples = {layer.name: layer for layer in read_model(pruned / "model.safetensors").layers}
    for row in rows:
        if row["arch"] == "crisp-stc":
            # A kept weight may happen to be 0; none does after training.
            assert float(row["weight_sparsity"]) == pytest.approx(own[row["layer"]], abs=1e-9)
            mask = samples[row["layer"]].activations
            zeros = 1 - np.unpackbits(mask).sum() / (np.prod(mask.shape[:2]) * samples[row["layer"]].in_channels)
            assert float(row["activation_sparsity"]) == pytest.approx(zeros, abs=1e-9)
    table = ["--layer-csv", str(pruned / "layers.csv"), "--weights", str(pruned / "model.safetensors")]
    assert crispsim(["run", *table, "--out", str(tmp_path / "both"), "--quiet"]) == 0
    assert (tmp_path / "both" / "results.csv").read_text() == (out / "results.csv").read_text()


def test_resuming_a_finished_run_writes_the_same_files(pruned, capsys):
    before = {name: (pruned / name).read_bytes() for name in FILES}
    options = ["--sparsity", "0.8", "--steps", "3", "--epochs", "4", "--activations", "mask"]
    assert crispsim(["prune", *SMALL, *options, "--out", str(pruned), "--resume"]) == 0
    text = capsys.readouterr().out
    assert "prunable layers" in text and "accuracy among 1, 3, 7" in text
    for name in FILES:
        if name != "report.json":  # it has the seconds of this process
            assert (pruned / name).read_bytes() == before[name]


def test_dense_and_its_halves_are_patterns_too(tmp_path):
    for name, pattern, kinds in (
        ("dense", ["--nm", "dense", "--block", "none", "--sparsity", "0"], {"dense"}),
        ("nm", ["--nm", "1:4", "--block", "none"], {"dense", "nm"}),
        ("block", ["--nm", "dense", "--block", "16", "--sparsity", "0.5"], {"dense", "block"}),
    ):
        few = ["--data", "digits", *MODEL, "--num-classes", "3", "--samples-per-class", "8"]
        options = ["--epochs", "1", "--steps", "1", "--out", str(tmp_path / name), "--quiet"]
        assert crispsim(["prune", *few, *pattern, *options]) == 0
        assert check_packed(tmp_path / name / "model.safetensors").violations == []
        rows = csv.DictReader((tmp_path / name / "sparsity.csv").open())
        found = {
            {(True, True): "dense", (False, True): "nm", (True, False): "block"}[
                row["nm"] == "dense", row["block"] == "none"
            ]
            for row in rows
        }
        assert found <= kinds
        assert found >= kinds - {"dense"}


def test_a_universal_network_is_trained_and_personalised(tmp_path, capsys):
    universal = tmp_path / "universal.pt"
    train = ["pretrain", *MODEL, "--data", "digits", "--epochs", "2", "--out", str(universal)]
    assert crispsim(train) == 0
    assert "accuracy over 10 classes" in capsys.readouterr().out
    assert json.loads(universal.with_suffix(".json").read_text())["accuracy"]["test"] > 0.3
    assert crispsim(train) == 2
    assert "is there; --resume goes on, --overwrite begins anew" in capsys.readouterr().err
    history = tmp_path / "met.txt"
    history.write_text("3\n5\n5\n1\n3\n5\n")
    user = ["--class-history", str(history), "--window", "5", "--num-classes", "2"]
    options = ["--checkpoint", str(universal), *user, "--epochs", "0", "--steps", "1", "--block", "16"]
    out = tmp_path / "out"
    command = ["prune", *MODEL, "--data", "digits", *options, "--sparsity", "0.7", "--out", str(out), "--json"]
    assert crispsim(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in said["classes"]] == ["5", "3"]
    assert said["accuracy"]["test"]["before"] > 0.5


BAD = [
    (["--classes", "1,3,30"], "class '30'"),
    (["--classes", "1,3", "--sparsity", "0.4"], "sparsity 0.4: 2:4 alone already prunes 0.5"),
    (["--classes", "1,3", "--sparsity", "0.999"], "these layers can be pruned to"),
    (["--classes", "1,3", "--nm", "5:4"], "pattern 5:4"),
    (["--classes", "1,3", "--block", "18"], "block 18: must be a multiple of M = 4"),
    (["--classes", "1,3", "--exclude", "layer9*"], "layer9*"),
    (["--classes", "1,3", "--data", "digit"], "digit"),
    (["--classes", "1,3", "--data", "imagefolder:nowhere"], "nowhere"),
    (["--classes", "1,3", "--model", "crispsim.prune.models:resnet99"], "resnet99"),
    (["--classes", "1,3", "--model-arg", "width"], "--model-arg 'width': must be KEY=VALUE"),
    (["--classes", "1,3", "--checkpoint", "nowhere.pt"], "nowhere.pt"),
    (["--classes", "1,3", "--learning-rate", "-1"], "learning_rate"),
    (["--classes", "1,3", "--device", "tpu"], "tpu"),
    (["--classes", "1,3", "--resume", "--overwrite"], "give one of them"),
    ([], "classes"),
]


@pytest.mark.parametrize(("options", "said"), BAD)
def test_bad_input_is_one_line_and_writes_nothing(options, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fixed = ["--data", "digits", *MODEL, "--block", "16", "--sparsity", "0.8", "--epochs", "1", "--out", "out"]
    assert crispsim(["prune", *fixed, *options]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("crispsim: ") and said in line
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_run_is_not_written_over(tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "checkpoint.pt").write_text("mine")
    assert crispsim(["prune", *SMALL, "--out", str(out)]) == 2
    assert "holds checkpoint.pt of an earlier run" in capsys.readouterr().err
    assert (out / "checkpoint.pt").read_text() == "mine"


def test_without_torch_it_says_how_to_get_it(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from crispsim.cli.main import run_command\n"
        f"sys.exit(run_command(['prune', *{SMALL!r}, '--out', {str(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'crispsim[prune]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet50", "vgg16", "mobilenet_v2", "vit_b_16"])
def test_networks_of_torchvision_go_through(model, tmp_path):
    folder = tmp_path / model
    sizes = ["--data", "noise:10x3x224x224", "--num-classes", "3", "--samples-per-class", "2"]
    # 2:4 in blocks of 64 cannot take MobileNetV2's pointwise layers to 90%.
    sparsity = "0.8" if model == "mobilenet_v2" else "0.9"
    options = ["--epochs", "0", "--steps", "2", "--batch-size", "2", "--sparsity", sparsity, "--out", str(folder)]
    assert crispsim(["prune", "--model", f"torchvision.models:{model}", *sizes, *options, "--quiet"]) == 0
    found = check_packed(folder / "model.safetensors")
    assert found.violations == []
    asked = Fraction(sparsity)
    assert asked <= found.sparsity < asked + Fraction(found.rank_column, found.weights)
    assert (
        crispsim(["run", "--weights", str(folder / "model.safetensors"), "--out", str(tmp_path / "run"), "--quiet"])
        == 0
    )


def test_a_network_of_ones_own_in_the_present_folder(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n\ndef net(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, num_classes))\n"
    )
    command = [Path(sys.executable).with_name("crispsim"), "prune", "--model", "mine:net", "--classes", "0,1"]
    options = ["--block", "8", "--sparsity", "0.75", "--epochs", "1", "--steps", "1", "--out", "out"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert check_packed(tmp_path / "out" / "model.safetensors").sparsity == Fraction(3, 4)


def test_overwriting_keeps_the_earlier_run_until_training_begins(tmp_path, capsys):
    out = tmp_path / "out"
    few = ["prune", "--data", "digits", *MODEL, "--block", "16", "--epochs", "1", "--steps", "1", "--quiet"]
    options = ["--samples-per-class", "8", "--sparsity", "0.7", "--out", str(out)]
    assert crispsim([*few, *options, "--classes", "1,3"]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for bad in (["--classes", "1,33"], ["--classes", "1,3", "--checkpoint", str(out / "checkpoint.pt")]):
        assert crispsim([*few, *options, *bad, "--overwrite"]) == 2
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert "would be overwritten" in capsys.readouterr().err
    assert crispsim([*few, *options, "--classes", "2,5", "--overwrite"]) == 0
    assert [entry["name"] for entry in report(out)["classes"]] == ["2", "5"]


def test_pretraining_overwrites_nothing_unasked(tmp_path, capsys):
    begin = ["pretrain", *MODEL, "--epochs", "0", "--quiet", "--out", str(tmp_path / "u.pt")]
    (tmp_path / "u.json").write_text("precious")
    assert crispsim(begin) == 2
    assert "u.json is there" in capsys.readouterr().err
    assert crispsim([*begin, "--resume"]) == 2
    assert (tmp_path / "u.json").read_text() == "precious"
    (tmp_path / "u.json").unlink()
    assert crispsim(begin) == 0
    weights = (tmp_path / "u.pt").read_bytes()
    assert crispsim([*begin, "--data", "digitz", "--overwrite"]) == 2
    assert crispsim([*begin, "--checkpoint", str(tmp_path / "u.pt"), "--overwrite"]) == 2
    assert (tmp_path / "u.pt").read_bytes() == weights


def test_interrupted_runs_say_how_to_go_on_and_end_with_130(tmp_path, capsys, monkeypatch):
    import crispsim.bench.personalisation as bench

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "prune_network", interrupted)
    assert crispsim(["prune", *SMALL, "--out", str(tmp_path / "out")]) == 130
    assert "interrupted; nothing is kept" in capsys.readouterr().err


def test_layers_without_blocks_count_in_block_pruning(tmp_path):
    """K = 16 is at most the block: nothing of it is pruned, but it is in the denominator (R3, R10)."""
    out = tmp_path / "out"
    options = ["--nm", "dense", "--block", "64", "--sparsity", "0.3", "--epochs", "1", "--steps", "1", "--quiet"]
    command = ["prune", "--data", "digits", *MODEL, "--classes", "1,3", "--samples-per-class", "8"]
    assert crispsim([*command, *options, "--out", str(out)]) == 0
    rows = list(csv.DictReader((out / "sparsity.csv").open()))
    prunable = [row for row in rows if row["prunable"] == "1"]
    assert len(prunable) == 8
    kept, weights = (sum(int(row[key]) for row in prunable) for key in ("kept_weights", "weights"))
    total = report(out)["totals"]["prunable"]
    assert total["sparsity"] == pytest.approx(1 - kept / weights)
    assert total["sparsity"] >= 0.3
    history = list(csv.DictReader((out / "history.csv").open()))
    assert float(history[-1]["sparsity"]) == pytest.approx(total["sparsity"])
    assert report(out)["dense_by_rule"] == {"stem.0": "stem", "fc": "classifier"}


def test_a_stray_rank_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    options = ["--sparsity", "0.7", "--epochs", "0", "--steps", "1", "--out", str(tmp_path / "out"), "--quiet"]
    assert crispsim(["prune", *SMALL, *options]) == 0
    assert (tmp_path / "out" / "report.json").exists()
