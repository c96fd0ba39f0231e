"""The command's options say what the configurations say: the same defaults, the same choices."""

import dataclasses

import click
import pytest

from crispsim.cli.pretrain import pretrain
from crispsim.cli.prune import prune
from crispsim.prune import CrispConfig
from crispsim.prune.export import DTYPES
from crispsim.prune.masks import CRITERIA, NORMALISE, SCHEDULES
from crispsim.prune.training import PretrainConfig, TrainingConfig

# What the command derives from other options, or writes in other words.
OWN_WORDS = {"nm": "2:4", "sparsity": None, "amp": None}


@pytest.mark.parametrize(
    ("command", "config"), [(prune, CrispConfig), (prune, TrainingConfig), (pretrain, PretrainConfig)]
)
def test_every_field_is_an_option_with_its_default(command, config):
    params = command.make_context("crispsim", ["--model", "m:f", "--out", "x.pt"]).params
    left_out = {"samples_per_class", "score_samples_per_class"} if config is PretrainConfig else set()
    for field in dataclasses.fields(config):
        if field.name in left_out:
            assert field.name not in params
        else:
            expected = OWN_WORDS.get(field.name, field.default)
            assert str(params[field.name]) == str(expected), field.name


def test_choices_are_all_there_are():
    choices = {option.name: option.type.choices for option in prune.params if isinstance(option.type, click.Choice)}
    expected = {"criterion": CRITERIA, "normalise": NORMALISE, "schedule": SCHEDULES, "dtype": DTYPES}
    assert {name: tuple(choices[name]) for name in expected} == {name: tuple(known) for name, known in expected.items()}
