"""What is shipped: every package in the wheel with its data, and imports that stay light."""

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest

from crispsim.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("formats", "sim", "prune", "bench", "cli")


def test_every_folder_with_code_is_a_package_of_the_distribution():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    mapped = dict(line.split(" = ") for line in config["options"]["package_dir"].strip().splitlines())
    folders = {
        "crispsim." + ".".join(init.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for init in (ROOT / package).rglob("__init__.py")
    }
    assert listed == folders
    assert mapped == {name: name.removeprefix("crispsim.").replace(".", "/") for name in listed}


def test_the_wheel_holds_every_module_and_data_file(tmp_path):
    source = tmp_path / "source"  # a copy, so that nothing left in build/ by an earlier build gets in
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        f"crispsim/{path.relative_to(ROOT)}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".csv", ".toml", ".md", ".typed", ".css", ".js")
    }
    assert held == expected


COMMANDS = [f"crispsim.cli.{name}" for name in cli.list_commands(click.Context(cli))]


@pytest.mark.parametrize("module", ["crispsim.sim", "crispsim.formats", "crispsim.cli.main", *COMMANDS])
def test_the_simulator_imports_without_torch_matplotlib_and_pandas(module):
    code = f"import sys, {module}; sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib', 'pandas')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_packages_import_relatively():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for line in path.read_text().splitlines():
                words = line.split()
                if len(words) > 1 and words[0] in ("import", "from"):
                    assert words[1].split(".")[0] not in (*PACKAGES, "crispsim"), f"{path}: {line}"
