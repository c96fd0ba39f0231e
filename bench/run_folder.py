"""A run's folder: results.csv, summary.json and config.toml, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomli_w

from ..sim import ArchSpec, InputError, Results
from ..sim.workload import NO_BLOCKS

FILES = ("results.csv", "summary.json", "config.toml")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """How a run was made: enough to run it again.

    command : the command line. versions : of crispsim, Python and what computes. options : the run's own. inputs :
    files read. specs : architectures with their machines. notices : what the layer table's reader had to say.
    """

    command: str
    versions: dict[str, str]
    seed: int
    options: dict[str, Any]
    inputs: tuple[Path, ...]
    specs: tuple[ArchSpec, ...]
    notices: tuple[str, ...] = ()


def check_target(folder: Path) -> None:
    """Refuse a folder that cannot be written, before anything is simulated.

    Raises
    ------
    InputError
        It is a file, lies under one, cannot be written to, or holds files that look like a run's and are not.
    """
    if not str(folder).strip() or folder == Path() or folder.resolve() == Path("/"):
        raise InputError(f"--out {folder}: give a folder of its own")
    nearest = folder
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"--out {folder}: {nearest} is a file; give a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder}: {nearest} cannot be written to")
    there = [name for name in FILES if os.path.lexists(folder / name)]
    if there and not all((folder / name).is_file() for name in FILES):
        raise InputError(f"--out {folder}: holds {', '.join(there)}, but is not a run's folder; give another")


def write_run(folder: Path, results: Results, record: RunRecord) -> None:
    """Write a run's files, all of them or none; an earlier run's are replaced, other files left alone.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    check_target(folder)
    token = f".crispsim-{secrets.token_hex(4)}"
    # Inside a folder that is there: it may be the only place that can be written to, or a file system of its own.
    staging = folder / token if folder.exists() else folder.absolute().with_name(token)
    try:
        staging.mkdir(parents=True)
        results.to_dataframe().to_csv(staging / "results.csv", index=False, lineterminator="\n")
        summary = json.dumps(summary_of(results, record), indent=2)
        (staging / "summary.json").write_text(summary + "\n", encoding="utf-8")
        (staging / "config.toml").write_text(config_of(record), encoding="utf-8")
        if folder.exists():
            for name in FILES:
                (staging / name).replace(folder / name)
        else:
            staging.rename(folder)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot write: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def summary_of(results: Results, record: RunRecord) -> dict[str, Any]:
    """Totals per architecture, with what one must know to read them."""
    notes = {row.layer.name: row.note for row in results.of(results.archs[0]) if row.note}
    return {
        "command": record.command,
        "versions": record.versions,
        "dram": "none",
        "memory": "SMEM-resident ideal: every tensor is taken to lie in SMEM",
        "seed": record.seed,
        "options": record.options,
        "totals_are": "sums over the layers, each as often as it is called, then ratios of sums; speedup in cycles",
        "totals": {arch: asdict(results.total(arch)) for arch in results.archs},
        "dense_by_rule": {name: note for name, note in notes.items() if note != NO_BLOCKS},
        "without_blocks": {name: note for name, note in notes.items() if note == NO_BLOCKS},
        "notices": list(record.notices),
    }


def config_of(record: RunRecord) -> str:
    """The run as TOML: command, versions, seed, options, inputs with their hashes, and every machine field."""
    return tomli_w.dumps(
        {
            "command": record.command,
            "seed": record.seed,
            "versions": record.versions,
            "options": record.options,
            "input": [{"path": str(path)} | _hash_of(path) for path in record.inputs],
            "arch": [
                {
                    "name": spec.name,
                    "arch": spec.architecture.name,
                    "masks": spec.masks,
                    "machine": spec.machine.model_dump(),
                }
                for spec in record.specs
            ],
        }
    )


def _hash_of(path: Path) -> dict[str, str]:
    """The file's SHA-256; nothing for a pipe, which can be read only once."""
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
