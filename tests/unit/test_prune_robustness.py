"""What a user gets wrong is one line that says so, at once: nothing hangs, fills the memory, or fails hours later."""

import math
import os
import sys
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from crispsim.formats import FormatError
from crispsim.prune import CrispConfig, CrispPruner, PruneError, find_layers
from crispsim.prune.data import load_data
from crispsim.prune.export import check_packable, trace_layers
from crispsim.prune.factories import call_factory, find_factory
from crispsim.prune.models import load_model
from crispsim.prune.training import PretrainConfig, TrainingConfig, personalise, pretrain, slice_head
from tests.tiny_training import CLASSES, CONFIG, TRAINING, TinyNet, tiny_model, tiny_run, tiny_splits

MASKS_ONLY = replace(TRAINING, epochs=0)


def refused(function, *arguments, **keywords):
    """The message; of one line."""
    with pytest.raises((PruneError, FormatError)) as error:
        function(*arguments, **keywords)
    assert "\n" not in str(error.value)
    return str(error.value)


# -------------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    "given",
    ["1e-999999999", "0.6e99999999999", "1e1000", "9" * 5000, "1/" + "3" * 99, "0.9\n1", "", "\u0661", 10**5000],
    ids=["small", "large", "e1000", "long", "thirds", "two lines", "none", "Arabic", "int"],
)
def test_sparsities_are_not_worked_out_at_any_cost(given):
    start = time.monotonic()
    assert "must be a number from 0 up to" in refused(CrispConfig, sparsity=given)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("given", ["9/10", ".9", "0.90", "9e-1", " +0.9 ", "0.9\n", 0.9])
def test_sparsities_as_people_write_them(given):
    assert CrispConfig(sparsity=given).sparsity == 0.9


def test_numbers_have_upper_bounds():
    assert refused(CrispConfig, steps=10_001) == "steps: must be at most 10000"
    for field, most in (
        ("epochs", 10**6),
        ("batch_size", 2**20),
        ("samples_per_class", 2**31 - 1),
        ("score_samples_per_class", 2**31 - 1),
        ("seed", 2**63 - 1),
    ):
        assert getattr(TrainingConfig(**{field: most}), field) == most
        assert refused(TrainingConfig, **{field: most + 1}) == f"{field} {most + 1}: must be at most {most}"
    assert refused(PretrainConfig, epochs=10**5000) == "epochs of more than 20 digits: must be at most 1000000"


# ------------------------------------------------------------------------------------------------------------ factories


def test_leaving_the_program_is_a_failure_like_another(tmp_path, monkeypatch):
    (tmp_path / "leaves_at_import.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "leaves.py").write_text(
        "import sys, torch\n"
        "def net(num_classes):\n    sys.exit('bye')\n"
        "class Net(torch.nn.Linear):\n    def forward(self, x):\n        sys.exit()\n"
        "def later():\n    return Net(64, 10)\n"
        "def stopped():\n    raise KeyboardInterrupt\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    shape = {"classes": 10, "input_shape": (1, 8, 8)}
    assert refused(load_model, "leaves_at_import:net", **shape).endswith("cannot import leaves_at_import: 3")
    said = refused(load_model, "leaves:net", **shape)
    assert said == "model 'leaves:net': fails with num_classes=10: it leaves the program (SystemExit)"
    assert refused(load_model, "sys:exit", **shape).endswith("it leaves the program (SystemExit)")
    assert "does not take images [1, 8, 8]" in refused(load_model, "leaves:later", **shape)
    with pytest.raises(KeyboardInterrupt):
        load_model("leaves:stopped", **shape)
    said = refused(call_factory, find_factory("sys:exit", "data"), "sys:exit", "data")
    assert said == "data 'sys:exit': fails: it leaves the program (SystemExit)"


# -------------------------------------------------------------------------------------------------- weights as they are


def new_norm(module):
    return torch.nn.utils.parametrizations.weight_norm(module)


def old_norm(module):
    with pytest.warns(FutureWarning):
        return torch.nn.utils.weight_norm(module)


@pytest.mark.parametrize(("wrap", "why"), [(new_norm, "parametrised already"), (old_norm, "computed by a hook")])
def test_weights_that_are_computed(tmp_path, wrap, why):
    model = tiny_model()
    model.conv1 = wrap(model.conv1)
    said = f"layer 'conv1': its weight is {why}; must be a plain Parameter"
    assert refused(find_layers, model) == said
    assert refused(CrispPruner, model, CONFIG) == said
    assert refused(personalise, model, tiny_splits(), CLASSES, CONFIG, MASKS_ONLY, tmp_path) == said
    prunable, _ = find_layers(model, exclude=("conv1",))
    assert [layer.name for layer in prunable] == ["conv2"]

    model = tiny_model()
    model.head = wrap(model.head)
    assert len(find_layers(model)[0]) == 2, "the head is not pruned"
    assert refused(slice_head, model, (0, 1), 6) == said.replace("conv1", "head")
    assert refused(personalise, model, tiny_splits(), CLASSES, CONFIG, MASKS_ONLY, tmp_path) == said.replace(
        "conv1", "head"
    )
    assert not list(tmp_path.iterdir())


def test_a_weight_that_takes_no_gradient_is_told_before_the_first_epoch():
    model = tiny_model()
    model.conv2.weight.requires_grad_(False)
    said = "layer 'conv2': its weight takes no gradient, which criterion eq1 needs"
    assert refused(CrispPruner(model, CONFIG).prepare) == said
    CrispPruner(model, replace(CONFIG, criterion="magnitude")).prepare()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers(tmp_path, value):
    model = tiny_model()
    with torch.no_grad():
        model.conv1.weight[3, 2, 1, 1] = value
        model.head.weight[3] = math.nan  # of a class that is left out
    said = refused(personalise, model, tiny_splits(), CLASSES, CONFIG, TRAINING, tmp_path)
    assert said.startswith(f"model: 1 of the 1152 values of conv1.weight are not finite (the first is {value})")
    model = tiny_model()
    model.norm2.running_var[4] = value
    said = refused(pretrain, model, tiny_splits(), PretrainConfig(device="cpu"), tmp_path / "x.pt")
    assert "values of norm2.running_var are not finite" in said
    assert not list(tmp_path.iterdir())


class FailsInTraining(TinyNet):
    def forward(self, images):
        if self.training:
            raise RuntimeError("boom\nbang")
        return super().forward(images)


def test_a_model_that_fails_in_training_only(tmp_path):
    said = refused(personalise, FailsInTraining(), tiny_splits(), CLASSES, CONFIG, TRAINING, tmp_path)
    assert said == "model: fails in training mode on images of shape [10, 1, 8, 8]: boom"


def test_a_model_that_fails_on_a_whole_batch_only(tmp_path):
    class One(TinyNet):
        def forward(self, images):
            assert len(images) == 1, "one at a time"
            return super().forward(images)

    said = refused(personalise, One(), tiny_splits(), CLASSES, CONFIG, TRAINING, tmp_path)
    assert said == "model: fails on images of shape [28, 1, 8, 8]: one at a time"


def test_diverging_says_how_to_go_on(tmp_path):
    said = refused(tiny_run, tmp_path, training=replace(TRAINING, learning_rate=1e30))
    assert "is too high; begin anew with a lower one, in another place or overwriting the checkpoint" in said


# ----------------------------------------------------------------------------------------------------------------- data


def test_noise_that_memory_would_not_hold():
    assert "images of 67108867 values: must be at most 67108864" in refused(load_data, "noise:2x7x1x9586981")
    assert "65537 classes: must be at most 65536" in refused(load_data, "noise:65537x1x1x1")
    large = load_data("noise:2x1x4096x4096").train
    assert "a batch of 129 images 1x4096x4096: must be at most 2147483648 values" in refused(
        large.batch, torch.zeros(129, dtype=torch.int64)
    )


def picture_folder(folder, classes):
    from PIL import Image

    for split in (b"train", b"val"):
        for name in classes:
            place = bytes(folder) + b"/" + split + b"/" + name
            os.makedirs(place)  # noqa: PTH103 - bytes, which a Path does not take
            for number in range(10):
                Image.new("RGB", (4, 4)).save((place + b"/%d.png" % number).decode(errors="surrogateescape"))
    return folder


def test_class_folders_that_are_no_text(tmp_path):
    for name, shown in ((b"b\xff", r"'b\udcff'"), (b"b\x1b", r"'b\x1b'"), (b"b\n", r"'b\n'")):
        folder = picture_folder(tmp_path / shown.strip("'").replace("\\", ""), [b"a", name])
        said = refused(load_data, f"imagefolder:{folder}")
        assert f"class folder {shown}: its name must be printable text" in said
        said.encode()
    assert "must be a path of printable text" in refused(load_data, "imagefolder:a\udcff")


def test_a_folder_says_where_it_is(tmp_path, monkeypatch):
    picture_folder(tmp_path / "pictures", [b"a", b"b"])
    monkeypatch.chdir(tmp_path)
    assert load_data("imagefolder:pictures").origin == str(tmp_path / "pictures")


# ------------------------------------------------------------------------------------------------------------- resuming


@pytest.fixture(scope="module")
def under_way(tmp_path_factory):
    """A checkpoint of a run that was stopped in epoch 5."""
    folder = tmp_path_factory.mktemp("stopped")
    left = [42]

    def watch(name, augmented):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_run(folder, watch=watch)
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def replaced(content, path, value):
    """A copy with one entry of nested mappings and lists replaced."""
    if not path:
        return value
    if isinstance(content, list):
        return [replaced(one, path[1:], value) if place == path[0] else one for place, one in enumerate(content)]
    return {**content, path[0]: replaced(content[path[0]], path[1:], value)}


@pytest.mark.parametrize("value", [torch.zeros(1), torch.zeros(2, 3), "1", None, [1.0]])
@pytest.mark.parametrize(
    "path",
    [
        "version",
        "format",
        "kind",
        "classes",
        "run.training.epochs",
        "run.config.sparsity",
        "model.conv2.bias",
        "state.progress.epoch",
        "state.progress.accuracy_before",
        "state.progress.seconds",
        "state.progress.history",
        "state.progress.history.0",
        "state.progress.history.2.loss",
        "state.pruner.version",
        "state.pruner.iteration",
        "state.pruner.config.criterion",
        "state.pruner.config.nm",
        "state.pruner.masks",
        "state.optimizer",
        "state.optimizer.param_groups",
        "state.optimizer.param_groups.0.momentum",
        "state.optimizer.param_groups.0.lr",
        "state.optimizer.param_groups.0.params",
        "state.optimizer.state.3.momentum_buffer",
        "state.scaler",
    ],
)
def test_a_checkpoint_whose_values_are_of_another_kind(tmp_path, under_way, path, value):
    if path.endswith("momentum_buffer") and value is None:
        return  # as before the first batch
    places = [int(part) if part.isdigit() else part for part in path.split(".")]
    if places[0] == "model":
        places = ["model", "conv2.bias"]
    torch.save(replaced(under_way, places, value), tmp_path / "checkpoint.pt")
    said = refused(tiny_run, tmp_path, resume=True)
    assert "checkpoint" in said or "pruner state" in said
    assert (tmp_path / "checkpoint.pt").exists()


def test_the_rest_of_the_tampering_test_is_true(tmp_path, under_way):
    torch.save(replaced(under_way, ["state", "progress", "seconds"], 3.5), tmp_path / "checkpoint.pt")
    assert tiny_run(tmp_path, resume=True).seconds > 3.5


def test_epochs_without_their_records(tmp_path, under_way):
    torch.save(replaced(under_way, ["state", "progress", "epoch"], 3), tmp_path / "checkpoint.pt")
    assert "its state is not whole (3 epochs, 4 records of them)" in refused(tiny_run, tmp_path, resume=True)


def test_the_same_images_are_asked_for(tmp_path, under_way):
    torch.save(under_way, tmp_path / "checkpoint.pt")
    for change, said in (
        ({"note": "SHA-256 12"}, "data.note  there, SHA-256 12 asked"),
        ({"origin": "/elsewhere"}, "data.origin  there, /elsewhere asked"),
    ):
        data = replace(tiny_splits(), **change)
        message = refused(personalise, tiny_model(), data, CLASSES, CONFIG, TRAINING, tmp_path, resume=True)
        assert message.endswith(said)


def test_the_same_threads_are_asked_for(tmp_path, under_way):
    torch.save(under_way, tmp_path / "checkpoint.pt")
    threads = torch.get_num_threads()
    assert under_way["run"]["threads"] == threads
    torch.set_num_threads(threads + 1)
    try:
        said = refused(tiny_run, tmp_path, resume=True)
    finally:
        torch.set_num_threads(threads)
    assert said.endswith(f"to go on with: threads {threads} there, {threads + 1} asked")


def test_checkpoints_of_before_these_were_kept_go_on(tmp_path, under_way):
    run = {name: value for name, value in under_way["run"].items() if name != "threads"}
    run["data"] = {name: value for name, value in run["data"].items() if name not in ("note", "origin")}
    torch.save({**under_way, "run": run}, tmp_path / "checkpoint.pt")
    assert len(tiny_run(tmp_path, resume=True).history) == TRAINING.epochs


# -------------------------------------------------------------------------------------------------- the file at the end


def packable(model, **options):
    traced = trace_layers(model, torch.zeros(1, 1, 8, 8))
    prunable, _ = find_layers(model)
    check_packable(traced, [layer.name for layer in prunable], CONFIG, **options)


class Named(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.inside = nn.ModuleDict({name: tiny_model()})

    def forward(self, images):
        return next(iter(self.inside.values()))(images)


def test_what_a_file_cannot_hold_is_told_before_training():
    for dtype in ("float32", "float16", "int8"):
        packable(tiny_model(), dtype=dtype, made_by={"tool": "crispsim"})
    packable(Named("n" * 187))  # inside.n...n.stem
    assert "must be 1 to 200 printable characters" in refused(packable, Named("n" * 200))
    assert "must be 1 to 200 printable characters" in refused(packable, Named("a\x1bb"))
    assert "must be a dict that JSON gives back" in refused(packable, tiny_model(), made_by={"seed": {1}})
    assert refused(packable, tiny_model(), dtype="int4") == "dtype 'int4': must be one of float32, float16, int8"
    idle = tiny_model()
    idle.idle = nn.Conv2d(8, 8, 3)
    assert "never called" in refused(packable, idle)
