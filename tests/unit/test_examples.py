"""The examples in docstrings and in the README run and print what they say."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def modules():
    for package in ("formats", "prune", "sim", "bench", "cli"):
        base = importlib.import_module(f"crispsim.{package}")
        yield base.__name__
        for info in pkgutil.walk_packages(base.__path__, f"{base.__name__}."):
            yield info.name


@pytest.mark.parametrize("name", list(modules()))
def test_docstrings(name):
    module = importlib.import_module(name)
    namespace = {"np": importlib.import_module("numpy")}
    outcome = doctest.testmod(module, extraglobs=namespace, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.failed == 0


def test_the_readmes_python(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    assert float(capsys.readouterr().out) > 5
