"""The training loop: stretches and iterations in order, learning rate, batches, scoring, what is never looked at."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from crispsim.prune import CrispConfig, CrispPruner, PruneError
from crispsim.prune.processes import Ranks
from crispsim.prune.training import (
    PretrainConfig,
    Progress,
    TrainingConfig,
    load_checkpoint_into,
    pretrain,
    slice_head,
    stretches,
)
from crispsim.prune.training.determinism import Purpose, derived_seed, deterministic
from crispsim.prune.training.distributed import find_device, process_group
from crispsim.prune.training.loop import Learner, epoch_batches, evaluate, score, scoring_batches
from tests.tiny_training import (
    CLASSES,
    CONFIG,
    TRAINING,
    TinyNet,
    assert_same_result,
    assert_same_tensors,
    summary,
    tiny_model,
    tiny_run,
    tiny_splits,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One whole run; many tests look at it."""
    return tiny_run(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": -1}, "epochs -1: must be a whole number of at least 0"),
        ({"epochs": 1.5}, "epochs 1.5"),
        ({"batch_size": 1}, "batch_size 1: must be a whole number of at least 2"),
        ({"learning_rate": 0.0}, "learning_rate 0.0: must be a number, above 0"),
        ({"learning_rate": math.inf}, "learning_rate inf"),
        ({"learning_rate": "x"}, "learning_rate 'x'"),
        ({"momentum": 1.0}, "momentum 1.0: must be a number, at least 0 and below 1"),
        ({"weight_decay": math.nan}, "weight_decay nan"),
        ({"samples_per_class": 0}, "samples_per_class 0"),
        ({"score_samples_per_class": 0}, "score_samples_per_class 0"),
        ({"label_smoothing": 1}, "label_smoothing 1"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**63}, "seed 9223372036854775808: must be at most 9223372036854775807"),
        ({"amp": "yes"}, "amp 'yes'"),
        ({"device": ""}, "device ''"),
    ],
)
def test_bad_configurations(options, said):
    with pytest.raises(PruneError, match=said):
        TrainingConfig(**options)


def test_the_papers_defaults():
    paper = TrainingConfig()
    assert (paper.epochs, paper.batch_size, paper.learning_rate, paper.momentum) == (50, 32, 0.1, 0.9)
    assert (paper.weight_decay, paper.samples_per_class) == (4e-5, 256)


def test_devices():
    assert find_device("cpu") == CPU
    for text in ("toaster", "cuda:99", "meta"):
        with pytest.raises(PruneError, match=f"device '{text}'"):
            find_device(text)


def test_a_broken_torchrun_environment_is_one_line(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(PruneError, match="torchrun: WORLD_SIZE is 2, but"), process_group("cpu"):
        pass
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(PruneError, match="WORLD_SIZE 'two' must be a whole number"), process_group("cpu"):
        pass


@pytest.mark.parametrize(
    ("epochs", "steps", "expected"),
    [(50, 5, (8, 8, 8, 8, 8, 10)), (7, 2, (2, 2, 3)), (3, 5, (0, 0, 0, 0, 0, 3)), (0, 2, (0, 0, 0)), (9, 0, (9,))],
)
def test_stretches(epochs, steps, expected):
    assert stretches(epochs, steps) == expected


# ------------------------------------------------------------------------------------------------------------- the head


def test_head_rows_follow_the_classes():
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    slice_head(model, (4, 1), 6)
    assert torch.equal(model.head.weight, before["head.weight"][[4, 1]])
    assert torch.equal(model.head.bias, before["head.bias"][[4, 1]])
    assert model.head.out_features == 2
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 2)


def test_head_of_a_model_that_ends_in_attention():
    model = nn.Sequential(nn.Linear(8, 5, bias=False), nn.MultiheadAttention(8, 2))
    slice_head(model, [2, 0], 5)
    assert model[0].weight.shape == (2, 8)
    assert model[1].out_proj.weight.shape == (8, 8)


def test_heads_that_do_not_fit():
    with pytest.raises(PruneError, match="'head' has 6 outputs, the data 5 classes"):
        slice_head(tiny_model(), (0, 1), 5)
    with pytest.raises(PruneError, match="has no Linear layer"):
        slice_head(nn.Sequential(nn.Conv2d(1, 6, 3)), (0, 1), 6)


# -------------------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize(("count", "batch_size"), [(48, 10), (48, 48), (48, 100), (7, 2), (33, 32), (6, 2)])
def test_batches_of_an_epoch(count, batch_size, world):
    of_ranks = [epoch_batches(count, batch_size, 3, 5, Ranks(rank, world)) for rank in range(world)]
    sizes = [[len(batch) for batch in batches] for batches in of_ranks]
    assert all(of_rank == sizes[0] for of_rank in sizes), "ranks step together"
    assert max(sizes[0]) - min(sizes[0]) <= 1
    assert min(sizes[0]) >= 2
    assert max(sizes[0]) <= max(batch_size, 3)
    seen = torch.cat([batch for batches in of_ranks for batch in batches])
    assert set(seen.tolist()) == set(range(count))
    assert len(seen) == math.ceil(count / world) * world


def test_order_depends_on_seed_and_epoch_only():
    def order(seed, epoch):
        return torch.cat(epoch_batches(40, 8, seed, epoch, Ranks())).tolist()

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    streams = {derived_seed(seed, epoch, purpose, rank) for seed in range(3) for epoch in range(3)
               for purpose in Purpose for rank in range(3)}  # fmt: skip
    assert len(streams) == 3 * 3 * len(Purpose) * 3


def test_too_few_images():
    with pytest.raises(PruneError, match="training images 3: must be at least two for each of 2 processes"):
        epoch_batches(3, 8, 0, 0, Ranks(0, 2))


def test_scored_batches_are_the_same_whatever_the_ranks():
    whole = [batch.tolist() for batch in scoring_batches(23, 5, Ranks())]
    assert whole == [list(range(start, min(start + 5, 23))) for start in range(0, 23, 5)]
    dealt = [[batch.tolist() for batch in scoring_batches(23, 5, Ranks(rank, 2))] for rank in range(2)]
    assert sorted(dealt[0] + dealt[1]) == whole


# ------------------------------------------------------------------------------------------ training, scoring, accuracy


def test_learning_rate_is_a_cosine_over_batches():
    model, images = tiny_model(), tiny_splits().train
    learner = Learner(model, replace(TRAINING, epochs=3, batch_size=18), CPU, Ranks())
    rates = []
    for epoch in range(3):
        learner.train_epoch(images, 6, epoch, lambda *_: rates.append(learner.optimizer.param_groups[0]["lr"]))
    # 72 images in batches of 18: 12 batches; the t-th is trained with lr (1 + cos(pi t / 12)) / 2.
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * t / 12)) / 2 for t in range(12)])


def test_one_batch_of_training_is_a_step_of_sgd():
    model, twin, images = tiny_model(), tiny_model(), tiny_splits().train
    for net in (model, twin):
        net.dropout.p = 0.0
    training = TrainingConfig(epochs=1, batch_size=72, label_smoothing=0.2, weight_decay=0.01, device="cpu")
    images.batch = lambda indices, generator=None: images.pixels[indices]  # no noise
    loss, accuracy = Learner(model, training, CPU, Ranks()).train_epoch(images, 6, 0)
    twin.train()
    logits = twin(images.pixels)
    log = logits.log_softmax(1)
    right = log.gather(1, images.targets[:, None]).squeeze(1)
    by_hand = -(0.8 * right + 0.2 * log.mean(1)).mean()
    by_hand.backward()
    assert loss == pytest.approx(by_hand.item(), rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(1) == images.targets).float().mean().item())
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other - 0.1 * (other.grad + 0.01 * other), atol=1e-5, rtol=1e-4)


def test_scoring_is_in_eval_mode_without_augmentation():
    model, seen = tiny_model(), []
    images = tiny_splits(lambda name, augmented: seen.append(augmented)).train
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = []
    batches = scoring_batches(len(images), 50, Ranks())
    score(model, images, 6, batches, CPU, lambda size: gradients.append((size, model.conv1.weight.grad.clone())))
    assert_same_tensors(model.state_dict(), before)
    assert seen == [False, False]
    twin = tiny_model().eval()
    for (size, gradient), indices in zip(gradients, batches, strict=True):
        loss = functional.cross_entropy(twin(images.pixels[indices]), images.targets[indices])
        assert size == len(indices)
        # Each batch's own gradient if the one before is cleared, as the pruner does.
        expected = torch.autograd.grad(loss, twin.conv1.weight)[0]
        if indices is batches[0]:
            torch.testing.assert_close(gradient, expected)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_accuracy_by_hand():
    class Largest(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :6]

    images = tiny_splits().validation
    expected = (images.pixels.flatten(1)[:, :6].argmax(1) == images.targets).float().mean().item()
    assert evaluate(Largest(), images, 6, 4, CPU, Ranks()) == pytest.approx(expected)


# ---------------------------------------------------------------------------------------------------------- personalise


def test_iterations_come_between_the_stretches(done):
    # 7 epochs over 2 iterations: 2, 2 and 3.
    assert [(record.epoch, record.iteration, record.stretch) for record in done.history] == [
        (1, 0, 1), (2, 0, 1), (3, 1, 2), (4, 1, 2), (5, 2, 3), (6, 2, 3), (7, 2, 3),
    ]  # fmt: skip
    sparsity = [record.sparsity for record in done.history]
    assert sparsity[:2] == [0, 0]
    assert 0.6 <= sparsity[2] == sparsity[3] < 0.7 <= sparsity[4] == sparsity[6] == done.report.sparsity


def test_the_model_learns_and_is_pruned(done):
    assert done.accuracy_before < 0.5 < done.accuracy_after
    assert done.validation_after == done.history[-1].validation_accuracy
    assert done.classes == CLASSES
    assert done.class_names == ("eel", "bee", "fox", "ant")
    assert done.model.head.weight.shape == (4, 16)
    assert not done.model.training
    assert list(done.masks) == ["conv1", "conv2"]
    for name, mask in done.masks.items():
        weight = getattr(done.model, name).weight
        assert type(weight) is nn.Parameter
        matrix = weight.detach().permute(0, 2, 3, 1).flatten(1)
        assert torch.equal(matrix != 0, mask)
        assert (mask.view(16, -1, 4).sum(2) <= 2).all()
    assert done.seconds > 0


def test_validation_is_of_the_finished_model(done):
    data = tiny_splits()
    images = data.test.subset(CLASSES)
    assert evaluate(done.model, images, 4, 32, CPU, Ranks()) == done.accuracy_after


def test_accuracy_before_is_of_the_sliced_dense_model(done):
    model = tiny_model().eval()
    images = tiny_splits().test.subset(CLASSES)
    rows = model(images.pixels)[:, list(CLASSES)]
    assert done.accuracy_before == pytest.approx((rows.argmax(1) == images.targets).float().mean().item())


def test_test_images_are_seen_before_the_first_batch_and_after_the_last_only(tmp_path):
    seen = []
    tiny_run(tmp_path, watch=lambda name, augmented: seen.append(name + " augmented" * augmented))
    seen = [name for place, name in enumerate(seen) if place == 0 or seen[place - 1] != name]
    start = ["train", "test", "validation"]  # "train": the first image, to check the model
    epoch, iteration = ["train augmented", "validation"], ["train"]
    # The last evaluations: both splits, with the finished model.
    assert seen == start + epoch * 2 + iteration + epoch * 2 + iteration + epoch * 3 + ["test", "validation"]


def test_the_same_seed_the_same_run_another_seed_another(tmp_path, done):
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert_same_result(tiny_run(tmp_path / "again"), done)
    assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers are left alone"
    assert not torch.are_deterministic_algorithms_enabled()
    other = tiny_run(tmp_path / "other", training=replace(TRAINING, seed=4))
    assert summary(other) != summary(done)


def test_settings_come_back_after_an_error():
    with pytest.raises(ZeroDivisionError), deterministic(CPU):
        assert torch.are_deterministic_algorithms_enabled()
        raise ZeroDivisionError
    assert not torch.are_deterministic_algorithms_enabled()


def test_fewer_epochs_than_stretches_prune_first(tmp_path):
    done = tiny_run(tmp_path, training=replace(TRAINING, epochs=1))
    assert [record.iteration for record in done.history] == [2]
    assert done.report.sparsity >= 0.7


def test_no_epochs_give_masks_only(tmp_path):
    done = tiny_run(tmp_path, training=replace(TRAINING, epochs=0))
    assert done.history == ()
    assert done.report.sparsity >= 0.7
    dense = tiny_model().conv1.weight.detach()
    assert torch.equal(done.model.conv1.weight.detach(), dense * (done.model.conv1.weight != 0))


@pytest.mark.parametrize("criterion", ["eq1", "abs"])
def test_masks_without_epochs_are_those_of_the_pruner_by_hand(tmp_path, criterion):
    config = replace(CONFIG, criterion=criterion)
    done = tiny_run(tmp_path, config=config, training=replace(TRAINING, epochs=0, score_samples_per_class=9))
    model, images = tiny_model().eval(), tiny_splits().train.subset(CLASSES, 9)
    slice_head(model, CLASSES, 6)
    pruner = CrispPruner(model, config)
    pruner.prepare()
    for _ in range(config.steps):
        pruner.begin_scoring()
        for start in range(0, 36, 10):
            logits = model(images.pixels[start : start + 10])
            functional.cross_entropy(logits, images.targets[start : start + 10]).backward()
            pruner.accumulate(len(logits))
        pruner.step()
    assert_same_tensors(done.masks, pruner.finalize())


@pytest.mark.parametrize("steps", [0, 5])
def test_dense_is_plain_fine_tuning(tmp_path, steps):
    config = CrispConfig(nm=(1, 1), block=None, sparsity=0, steps=steps)
    done = tiny_run(tmp_path, config=config)
    assert [record.stretch for record in done.history] == [1] * 7
    assert done.report.sparsity == 0
    model, data = tiny_model(), tiny_splits()
    slice_head(model, CLASSES, 6)
    learner = Learner(model, TRAINING, CPU, Ranks())
    with deterministic(CPU):
        for epoch in range(7):
            learner.train_epoch(data.train.subset(CLASSES, 12), 4, epoch)
    assert_same_tensors(done.model.state_dict(), model.state_dict())


@pytest.mark.parametrize(
    "config",
    [CrispConfig(block=None, sparsity=0.5, steps=2), CrispConfig(nm=(1, 1), block=16, sparsity=0.5, steps=2),
     replace(CONFIG, criterion="magnitude"), replace(CONFIG, sr_ste=2e-4, schedule="cubic")],
)  # fmt: skip
def test_halves_and_other_choices_run(tmp_path, config):
    seen = []
    done = tiny_run(
        tmp_path, config=config, training=replace(TRAINING, epochs=3), watch=lambda *what: seen.append(what)
    )
    assert done.report.sparsity >= float(config.kappa)
    scored = seen.count(("train", False)) - 1
    assert scored == (0 if config.criterion == "magnitude" else 2 * 5)


def test_mixed_precision_is_for_training_only(tmp_path, done):
    masks_only = replace(TRAINING, epochs=0)
    plain = tiny_run(tmp_path / "a", training=masks_only)
    mixed = tiny_run(tmp_path / "b", training=replace(masks_only, amp=True))
    assert_same_result(plain, mixed)
    trained = tiny_run(tmp_path / "c", training=replace(TRAINING, amp=True))
    assert trained.accuracy_after > 0.5
    assert [record.loss for record in trained.history] != [record.loss for record in done.history]
    assert {parameter.dtype for parameter in trained.model.parameters()} == {torch.float32}


def test_score_samples_are_the_first_of_each_class(tmp_path):
    few = replace(TRAINING, epochs=0, score_samples_per_class=3)
    alone = replace(TRAINING, epochs=0, samples_per_class=3)
    assert_same_tensors(tiny_run(tmp_path / "a", training=few).masks, tiny_run(tmp_path / "b", training=alone).masks)


def test_divergence_is_told_in_a_line(tmp_path):
    with pytest.raises(PruneError, match=r"epoch \d: the loss became (nan|inf); learning_rate 1e\+30 is too high"):
        tiny_run(tmp_path, training=replace(TRAINING, learning_rate=1e30))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (TinyNet(5), "'head' has 5 outputs, the data 6 classes"),
        (
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 6)),
            r"fails on an image of shape \[1, 1, 8, 8\]: ",
        ),
        (nn.Sequential(nn.Conv2d(1, 6, 8), nn.Linear(1, 6)), "gives .* must be one output for each of 4 classes"),
    ],
)
def test_models_that_do_not_fit(tmp_path, model, said):
    from crispsim.prune.training import personalise

    with pytest.raises(PruneError, match=said) as error:
        personalise(model, tiny_splits(), CLASSES, CONFIG, TRAINING, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("classes", [(1,), (1, 1), (1, 6)])
def test_classes_that_do_not_fit(tmp_path, classes):
    with pytest.raises(PruneError, match="class"):
        tiny_run(tmp_path, classes=classes)


def test_progress(tmp_path, monkeypatch, capsys):
    from crispsim.prune.training import progress

    monkeypatch.setattr(progress, "_INTERVAL_SECONDS", 0.0)
    events: list[Progress] = []
    done = tiny_run(tmp_path, training=replace(TRAINING, epochs=3), progress=events.append)
    assert capsys.readouterr() == ("", "")
    phases = [(event.phase, event.epoch, event.iteration, event.batch, event.batches) for event in events]
    # 48 images in batches of 10: five, trained or scored. Each of 3 stretches is an epoch.
    expected = []
    for epoch in (1, 2, 3):
        expected += [("train", epoch, epoch - 1, batch, 5) for batch in range(1, 6)]
        expected += [("evaluate", epoch, epoch - 1, 0, 0)]
        if epoch < 3:
            expected += [("score", epoch, epoch - 1, batch, 5) for batch in range(1, 6)] + [
                ("step", epoch, epoch, 0, 0)
            ]
    assert phases == expected
    assert all(event.eta_seconds is not None and event.eta_seconds >= 0 for event in events)
    assert events[-1].eta_seconds == 0
    told = [event for event in events if event.phase == "evaluate"]
    assert [event.loss for event in told] == [record.loss for record in done.history]
    assert [event.validation_accuracy for event in told] == [record.validation_accuracy for record in done.history]


# ------------------------------------------------------------------------------------------------------------- pretrain


def test_pretrain_learns_and_its_file_loads(tmp_path):
    training = PretrainConfig(epochs=6, batch_size=16, learning_rate=0.05, device="cpu", label_smoothing=0.05)
    universal = pretrain(tiny_model(), tiny_splits(), training, tmp_path / "deep" / "universal.pt")
    assert universal.test_accuracy > 0.5
    assert universal.validation_accuracy == universal.history[-1].validation_accuracy
    assert {(record.iteration, record.sparsity) for record in universal.history} == {(0, 0.0)}
    model = TinyNet()
    load_checkpoint_into(model, universal.checkpoint)
    assert_same_tensors(model.state_dict(), universal.model.state_dict())


def test_pretrain_refuses_a_model_of_other_classes(tmp_path):
    with pytest.raises(PruneError, match="must be one output for each of 6 classes"):
        pretrain(TinyNet(4), tiny_splits(), PretrainConfig(device="cpu"), tmp_path / "u.pt")
