"""A run's folder: results.csv, summary.json and config.toml, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from ..sim import ArchSpec, InputError, Machine, Results
from ..sim.energy import EnergyTable, Figure, Term, area_of, left_out
from ..sim.workload import NO_BLOCKS
from .run_checks import MAY_BE_EMPTY, TEXT_COLUMNS, check_run, why_unread
from .whole_files import check_folder, whole_folder

if TYPE_CHECKING:
    import pandas

FILES = ("results.csv", "summary.json", "config.toml")
# Keys of summary.json without which no number of a run can be read.
SUMMARY_WORDS = ("machine", "dram", "memory", "fuse")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """How a run was made: enough to run it again.

    command : the command line. versions : of crispsim, Python and what computes. fuse : whether layers leave tensors to
    each other. options : the run's own. inputs : files read. specs : architectures with their machines. energy : the
    energy table, if any. notices : what the layer table's reader had to say.
    """

    command: str
    versions: dict[str, str]
    seed: int
    options: dict[str, Any]
    inputs: tuple[Path, ...]
    specs: tuple[ArchSpec, ...]
    energy: EnergyTable | None
    fuse: bool = False
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
    check_folder(folder)
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
    with whole_folder(folder, FILES) as staging:
        results.to_dataframe().to_csv(staging / "results.csv", index=False, lineterminator="\n")
        summary = json.dumps(summary_of(results, record), indent=2)
        (staging / "summary.json").write_text(summary + "\n", encoding="utf-8")
        (staging / "config.toml").write_text(config_of(record), encoding="utf-8")


@dataclass(frozen=True, kw_only=True, eq=False)
class RunFolder:
    """A run's folder as it was written, and as `run_checks` has found it.

    rows : results.csv, a row per layer and architecture; an empty cell of text is "", of a number NaN (a column of
    whole numbers with such cells is one of floating-point numbers, all of them exact below 2^53). summary :
    summary.json. config : config.toml.
    """

    path: Path
    rows: pandas.DataFrame
    summary: dict[str, Any]
    config: dict[str, Any]

    @property
    def files(self) -> list[Path]:
        """The files it was read from."""
        return [self.path / name for name in FILES]

    @property
    def archs(self) -> list[str]:
        """Names of the architectures, in the order of the run."""
        return list(self.summary["totals"])

    @property
    def has_energy(self) -> bool:
        """Whether it was run with an energy table."""
        return self.summary["energy"] is not None

    @property
    def has_dram(self) -> bool:
        """Whether some architecture's machine has a DRAM."""
        return any(machine.has_dram for machine in self.machines.values())

    @property
    def fused(self) -> bool:
        """Whether layers left tensors to each other."""
        return self.summary["fuse"]

    @property
    def machine_line(self) -> str:
        """The machine's preset, its DRAM, whether results are the SMEM-resident ideal, and fusion, in a line."""
        said = self.summary
        fused = "; with --fuse" if self.fused else ""
        return f"machine {said['machine']}; DRAM: {said['dram']}; {said['memory']}{fused}"

    @property
    def machines(self) -> dict[str, Machine]:
        """The architectures' machines, by name."""
        return {arch["name"]: Machine.model_validate(arch["machine"]) for arch in self.config["arch"]}


def read_run(folder: Path) -> RunFolder:
    """Read a run's folder.

    Raises
    ------
    InputError
        It is not a folder, lacks a file, or holds one that a run of this version did not write (`run_checks`).
    """
    import pandas

    if not folder.is_dir():
        found = "it is a file" if folder.exists() else "there is no such folder"
        raise InputError(f"{folder}: not a run's folder: {found}")
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(
                f"{folder}: not a run's folder: {name} is missing; `crispsim run --out {folder}` writes one"
            )
    text: dict[Hashable, type] = dict.fromkeys(TEXT_COLUMNS, str)
    read: dict[str, Callable[[Path], Any]] = {
        "results.csv": lambda path: pandas.read_csv(
            path, dtype=text, keep_default_na=False, na_values=dict.fromkeys(MAY_BE_EMPTY, "")
        ),
        "summary.json": lambda path: json.loads(path.read_text(encoding="utf-8")),
        "config.toml": lambda path: tomllib.loads(path.read_text(encoding="utf-8")),
    }
    found = {}
    for name in FILES:
        try:
            found[name] = read[name](folder / name)
        except OSError as error:
            raise InputError(f"{folder}: cannot read: {error.strerror}") from error
        except ValueError as error:
            raise InputError(f"{folder}: not a run's folder: {name}: {why_unread(error)}") from error
    rows, summary, config = (found[name] for name in FILES)
    check_run(folder, rows, summary, config)
    return RunFolder(path=folder, rows=rows, summary=summary, config=config)


def summary_of(results: Results, record: RunRecord) -> dict[str, Any]:
    """Totals per architecture, with what one must know to read them."""
    notes = {row.layer.name: row.note for row in results.of(results.archs[0]) if row.note}
    return {
        "command": record.command,
        "versions": record.versions,
        **results.machine_words(),
        "seed": record.seed,
        "fuse": results.fused,
        "options": record.options,
        "totals_are": "sums over the layers, each as often as it is called, then ratios of sums; speedup in cycles",
        "totals": {arch: results.total(arch).record() for arch in results.archs},
        "energy": None if record.energy is None else _energy_of(results, record.energy),
        "warnings": results.warnings(),
        "dense_by_rule": {name: note for name, note in notes.items() if note != NO_BLOCKS},
        "without_blocks": {name: note for name, note in notes.items() if note == NO_BLOCKS},
        "notices": list(record.notices),
    }


def _energy_of(results: Results, table: EnergyTable) -> dict[str, Any]:
    """The energy table as far as it was used, what each count costs, and the memories with their area."""
    models = results.energy_models
    used: dict[str, Figure] = {}
    for model in models.values():
        used |= {figure.name: figure for figure in model.figures()}
    return {
        "table": table.name,
        "summary": table.summary,
        "node_nm": table.technology.node_nm,
        "figures": [asdict(figure) | {"unit": figure.unit} for figure in used.values()],
        "pj_per_count": {arch: [_term_of(term) for term in model.terms] for arch, model in models.items()},
        "memories": {arch: [memory.record() for memory in model.memories] for arch, model in models.items()},
        "area_mm2": {arch: area_of(model.memories) for arch, model in models.items()},
        "clock_notes": results.clock_notes(),
        "left_out": left_out(results.machines.values()),
    }


def _term_of(term: Term) -> dict[str, Any]:
    return {"part": term.part, "count": term.count, "pj": term.pj, "source": term.source}


def config_of(record: RunRecord) -> str:
    """The run as TOML: command, versions, seed, options, inputs with their hashes, and every machine field."""
    return tomli_w.dumps(
        {
            "command": record.command,
            "seed": record.seed,
            "fuse": record.fuse,
            "energy": _table_of(record.energy),
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


def _table_of(table: EnergyTable | None) -> dict[str, Any]:
    """The whole energy table, so that a run can be made again when the file is gone; only its name if there is none."""
    if table is None:
        return {"table": "none"}
    figures = {f.name: {"pj": f.pj, "kind": f.kind, "source": f.source} for f in table.figures.values()}
    return {"table": table.name} | asdict(table.technology) | {"figures": figures}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_of(path: Path) -> dict[str, str]:
    """The file's SHA-256; nothing for a pipe, which can be read only once."""
    if not path.is_file():
        return {}
    return {"sha256": sha256_of(path)}
