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


def test_the_readmes_pruner(tmp_path, monkeypatch):
    import torch
    from torch import nn

    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```py\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 640, 1), nn.Conv2d(640, 64, 3), nn.Flatten(), nn.Linear(64, 4))
    images = torch.randn(8, 8, 3, 3)
    names = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "loss": nn.CrossEntropyLoss(),
        "user_batches": [(images, torch.arange(8) % 4)],
        "example": images[:1],
    }
    exec(compile(block, "README.md", "exec"), names)
    assert {name: tuple(mask.shape) for name, mask in names["masks"].items()} == {"0": (640, 8), "1": (64, 5760)}
    from crispsim.formats import read_model

    kept = sum(int(mask.sum()) for mask in names["masks"].values())
    assert 1 - kept / (640 * 8 + 64 * 5760) >= 0.9
    assert [layer.name for layer in read_model("model.safetensors").layers] == ["0", "1", "3"]
