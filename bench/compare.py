"""Two runs side by side: what differs in their configuration, their totals, and layer by layer.

A change in cycles is split exactly by what the cores did: all cores together spend cycles x cores core-cycles, each for
one cause, so that the changes of core-cycles over cores add up to the change in cycles.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..sim import InputError
from ..sim.machine import flatten
from ..sim.result import CAUSE_COLUMNS, DRAM_COLUMNS
from .run_checks import ENERGY_NUMBERS
from .run_folder import SUMMARY_WORDS, RunFolder
from .whole_files import whole_files

if TYPE_CHECKING:
    import pandas

SHAPE = ("s", "k", "p", "groups")
PATTERN = ("nm", "block", "mask", "weight_sparsity", "activation_sparsity")

# Columns of results.csv that are compared, beside those of energy.
_COUNTS = (
    "cycles", *CAUSE_COLUMNS.values(), "smem_read_bytes", "smem_write_bytes", "compute_bound_cycles",
    "smem_bound_cycles", "utilization", "macs_dense", "macs_effectual", "macs_issued", "weight_bytes",
    "metadata_bytes", "activation_bytes", "rf_read_bytes", "rf_write_bytes", "accumulator_read_bytes",
    "accumulator_write_bytes", "mux_selections", "mux2_selections", "popcount_adders", "crossbar_bits", "latency_us",
    "speedup", *(name for name in DRAM_COLUMNS if name not in ("dram_uj", "stall_dram_core_cycles", "blocking")),
)  # fmt: skip

# Of those, what another pattern changes whatever the machine makes of it.
_OF_PATTERN = ("macs_effectual", "tops_per_watt_effectual")

_TOTALS = (
    "cycles", "latency_us", "speedup", "utilization", "macs_dense", "macs_effectual", "macs_issued",
    "compute_bound_cycles", "smem_bound_cycles", "smem_read_bytes", "smem_write_bytes", "weight_bytes",
    "metadata_bytes", "activation_bytes",
    *(name for name in DRAM_COLUMNS if name.startswith(("dram_", "writeback_")) and name != "dram_uj"),
)  # fmt: skip
_MEMORY_FIELDS = ("read_pj", "write_pj", "leakage_mw", "area_mm2", "origin")

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A setting that differs; None where a run does not have it.

    key : dotted, such as `seed`, `options.nm`, `machine.smem.latency_cycles`. archs : labels of the pairs of
    architectures it concerns; empty if it is the run's own.
    """

    key: str
    a: object
    b: object
    archs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Change:
    """A number of both runs."""

    a: float
    b: float

    @property
    def ratio(self) -> float | None:
        """B over A; None where A is zero."""
        return self.b / self.a if self.a else None


@dataclass(frozen=True, kw_only=True, eq=False)
class ArchComparison:
    """One architecture of A beside one of B.

    a, b : names. totals : the network's, by key of summary.json; core-cycles as `core_cycles.CAUSE`. layers : a row per
    layer, in the order of A and then those only in B, with the columns

    layer, arch_a, arch_b : names. in : "both", "a" or "b".
    changed : whether calls, shape or a number differs. pattern_only : whether nothing does but the pattern, with
    macs_effectual and tops_per_watt_effectual, which follow from it alone. differs : columns of shape or pattern that
    differ, separated by spaces; the cycles of such a layer are not comparable one to one.
    calls_a, calls_b, and NAME_a, NAME_b of every column of shape and pattern : as in results.csv.
    NAME_a, NAME_b, NAME_ratio : of every other column compared, of one call; ratio is B over A. Those of DRAM are there
    if a machine of the two has one, 0 of one that has none.
    blocking_a, blocking_b : in which order DRAM was read, then too.
    cycles_change : B - A, of one call. CAUSE_share : the share of this change that the cause explains; the shares
    of a layer add up to 1.

    Empty (NA) where a run lacks the layer, a ratio's A is 0, or the cycles are equal.
    """

    a: str
    b: str
    totals: dict[str, Change]
    layers: pandas.DataFrame

    @property
    def label(self) -> str:
        """The architecture's name, or `A=B` of two names."""
        return label_of((self.a, self.b))

    @property
    def identical(self) -> bool:
        """Whether no result differs."""
        unlike = self.layers["changed"] | self.layers["pattern_only"]
        return not any(unlike) and all(change.a == change.b for change in self.totals.values())

    def only_in(self, run: str) -> list[str]:
        """Names of the layers only in run "a" or "b"."""
        return list(self.layers.loc[self.layers["in"] == run, "layer"])

    def by_change(self) -> pandas.DataFrame:
        """Layers of both runs: the largest change in the network's cycles first, then of its energy.

        Those that changed in their pattern only come after them, unchanged ones last.
        """
        both = self.layers[self.layers["in"] == "both"]
        keys = {f"_not_{name}": ~both[name] for name in ("changed", "pattern_only")}
        for name in ("cycles", "energy_uj"):
            if f"{name}_a" in both:
                change = both[f"{name}_b"] * both["calls_b"] - both[f"{name}_a"] * both["calls_a"]
                keys[f"_{name}"] = -abs(change)
        return both.assign(**keys).sort_values(list(keys), kind="stable").drop(columns=list(keys))


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Two runs side by side.

    configuration : what differs in it. only_a, only_b : architectures that only one has, where not told which to
    compare. archs : those compared. energy_not_compared : why energy is not compared, or None if it is.
    """

    a: RunFolder
    b: RunFolder
    configuration: list[Difference]
    only_a: list[str]
    only_b: list[str]
    archs: list[ArchComparison]
    energy_not_compared: str | None

    @property
    def identical(self) -> bool:
        """Whether neither configuration nor results differ."""
        same_archs = not self.only_a and not self.only_b
        return same_archs and not self.configuration and all(arch.identical for arch in self.archs)

    @property
    def layers(self) -> pandas.DataFrame:
        """The layers of all architectures, one table below the other."""
        import pandas

        return pandas.concat([arch.layers for arch in self.archs], ignore_index=True)


def label_of(pair: Pair) -> str:
    """The architecture's name, or `A=B` of two names."""
    return pair[0] if pair[0] == pair[1] else "=".join(pair)


def choose_pairs(a: RunFolder, b: RunFolder, archs: Sequence[str] = (), pairs: Sequence[str] = ()) -> list[Pair]:
    """Which architecture of A is compared with which of B.

    Parameters
    ----------
    a, b : RunFolder
    archs : sequence of str
        Names in both.
    pairs : sequence of str
        `A_NAME=B_NAME` each. Without either, all names that both runs have.

    Raises
    ------
    InputError
        A name is not a run's; a pair lacks its `=`; the runs have no architecture in common.
    """
    chosen: list[Pair] = []
    for name in archs:
        for run in (a, b):
            if name not in run.archs:
                raise InputError(f"--arch {name}: not in {run.path}, which has {', '.join(run.archs)}")
        chosen.append((name, name))
    for text in pairs:
        if "=" not in text:
            raise InputError(f"--pair {text}: must be A_NAME=B_NAME, an architecture of A and one of B")
        ends = [index for index, letter in enumerate(text) if letter == "="]  # a name may hold one itself
        splits = [(text[:end], text[end + 1 :]) for end in ends]
        known = [pair for pair in splits if pair[0] in a.archs and pair[1] in b.archs]
        if not known:
            raise InputError(
                f"--pair {text}: must name one of {', '.join(a.archs)} ({a.path}) and, after =, one of "
                f"{', '.join(b.archs)} ({b.path})"
            )
        chosen.append(known[0])
    if not archs and not pairs:
        chosen = [(name, name) for name in a.archs if name in b.archs]
        if not chosen:
            raise InputError(
                f"no architecture in common: {a.path} has {', '.join(a.archs)}, {b.path} {', '.join(b.archs)}; "
                f"--pair A_NAME=B_NAME compares two of different names"
            )
    return list(dict.fromkeys(chosen))


def compare_runs(a: RunFolder, b: RunFolder, pairs: Sequence[Pair] | None = None) -> Comparison:
    """Compare two runs.

    Parameters
    ----------
    a, b : RunFolder
    pairs : sequence of (str, str), optional
        Architectures of A and of B, as `choose_pairs` gives them; all that both have by default.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        The runs have no architecture in common.
    """
    named = pairs is not None
    pairs = list(pairs) if pairs is not None else choose_pairs(a, b)
    without = [name for name, run in (("A", a), ("B", b)) if not run.has_energy]
    counted = [*_COUNTS, *(() if without else ENERGY_NUMBERS)]
    lacks = f"{' and '.join(without)} {'were' if len(without) > 1 else 'was'} run without an energy table"
    return Comparison(
        a=a,
        b=b,
        configuration=_configuration(a, b, pairs),
        only_a=[] if named else [name for name in a.archs if name not in b.archs],
        only_b=[] if named else [name for name in b.archs if name not in a.archs],
        archs=[
            ArchComparison(
                a=pair[0],
                b=pair[1],
                totals=_totals(a, b, pair, energy=not without),
                layers=_layers(a, b, pair, _modelled(counted, a, b, pair)),
            )
            for pair in pairs
        ],
        energy_not_compared=lacks if without else None,
    )


def json_of(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON's own values; every layer of every architecture, None for what is not there."""
    return {
        **{name: _told_of(run) for name, run in (("a", comparison.a), ("b", comparison.b))},
        "identical": comparison.identical,
        "configuration": [{"key": d.key, "a": d.a, "b": d.b, "archs": list(d.archs)} for d in comparison.configuration],
        "archs_only_in_a": comparison.only_a,
        "archs_only_in_b": comparison.only_b,
        "energy_not_compared": comparison.energy_not_compared,
        "archs": [
            {
                "a": arch.a,
                "b": arch.b,
                "identical": arch.identical,
                "totals": {
                    name: {"a": change.a, "b": change.b, "ratio": change.ratio} for name, change in arch.totals.items()
                },
                "layers_only_in_a": arch.only_in("a"),
                "layers_only_in_b": arch.only_in("b"),
                "layers": _plain_records(arch.layers),
            }
            for arch in comparison.archs
        ],
    }


def _told_of(run: RunFolder) -> dict[str, Any]:
    """What must be known of a run to read any of its numbers."""
    return {"path": str(run.path)} | {name: run.summary[name] for name in ("command", *SUMMARY_WORDS)}


def write_csv(path: Path, comparison: Comparison) -> None:
    """Write the table of layers, a row per layer and architecture, whole or not at all.

    Raises
    ------
    InputError
        It cannot be written.
    """
    with whole_files([path]) as (staged,):
        comparison.layers.to_csv(staged, index=False, lineterminator="\n")


def _configuration(a: RunFolder, b: RunFolder, pairs: Sequence[Pair]) -> list[Difference]:
    figures = a.has_energy and b.has_energy  # else that one has none is all there is to say
    inputs = _differences(_inputs(a), _inputs(b))
    paths = {(d.a, d.b) for d in inputs}
    settings = _differences(_settings(a, figures=figures), _settings(b, figures=figures))
    own = [d for d in settings if (d.a, d.b) not in paths]  # an input's path is told once
    concerned: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    found: dict[tuple[str, str, str], Difference] = {}
    for pair in pairs:
        for difference in _differences(
            _arch_settings(a, pair[0], figures=figures), _arch_settings(b, pair[1], figures=figures)
        ):
            same = (difference.key, repr(difference.a), repr(difference.b))
            found.setdefault(same, difference)
            concerned[same].append(label_of(pair))
    by_arch = [Difference(key=d.key, a=d.a, b=d.b, archs=tuple(concerned[same])) for same, d in found.items()]
    return [*own, *inputs, *by_arch]


def _differences(a: Mapping[str, object], b: Mapping[str, object]) -> list[Difference]:
    keys = dict.fromkeys([*a, *b])
    return [Difference(key=key, a=a.get(key), b=b.get(key)) for key in keys if a.get(key) != b.get(key)]


def _settings(run: RunFolder, *, figures: bool) -> dict[str, object]:
    """The run's own settings, by dotted key."""
    config = run.config
    settings: dict[str, object] = {name: config[name] for name in ("seed", "fuse")}
    settings |= flatten({name: config[name] for name in ("options", "versions")})
    settings |= {name: run.summary[name] for name in ("dram", "memory")}
    energy = flatten({"energy": config["energy"]})
    told = (key for key in energy if key == "energy.table" or (figures and not key.endswith((".source", ".kind"))))
    return settings | {key: energy[key] for key in told}


def _inputs(run: RunFolder) -> dict[str, object]:
    """Path and hash of every file it read, in the order of config.toml."""
    files = enumerate(run.config["input"], start=1)
    return {f"input {place}.{name}": file.get(name) for place, file in files for name in ("path", "sha256")}


def _arch_settings(run: RunFolder, name: str, *, figures: bool) -> dict[str, object]:
    """An architecture's settings: what it is, its masks, every machine field, what its memories cost."""
    arch = next(arch for arch in run.config["arch"] if arch["name"] == name)
    memories = run.summary["energy"]["memories"][name] if figures else []
    return {
        "arch": arch["arch"],
        "masks": arch["masks"],
        **flatten({"machine": arch["machine"]}),
        **{f"memory.{part['part']}.{field}": part[field] for part in memories for field in _MEMORY_FIELDS},
    }


def _modelled(names: Collection[str], a: RunFolder, b: RunFolder, pair: Pair) -> list[str]:
    """Those of the names that the two have: of DRAM only if a machine has one."""
    with_dram = a.machines[pair[0]].has_dram or b.machines[pair[1]].has_dram
    return [name for name in names if with_dram or name not in DRAM_COLUMNS]


def _causes(names: Collection[str]) -> dict[str, str]:
    """The causes of core-cycles among columns, with their columns."""
    return {cause: column for cause, column in CAUSE_COLUMNS.items() if column in names}


def _totals(a: RunFolder, b: RunFolder, pair: Pair, *, energy: bool) -> dict[str, Change]:
    """Totals of the two."""
    one, other = _total_of(a, pair[0]), _total_of(b, pair[1])
    causes = _causes(_modelled(CAUSE_COLUMNS.values(), a, b, pair))
    names = _modelled([*_TOTALS, *(ENERGY_NUMBERS if energy else ())], a, b, pair)
    return {
        name: Change(a=one[name], b=other[name]) for name in [*names, *(f"core_cycles.{cause}" for cause in causes)]
    }


def _total_of(run: RunFolder, arch: str) -> dict[str, Any]:
    """The totals by dotted key; of DRAM 0 where there is none."""
    none = dict.fromkeys((*DRAM_COLUMNS, "core_cycles.stall_dram"), 0)
    return none | flatten(run.summary["totals"][arch])


def _layers(a: RunFolder, b: RunFolder, pair: Pair, measures: Sequence[str]) -> pandas.DataFrame:
    rows_a, rows_b = _rows_of(a, pair[0]), _rows_of(b, pair[1])
    causes, records = _causes(measures), []
    told = ("blocking",) if "stall_dram" in causes else ()
    for key in dict.fromkeys([*rows_a, *rows_b]):
        one, other = rows_a.get(key), rows_b.get(key)
        compared = ("calls", *SHAPE, *PATTERN, *measures)
        record = {"layer": key[0], "arch_a": pair[0], "arch_b": pair[1]}
        record |= {f"{name}_a": one[name] for name in (*compared, *told) if one}
        record |= {f"{name}_b": other[name] for name in (*compared, *told) if other}
        if one and other:
            unlike = [name for name in compared if one[name] != other[name]]
            changed = any(name not in PATTERN and name not in _OF_PATTERN for name in unlike)
            record |= {"in": "both", "changed": changed, "pattern_only": bool(unlike) and not changed}
            record["differs"] = " ".join(name for name in unlike if name in SHAPE or name in PATTERN)
            record |= {f"{name}_ratio": Change(a=one[name], b=other[name]).ratio for name in measures}
            record |= _split(one, other, causes)
        else:
            record |= {"in": "a" if one else "b", "changed": True, "pattern_only": False, "differs": ""}
        records.append(record)
    return _table(records, measures)


def _rows_of(run: RunFolder, arch: str) -> dict[tuple[str, int], dict[str, Any]]:
    """Rows of an architecture by the layer's name and its occurrence; of DRAM 0, and no blocking, without one."""
    seen: Counter[str] = Counter()
    found = {}
    own = run.rows.loc[run.rows["arch"] == arch]
    if run.machines[arch].has_dram:
        whole = [name for name in DRAM_COLUMNS if name in own and name not in ("dram_uj", "blocking")]
        own = own.astype(dict.fromkeys(whole, int))  # rows without left them floating-point numbers
    else:
        own = own.assign(**(dict.fromkeys(DRAM_COLUMNS, 0) | {"blocking": ""}))
    for row in own.to_dict(orient="records"):
        name = str(row["layer"])
        found[name, seen[name]] = row
        seen[name] += 1
    return found


def _split(one: Mapping[str, Any], other: Mapping[str, Any], causes: Mapping[str, str]) -> dict[str, Any]:
    """The change in cycles, and the share of it that each cause explains."""
    change = other["cycles"] - one["cycles"]
    if not change:
        return {"cycles_change": change}
    before, after = _cycles_by_cause(one, causes), _cycles_by_cause(other, causes)
    return {"cycles_change": change} | {
        f"{cause}_share": (after[cause] - before[cause]) / change + 0.0 for cause in causes
    }


def _cycles_by_cause(row: Mapping[str, Any], causes: Mapping[str, str]) -> dict[str, float]:
    """The layer's cycles, split as its core-cycles are."""
    spent = {cause: row[column] for cause, column in causes.items()}
    return {cause: value * row["cycles"] / sum(spent.values()) for cause, value in spent.items()}


def _table(records: Sequence[dict[str, Any]], measures: Sequence[str]) -> pandas.DataFrame:
    """The records with the type of each column kept, where some of its cells are empty."""
    import pandas

    table = pandas.DataFrame({name: [record.get(name) for record in records] for name in _columns(measures)})
    for name in table.columns:
        values = [record.get(name) for record in records if record.get(name) is not None]
        if name not in ("changed", "pattern_only") and values and all(isinstance(value, int) for value in values):
            table[name] = pandas.array([record.get(name) for record in records], dtype="Int64")
    return table


def _columns(measures: Sequence[str]) -> Iterator[str]:
    yield from ("layer", "arch_a", "arch_b", "in", "changed", "pattern_only", "differs")
    for name in ("calls", *SHAPE, *PATTERN):
        yield from (f"{name}_a", f"{name}_b")
    for name in measures:
        yield from (f"{name}_a", f"{name}_b", f"{name}_ratio")
    causes = _causes(measures)
    if "stall_dram" in causes:
        yield from ("blocking_a", "blocking_b")
    yield "cycles_change"
    yield from (f"{cause}_share" for cause in causes)


def _plain_records(table: pandas.DataFrame) -> list[dict[str, Any]]:
    import pandas

    return [
        {name: None if pandas.isna(value) else value for name, value in record.items()}
        for record in table.to_dict(orient="records")
    ]
