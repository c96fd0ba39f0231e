"""CrispConfig: exact sparsities, one line for what breaks a rule, round trips."""

import json
from fractions import Fraction

import pytest

from crispsim.prune import CrispConfig, PruneError


def test_defaults_are_the_papers():
    config = CrispConfig()
    assert (config.nm, config.block, config.kappa, config.kappa_0) == ((2, 4), 64, Fraction(9, 10), Fraction(1, 2))
    assert (config.criterion, config.normalise, config.schedule, config.sr_ste) == ("eq1", "weights", "linear", 0.0)


@pytest.mark.parametrize("given", [0.9, "0.9", "0.90", "9/10", Fraction(9, 10)])
def test_one_sparsity_however_written(given):
    config = CrispConfig(sparsity=given)
    assert config.kappa == Fraction(9, 10)
    assert config == CrispConfig()


def test_a_sparsity_without_a_float_stays_exact():
    assert CrispConfig(sparsity="7/9").kappa == Fraction(7, 9)
    assert CrispConfig(nm=(1, 3), block=None, sparsity=0.666667).kappa == Fraction(2, 3)
    assert CrispConfig(nm=(1, 3), block=None, sparsity=0.6666666666666666).kappa == Fraction(2, 3)


def test_equal_n_and_m_is_no_pattern():
    assert CrispConfig(nm=(4, 4), block=64) == CrispConfig(nm=(1, 1), block=64)


@pytest.mark.parametrize(("block", "steps"), [(None, 5), (None, 0), (64, 3)])
def test_dense(block, steps):
    assert CrispConfig(nm=(1, 1), block=block, sparsity=0, steps=steps).dense


def test_what_prunes_is_not_dense():
    assert not CrispConfig(nm=(1, 1), sparsity=0.1).dense
    assert not CrispConfig(block=None, sparsity=0.5).dense


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nm", (0, 4)),
        ("nm", (5, 4)),
        ("nm", (2, 257)),
        ("nm", (2,)),
        ("nm", "2:4"),
        ("nm", (2.0, 4)),
        ("nm", (True, True)),
        ("block", 0),
        ("block", 30),
        ("block", 64.0),
        ("block", "none"),
        ("sparsity", 0.4),
        ("sparsity", 1),
        ("sparsity", -0.5),
        ("sparsity", float("nan")),
        ("sparsity", "much"),
        ("sparsity", "1/0"),
        ("steps", 0),
        ("steps", -1),
        ("steps", 2.5),
        ("steps", True),
        ("criterion", "w2g"),
        ("normalise", "mean"),
        ("schedule", "step"),
        ("sr_ste", -1e-4),
        ("sr_ste", float("inf")),
        ("sr_ste", "2e-4"),
        ("include", "conv1"),
        ("exclude", ("",)),
        ("exclude", (1,)),
    ],
)
def test_one_line_names_what_breaks_a_rule(field, value):
    with pytest.raises(PruneError) as fault:
        CrispConfig(**{field: value})
    message = str(fault.value)
    assert "\n" not in message
    assert ":" in message
    assert field in message or "pattern" in message


def test_without_blocks_only_the_patterns_own_sparsity():
    with pytest.raises(PruneError, match=r"sparsity 0\.9: without blocks it must be that of 2:4, 0\.5"):
        CrispConfig(block=None)


@pytest.mark.parametrize(
    "config",
    [
        CrispConfig(),
        CrispConfig(sparsity="7/9", include=("a*",), exclude=("b", "c"), sr_ste=2e-4, schedule="cubic"),
        CrispConfig(nm=(1, 1), block=None, sparsity=0, steps=0),
    ],
)
def test_round_trip_through_json(config):
    assert CrispConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_unknown_field_is_refused():
    with pytest.raises(PruneError, match="'blocks': must be one of nm, block"):
        CrispConfig.from_dict({"blocks": 64})
