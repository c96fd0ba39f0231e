"""A study as rows and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...sim.energy import FIGURES, EnergyModel
from ...sim.energy.spreads import ITEMS
from ...sim.result import parts_of
from ..run_folder import SUMMARY_WORDS
from ..whole_files import whole_files
from .findings import Choice, Finding, Range
from .options import Option, model_of
from .study import Study


def records_of(study: Study) -> list[dict[str, Any]]:
    """Each option of each item alone, on each architecture.

    pj : by name, as `pj_of` gives it. energy_gain : None where dense was not run on the architecture's machine.
    """
    made = []
    parts = parts_of(with_dram=study.run.has_dram)
    for axis, item in enumerate(study.items):
        for index, option in enumerate(item.options):
            pj = pj_of(study, option)
            for arch in study.archs:
                energy = study.at(study.energies[arch.name], axis, index)
                over = study.baselines[arch.name]
                gain = None if over is None else study.at(study.energies[over], axis, index) / energy
                made.append(
                    {
                        "item": item.name,
                        "alternative": option.label,
                        "as_run": index == item.base,
                        "arch": arch.name,
                        "pj": pj[arch.name],
                        "energy_uj": energy,
                        **{f"{part}_uj": study.at(study.parts[arch.name][part], axis, index) for part in parts},
                        "latency_us": arch.latency_us,
                        "edp_uj_us": energy * arch.latency_us,
                        "energy_gain": gain,
                        "kind": option.kind,
                        "why": option.why,
                        "source": option.source,
                    }
                )
    return made


def pj_of(study: Study, option: Option) -> dict[str, dict[str, float]]:
    """What an option says of its item, by architecture and name; nothing where the architecture has no use for it.

    In pJ an operation, bit or byte as the item has it; of the technology the leakage in uW as well.
    """
    return {arch.name: _pj(option.item, model_of(arch, study.table, [option])) for arch in study.archs}


def write_options(path: Path, study: Study) -> None:
    """Write a row per item, option and architecture, all of them or none.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    import pandas

    rows = [
        row | {"pj": " ".join(f"{name}={value!r}" for name, value in row["pj"].items())} for row in records_of(study)
    ]
    with whole_files([path]) as (staged,):
        pandas.DataFrame(rows).to_csv(staged, index=False, lineterminator="\n")


def json_of(study: Study) -> dict[str, Any]:
    """The study as JSON's own values."""

    def choices(made: Sequence[Choice]) -> list[dict[str, str]]:
        return [{"item": item, "alternative": label} for item, label in made]

    def span(given: Range) -> dict[str, Any]:
        ends = {"least": given.least, "greatest": given.greatest}
        return ends | {"least_with": choices(given.least_with), "greatest_with": choices(given.greatest_with)}

    def finding(given: Finding) -> dict[str, Any]:
        return {
            "verdict": given.verdict,
            "overturned_by": choices(given.overturned_by),
            "share_of_combinations": given.share,
        }

    return {
        "path": str(study.run.path),
        "command": study.run.summary["command"],
        **{name: study.run.summary[name] for name in SUMMARY_WORDS},
        "energy": {"table": study.table.name, "node_nm": study.table.technology.node_nm},
        "combinations": study.combinations,
        "left_out": list(study.left_out),
        "baselines": study.baselines,
        "conclusions": [
            {
                "measure": c.measure,
                "a": c.a,
                "b": c.b,
                "says": "equal" if c.equal else "a < b",
                "b_over_a": c.ratio,
                "one_at_a_time": span(c.one_at_a_time),
                "all_at_once": span(c.all_at_once),
            }
            | finding(c)
            for c in study.conclusions
        ],
        "gains": [
            {
                "arch": gain.arch,
                "over": gain.over,
                "energy_gain": gain.gain,
                "one_at_a_time": span(gain.one_at_a_time),
                "all_at_once": span(gain.all_at_once),
            }
            for gain in study.gains
        ],
        "largest_parts": [
            {"arch": part.arch, "part": part.part, "share_of_energy": part.of_energy, "others": list(part.others)}
            | finding(part)
            for part in study.largest_parts
        ],
        "items": [{"item": item.name, "run": item.options[item.base].label} for item in study.items],
        "alternatives": records_of(study),
    }


def _pj(item: str, model: EnergyModel) -> dict[str, float]:
    """What an architecture takes for an item, by name: an operation, a bit, a byte read or written."""
    if item == "technology":
        pj = {}
        for memory in model.memories:
            for term in model.terms:
                if term.figures and memory.part in term.memories:  # the last figure is the array's own
                    pj.setdefault(_name(item, term.figures[-1]), term.pj)
        return pj | {"leakage_uw": 1000 * sum(memory.leakage_mw for memory in model.memories)}
    if item == "dram":
        return {"bit": model.machine.dram.pj_per_bit} if model.machine.has_dram else {}
    own = [term for term in model.terms if term.figures and term.figures[0] in ITEMS[item]]
    return {_name(item, term.figures[0]): term.pj / term.units for term in own}


def _name(item: str, figure: str) -> str:
    """What to call a figure of an item: by its unit, a byte by what is done with it."""
    unit = FIGURES[figure][0].removeprefix("pJ/")
    return figure.removeprefix(f"{item}_").removesuffix("_byte") if unit == "B" else unit
