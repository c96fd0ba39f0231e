"""Checkpoints: written whole, read without running code, resumed bit for bit, refused in a line."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from crispsim.formats import NMMatrix, PackedLayer, PackedModel, write_model
from crispsim.prune import CrispConfig, PruneError
from crispsim.prune.training import (
    PretrainConfig,
    checkpoint,
    load_checkpoint_into,
    personalise,
    pretrain,
    read_checkpoint,
    slice_head,
)
from tests.tiny_training import (
    CLASSES,
    CONFIG,
    TRAINING,
    TinyNet,
    assert_same_result,
    assert_same_tensors,
    tiny_model,
    tiny_run,
    tiny_splits,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A whole run, never interrupted."""
    return tiny_run(tmp_path_factory.mktemp("run"))


class Stop:
    """Raises at the n-th batch that anything asks for."""

    def __init__(self, at):
        self.left = at

    def __call__(self, name, augmented):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def interrupted(folder, at, **options):
    with pytest.raises(KeyboardInterrupt):
        tiny_run(folder, watch=Stop(at), **options)


# Batches: 1 to check, 1 + 1 before; an epoch is 5 + 1, a scoring pass 5. Iterations after epochs 2 and 4.
@pytest.mark.parametrize(
    ("at", "where"),
    [(2, "before"), (5, "epoch 1"), (9, "epoch 1's validation"), (18, "iteration 1"), (21, "epoch 3"),
     (36, "iteration 2"), (54, "epoch 7"), (55, "epoch 7's validation"), (56, "the end")],
)  # fmt: skip
def test_an_interrupted_run_ends_the_same(tmp_path, done, at, where):
    interrupted(tmp_path, at)
    partly = (tmp_path / "checkpoint.pt").exists()
    assert partly == (at > 9), where
    assert_same_result(tiny_run(tmp_path, resume=True), done)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_interrupted_again_and_again(tmp_path, done):
    for attempt in range(40):
        try:
            resumed = tiny_run(tmp_path, watch=Stop(13), resume=attempt > 0)
        except KeyboardInterrupt:
            continue
        break
    assert attempt > 3
    assert_same_result(resumed, done)


def test_an_interrupted_run_loses_the_current_epoch_only(tmp_path):
    interrupted(tmp_path, 33)  # the scoring pass after epoch 4 comes next
    saved = read_checkpoint(tmp_path / "checkpoint.pt")
    assert (saved["finished"], saved["state"]["progress"]["epoch"], saved["state"]["pruner"]["iteration"]) == (
        False,
        4,
        1,
    )


@pytest.mark.parametrize("options", [{"config": CrispConfig(nm=(1, 1), block=None, sparsity=0)},
                                     {"training": replace(TRAINING, amp=True)},
                                     {"training": replace(TRAINING, epochs=1)},
                                     {"config": replace(CONFIG, sr_ste=2e-4)}])  # fmt: skip
def test_other_runs_end_the_same_too(tmp_path, options):
    whole = tiny_run(tmp_path / "whole", **options)
    interrupted(tmp_path / "cut", 14, **options)
    assert_same_result(tiny_run(tmp_path / "cut", resume=True, **options), whole)


def test_a_finished_run_comes_back_at_once(done):
    looked_at = []
    again = personalise(
        TinyNet(), tiny_splits(lambda *what: looked_at.append(what)), CLASSES, CONFIG, TRAINING,
        done.checkpoint.parent, resume=True,
    )  # fmt: skip
    assert looked_at == [("train", False)], "the first image only, to check the model"
    assert_same_result(again, done)
    assert again.report == done.report
    assert again.seconds == done.seconds


def test_the_file_holds_what_it_says(done):
    content = torch.load(done.checkpoint, weights_only=True)
    assert {name: content[name] for name in ("format", "version", "kind", "finished", "classes")} == {
        "format": "crispsim checkpoint", "version": 1, "kind": "personalise", "finished": True,
        "classes": ["eel", "bee", "fox", "ant"],
    }  # fmt: skip
    plain = TinyNet(4)
    plain.load_state_dict(content["model"])
    assert_same_tensors(plain.state_dict(), done.model.state_dict())
    zeros = int((plain.conv1.weight == 0).sum() + (plain.conv2.weight == 0).sum())
    assert zeros == done.report.weights - done.report.kept_weights > 0.7 * done.report.weights
    assert content["run"]["config"] == CONFIG.to_dict()
    assert content["run"]["training"] == TRAINING.to_dict()


def test_resuming_without_a_checkpoint_begins(tmp_path, done):
    assert_same_result(tiny_run(tmp_path / "new" / "folder", resume=True), done)


def test_a_checkpoint_is_not_overwritten(done):
    before = done.checkpoint.read_bytes()
    with pytest.raises(PruneError, match=r"checkpoint.pt: is there; resume it, remove it, or give another place"):
        tiny_run(done.checkpoint.parent)
    assert done.checkpoint.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"config": replace(CONFIG, sparsity=0.75, steps=3)},
         r"config.sparsity 0.7 there, 0.75 asked; config.steps 2 there, 3 asked"),
        ({"training": replace(TRAINING, seed=5)}, "training.seed 3 there, 5 asked"),
        ({"training": replace(TRAINING, score_samples_per_class=2)}, "score_samples_per_class None there, 2 asked"),
        ({"classes": (0, 1, 4, 5)}, r"classes \[4, 1, 5, 0\] there, \[0, 1, 4, 5\] asked"),
    ],
)  # fmt: skip
def test_another_run_is_refused(done, options, said):
    with pytest.raises(PruneError, match=said) as error:
        tiny_run(done.checkpoint.parent, resume=True, **options)
    assert "\n" not in str(error.value)
    assert str(error.value).count(" there, ") == said.count(" there, ")


def test_other_data_are_refused(done):
    data = replace(tiny_splits(), name="others", class_names=("a", "b", "c", "d", "e", "f"))
    with pytest.raises(PruneError, match=r"data.name patterns there, others asked; data.class_names"):
        personalise(tiny_model(), data, CLASSES, CONFIG, TRAINING, done.checkpoint.parent, resume=True)


def test_another_model_is_refused(done):
    model = tiny_model()
    model.extra = torch.nn.BatchNorm2d(3)
    model.head = torch.nn.Linear(16, 6, bias=False)
    with pytest.raises(PruneError, match=r"missing extra.weight and 4 more; not in the model head.bias"):
        personalise(model, tiny_splits(), CLASSES, CONFIG, TRAINING, done.checkpoint.parent, resume=True)


def test_a_pretrained_file_is_no_personalised_one(tmp_path):
    training = PretrainConfig(epochs=1, device="cpu")
    pretrain(tiny_model(), tiny_splits(), training, tmp_path / "checkpoint.pt")
    with pytest.raises(PruneError, match="is of crispsim pretrain, not of personalise"):
        tiny_run(tmp_path, resume=True)
    with pytest.raises(PruneError, match=r"training.epochs 1 there, 2 asked"):
        pretrain(tiny_model(), tiny_splits(), replace(training, epochs=2), tmp_path / "checkpoint.pt", resume=True)


def test_pretraining_goes_on_after_an_interruption(tmp_path):
    training = PretrainConfig(epochs=4, batch_size=24, device="cpu")
    whole = pretrain(tiny_model(), tiny_splits(), training, tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        pretrain(tiny_model(), tiny_splits(Stop(8)), training, tmp_path / "cut.pt")
    resumed = pretrain(TinyNet(), tiny_splits(), training, tmp_path / "cut.pt", resume=True)
    assert_same_tensors(resumed.model.state_dict(), whole.model.state_dict())
    assert resumed.test_accuracy == whole.test_accuracy


# ------------------------------------------------------------------------------------------------------------ bad files


class Runs:
    """Unpickling it would run code."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (str(self.folder),))


def test_files_that_are_no_checkpoints(tmp_path, done):
    whole = done.checkpoint.read_bytes()
    path = tmp_path / "checkpoint.pt"
    for content in (
        b"",
        b"PK\x03\x04",
        b"hello\n" * 100,
        whole[:100],
        whole[: len(whole) // 2],
        whole[:-1],
        b"\x80\x02.",
    ):
        path.write_bytes(content)
        with pytest.raises(
            PruneError, match=r"must be a whole file of torch.save that holds tensors and plain values"
        ) as error:
            tiny_run(tmp_path, resume=True)
        assert "\n" not in str(error.value)
    torch.save({"format": Runs(tmp_path / "code ran")}, path)
    with pytest.raises(PruneError, match="must be a whole file"):
        tiny_run(tmp_path, resume=True)
    assert not (tmp_path / "code ran").exists()
    path.unlink()
    path.mkdir()
    with pytest.raises(PruneError, match="cannot be read: Is a directory"):
        tiny_run(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: [content], "must be written by crispsim prune or pretrain"),
        (lambda content: {"weights": content["model"]}, "must be written by crispsim"),
        (lambda content: content | {"version": 2}, "version 2; this crispsim reads 1"),
        (lambda content: content | {"model": [1]}, "'model' must be a dict"),
        (lambda content: content | {"run": None}, "'run' must be a dict"),
        (lambda content: content | {"state": {}}, "its state is not whole"),
        (lambda content: content | {"state": content["state"] | {"progress": {"epoch": 1, "x": 2, "history": []}}},
         "its state is not whole"),
        (lambda content: content | {"state": content["state"] | {"pruner": None}}, "pruner state"),
        (lambda content: content | {"model": {name: old for name, old in content["model"].items() if old.ndim}},
         "missing norm1.num_batches_tracked"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", [33, None])
def test_checkpoints_that_were_tampered_with(tmp_path, change, said, at):
    if at is None:
        tiny_run(tmp_path, training=replace(TRAINING, epochs=0))
    else:
        interrupted(tmp_path, at)
    path = tmp_path / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    torch.save(change(content), path)
    with pytest.raises(PruneError, match=said) as error:
        tiny_run(tmp_path, resume=True, training=replace(TRAINING, epochs=0) if at is None else TRAINING)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change", [{"optimizer": {}}, {"optimizer": {"state": {}, "param_groups": []}}, {"optimizer": 3}]
)
def test_an_optimiser_that_was_tampered_with(tmp_path, change):
    interrupted(tmp_path, 33)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save(content | {"state": content["state"] | change}, tmp_path / "checkpoint.pt")
    with pytest.raises(PruneError, match="its state is not whole"):
        tiny_run(tmp_path, resume=True)


# -------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("basic_ios: error"), KeyboardInterrupt()]
)
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, error):
    path = tmp_path / "checkpoint.pt"
    checkpoint.write_checkpoint(path, {"kind": "old"})
    before = path.read_bytes()

    def half(content, file):
        file.write(b"PK half of it")
        raise error

    monkeypatch.setattr(torch, "save", half)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else PruneError
    with pytest.raises(
        expected, match=None if expected is KeyboardInterrupt else "cannot be written: (No space|basic_ios)"
    ):
        checkpoint.write_checkpoint(path, {"kind": "new"})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PruneError, match=r"file/checkpoint.pt: cannot be written: "):
        tiny_run(tmp_path / "file", training=replace(TRAINING, epochs=1))


# ----------------------------------------------------------------------------------------------------- weights to begin


def test_weights_of_all_kinds_of_files(tmp_path):
    weights = tiny_model().state_dict()
    path = tmp_path / "weights.pt"
    wrapped = {f"module.{name}": tensor for name, tensor in weights.items()}
    for content in (weights, {"state_dict": weights, "epoch": 3}, {"model": weights}, {"state_dict": wrapped}, wrapped):
        torch.save(content, path)
        model = TinyNet()
        load_checkpoint_into(model, path)
        assert_same_tensors(model.state_dict(), weights)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, tmp_path / "weights.safetensors")
    model = TinyNet()
    load_checkpoint_into(model, tmp_path / "weights.safetensors")
    assert_same_tensors(model.state_dict(), weights)


def test_weights_of_a_finished_run(done):
    model = TinyNet(4)
    load_checkpoint_into(model, done.checkpoint)
    assert_same_tensors(model.state_dict(), done.model.state_dict())
    with pytest.raises(PruneError, match="is personalised to 4 classes, the model has 6; begin with the univ"):
        load_checkpoint_into(TinyNet(), done.checkpoint)


def test_weights_that_do_not_fit(tmp_path):
    path = tmp_path / "weights.pt"
    model, before = tiny_model(), tiny_model().state_dict()
    weights = tiny_model().state_dict()
    del weights["conv1.weight"]
    weights["conv9.weight"] = torch.zeros(1)
    weights["stem.bias"] = torch.zeros(3)
    torch.save(weights, path)
    with pytest.raises(PruneError) as error:
        load_checkpoint_into(model, path)
    assert str(error.value).endswith(
        "must hold the model's weights: missing conv1.weight; not in the model conv9.weight; "
        "shape of stem.bias [3] there, [8] in the model"
    )
    assert_same_tensors(model.state_dict(), before)
    for content, said in (
        ([1, 2], "must hold a state dict"),
        ({}, "must hold a state dict"),
        ({"state_dict": {"a": 1}}, "entry 'a' must be a tensor, not int"),
        ({3: torch.zeros(1)}, "entry 3 must be a tensor"),
    ):
        torch.save(content, path)
        with pytest.raises(PruneError, match=said):
            load_checkpoint_into(model, path)
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 30)
    with pytest.raises(PruneError, match="must be a whole safetensors file"):
        load_checkpoint_into(model, tmp_path / "bad.safetensors")
    for name in ("none.pt", "none.safetensors"):
        with pytest.raises(PruneError, match=f"{name}: cannot be read: No such file"):
            load_checkpoint_into(model, tmp_path / name)
    slice_head(model, (0, 1), 6)


def test_a_packed_model_is_no_checkpoint(tmp_path):
    weights = NMMatrix.encode(np.eye(4, dtype=np.float32), n=2, m=4)
    layer = PackedLayer(name="fc", weights=weights, kind="gemm", in_channels=4, in_height=1, p=1, dtype="float32")
    write_model(tmp_path / "model.safetensors", PackedModel((layer,)))
    with pytest.raises(PruneError, match=r"model.safetensors: is a packed model; give the checkpoint.pt beside it"):
        load_checkpoint_into(tiny_model(), tmp_path / "model.safetensors")


def test_a_personalised_model_of_another_shape_is_named_by_its_shape(done):
    other = TinyNet(4)
    other.conv2 = torch.nn.Conv2d(16, 16, 1)
    with pytest.raises(PruneError, match=r"shape of conv2.weight \[16, 16, 3, 3\] there, \[16, 16, 1, 1\] in"):
        load_checkpoint_into(other, done.checkpoint)


def test_weights_of_a_run_under_way_are_refused(tmp_path):
    interrupted(tmp_path, 33)
    with pytest.raises(PruneError, match="is of a run that is not finished; resume it first"):
        load_checkpoint_into(TinyNet(4), tmp_path / "checkpoint.pt")
