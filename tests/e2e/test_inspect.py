"""`crispsim inspect` as its user meets it: tables, JSON, what is refused."""

import json
import subprocess
import sys

import pytest

from crispsim.cli.main import run_command as crispsim
from tests.unit.test_inspection import damaged, model


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model(tmp_path / "model.safetensors")
    return "model.safetensors"


def row(text: str, name: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])


def test_the_table(path, capsys):
    assert crispsim(["inspect", path]) == 0
    text = capsys.readouterr().out
    assert row(text, "a.crisp")[:10] == ["a.crisp", "2:4", "block", "4", "4x10", "2", "of", "3", "60.00%", "67.50%"]
    assert row(text, "weights")[1:] == ["205", "209"]
    assert row(text, "patterned")[:2] == ["patterned", "layers"]
    assert "made by: seed 3, tool test" in text


def test_the_json(path, capsys):
    assert crispsim(["inspect", path, "--json", "--layer", "a.*"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [layer["name"] for layer in found["layers"]] == ["a.crisp", "a.nm"]
    assert found["layers_in_file"] == 4
    assert found["all"]["kept_weights"] == found["patterned"]["kept_weights"] == 16 + 2
    assert found["patterned"]["macs_kept"] == 16 * 6 * 3 + 2 * 6
    assert found["layers"][0]["storage_bits"]["csr"] == {"values": 104, "metadata": 72, "total": 176}
    assert found["defects"] == []


def test_damaged_values_are_listed_and_the_exit_code_says_so(path, tmp_path, capsys):
    damaged(tmp_path / path)
    assert crispsim(["inspect", path]) == 2
    out, err = capsys.readouterr()
    assert "(damaged)" in out
    (line,) = err.splitlines()
    assert line.startswith("crispsim: model.safetensors: layer 'a.crisp': crisp: block row 0, block 0, group 0: index")
    assert crispsim(["inspect", path, "--json"]) == 2
    assert len(json.loads(capsys.readouterr().out)["defects"]) == 1
    assert crispsim(["inspect", path, "--layer", "b"]) == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["missing"], "missing: cannot read: No such file or directory"),
        (["."], ".: cannot read: Is a directory"),
        (["short"], "short: truncated: 3 bytes"),
        (["cut"], "cut: "),
        (["model.safetensors", "--layer", "z"], "--layer z: fits none of the 4 layers of model.safetensors"),
    ],
)
def test_refused(path, tmp_path, capsys, arguments, line):
    (tmp_path / "short").write_bytes(b"abc")
    (tmp_path / "cut").write_bytes((tmp_path / path).read_bytes()[:-1])
    assert crispsim(["inspect", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (found,) = err.splitlines()
    assert found.startswith(f"crispsim: {line}")


def test_torch_is_not_imported(path):
    code = (
        "import sys; from crispsim.cli.main import run_command; assert run_command(['inspect', sys.argv[1]]) == 0; "
        "assert not {'torch', 'matplotlib', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True)
