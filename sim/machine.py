"""The machine: typed, validated, frozen; read from a TOML preset or file and overridden by dotted keys.

The values and their sources stand in `presets/*.toml`; the units and rules stand here. Nothing here has a
default of its own, so that a number has one home.
"""

from __future__ import annotations

import difflib
import functools
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from .errors import InputError

DEFAULT_PRESET = "edge"

# The name of a DRAM that has none, or is not there.
NO_DRAM = "none"

# Fields that tell a machine from a preset: of more, only how many they are.
_MOST_NAMED = 4

# The alias that sets both ports of the SMEM.
_BOTH_PORTS = "smem.bytes_per_cycle"
_PORTS = ("smem.read_bytes_per_cycle", "smem.write_bytes_per_cycle")

Overrides = Mapping[str, object]


class _Section(BaseModel, frozen=True, extra="forbid", strict=True):
    """Sections compare and hash by their fields; an unknown field is an error."""


def _count(meaning: str, unit: str, *, least: int = 1, most: int = 1 << 20) -> Any:
    return Field(ge=least, le=most, description=meaning, json_schema_extra={"unit": unit})


Ports = Annotated[
    Literal["1rw", "1r1w", "2rw"],
    Field(description="ports of a bank: one for reads and writes, one for each, or two for both"),
]
Bits = Annotated[Literal[8, 16, 32], Field(json_schema_extra={"unit": "bit"})]


class Smem(_Section, frozen=True):
    """The shared memory and its two ports."""

    capacity_bytes: int = _count("capacity; tensors beyond it are reported without a DRAM", "B", most=1 << 40)
    read_bytes_per_cycle: int = _count("bandwidth of the read port", "B/cycle")
    write_bytes_per_cycle: int = _count("bandwidth of the write port", "B/cycle")
    latency_cycles: int = _count("from a transfer's last byte to the first step that may use it", "cycle")
    banks: int = _count("banks; only energy, area and the check of the clock depend on them", "", most=1024)
    word_bits: int = _count("word of a bank", "bit", most=4096)
    ports: Ports


class Core(_Section, frozen=True):
    """The tensor cores."""

    count: int = _count("tensor cores", "", most=64)
    rows: int = _count("output rows a core works on", "", most=1024)
    lanes: int = _count("multiply-accumulate lanes a row", "", most=1024)
    pipeline_cycles: int = _count("depth of the MAC pipeline", "cycle", least=0)


class RegisterFile(_Section, frozen=True):
    """The register file of one core."""

    bytes: int = _count("capacity a core", "B", most=1 << 30)
    holds: Literal["all", "sums"] = Field(description="all: sums, weights, chunks; sums: partial sums only")
    read_bytes_per_cycle: int = _count("port towards the MACs; 0 = no limit", "B/cycle", least=0)
    sums: Literal["array", "flip-flops"] = Field(description="what partial sums are held in; only energy depends on it")
    banks: int = _count(
        "banks of the array; only energy, area and the check of the clock depend on them", "", most=1024
    )
    word_bits: int = _count("word of a bank", "bit", most=4096)
    ports: Ports


class Dstc(_Section, frozen=True):
    """What only the dual-side tensor core has (docs/microarchitecture.md, section 6)."""

    tile_rows: int = _count("rows of a core's tile of sums", "", most=64)
    tile_columns: int = _count("columns of a core's tile of sums", "", most=64)
    accumulator_bytes: int = _count("accumulation buffer a core", "B", most=1 << 20)
    accumulator_values_per_cycle: int = _count("sums read, and as many written, a cycle", "")
    accumulator_banks: int = _count("banks of the buffer; only energy, area and the clock's check", "", most=1024)
    accumulator_word_bits: int = _count("word of a bank", "bit", most=4096)
    accumulator_ports: Ports
    slice_positions: int = _count("positions of K a slice", "", most=4096)
    slice_slots: int = _count("slices a core holds of each operand", "", most=64)
    step_rows: int = _count("weights an outer-product step multiplies; 0 = core.rows", "", least=0, most=64)
    step_columns: int = _count("activations it multiplies them with; 0 = core.lanes", "", least=0, most=64)
    core_columns: int = _count("cores side by side along columns; 0 = as near to a square", "", least=0, most=64)


class Dram(_Section, frozen=True):
    """The memory behind the SMEM (docs/microarchitecture.md, section 8).

    One channel, half duplex. Its bandwidth is the peak one, the same in every cycle: refresh, row misses and
    turn-around are not modelled.
    """

    name: str = Field(
        min_length=1, max_length=80, pattern=r"^[!-~]([ -~]*[!-~])?$", description="what outputs call it; none: no name"
    )
    bytes_per_cycle: int = _count(
        "peak bandwidth, reads and writes together; 0 = none: every tensor lies in the SMEM", "B/cycle", least=0
    )
    latency_cycles: int = _count("from a burst's last byte on the channel to the SMEM's write port", "cycle")
    burst_bytes: int = _count("the most that the channel moves at a time; a multiple of an output's bytes", "B")
    pj_per_bit: float = Field(
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="energy of a bit read or written, interface and array",
        json_schema_extra={"unit": "pJ/bit"},
    )


class Machine(_Section, frozen=True):
    """A machine: SMEM, register files, tensor cores (paper, section III-E), and the DRAM behind them, if any.

    Make one with `Machine.load`; two machines with equal fields are equal.
    """

    clock_ghz: float = Field(gt=0, le=1000, allow_inf_nan=False, description="clock", json_schema_extra={"unit": "GHz"})
    operand_bits: Literal[8, 16] = Field(description="a weight or an activation", json_schema_extra={"unit": "bit"})
    sum_bits: Bits = Field(description="a partial sum", json_schema_extra={"unit": "bit"})
    output_bits: Bits = Field(description="a result", json_schema_extra={"unit": "bit"})
    chunk_columns: int = _count("columns of an activation chunk", "", most=4096)
    chunk_slots: int = _count("activation chunks a core holds", "", most=4096)
    column_tile: int = _count("columns of a tile; 0 = as many as fit", "", least=0)
    block_index_bytes: int = _count("bytes of one block-column index", "B", least=0, most=8)
    smem: Smem
    core: Core
    rf: RegisterFile
    dstc: Dstc
    dram: Dram

    @model_validator(mode="after")
    def _tile_is_whole_chunks(self) -> Machine:
        if self.column_tile % self.chunk_columns:
            raise ValueError(
                f"column_tile: value {self.column_tile}: must be a multiple of chunk_columns = {self.chunk_columns}"
            )
        return self

    @model_validator(mode="after")
    def _burst_is_whole_outputs(self) -> Machine:
        if self.has_dram and self.dram.burst_bytes % self.output_bytes:
            raise ValueError(
                f"dram.burst_bytes: value {self.dram.burst_bytes}: must be a multiple of an output's "
                f"{self.output_bytes} bytes"
            )
        return self

    @property
    def has_dram(self) -> bool:
        """Whether tensors start and end in a DRAM; if not, all of them are taken to lie in the SMEM."""
        return self.dram.bytes_per_cycle > 0

    @property
    def without_dram(self) -> Machine:
        """The same machine with every tensor taken to lie in the SMEM; itself if it has no DRAM."""
        if not self.has_dram:
            return self
        return self.model_copy(update={"dram": self.dram.model_copy(update={"bytes_per_cycle": 0})})

    @property
    def dram_line(self) -> str:
        """The DRAM in words: its name, peak bandwidth, latency and energy; `none` where there is none."""
        if not self.has_dram:
            return NO_DRAM
        dram = self.dram
        name = [dram.name] if dram.name != NO_DRAM else []
        cycles = "1 cycle" if dram.latency_cycles == 1 else f"{dram.latency_cycles} cycles"
        return ", ".join(
            [*name, f"{dram.bytes_per_cycle} B/cycle peak", f"latency {cycles}", f"{dram.pj_per_bit:g} pJ/bit"]
        )

    @property
    def dual_side(self) -> Dstc:
        """The dstc section as it runs: with what stands for 0 in place of it."""
        count = self.core.count
        usual = {
            "step_rows": self.core.rows,
            "step_columns": self.core.lanes,
            "core_columns": max(d for d in range(1, math.isqrt(count) + 1) if count % d == 0),
        }
        return self.dstc.model_copy(update={key: usual[key] for key in usual if getattr(self.dstc, key) == 0})

    @property
    def operand_bytes(self) -> int:
        """Bytes of a weight or an activation."""
        return self.operand_bits // 8

    @property
    def sum_bytes(self) -> int:
        """Bytes of a partial sum."""
        return self.sum_bits // 8

    @property
    def output_bytes(self) -> int:
        """Bytes of a result."""
        return self.output_bits // 8

    @property
    def macs(self) -> int:
        """Multiply-accumulate units of all cores."""
        return self.core.count * self.core.rows * self.core.lanes

    @property
    def peak_tops(self) -> float:
        """Operations on stored values, 10^12 a second: two a MAC."""
        return 2 * self.macs * self.clock_ghz / 1000

    @property
    def band_rows(self) -> int:
        """Output rows all cores work on at a time."""
        return self.core.count * self.core.rows

    @classmethod
    def load(
        cls,
        source: str | Path | Machine = DEFAULT_PRESET,
        *overrides: Overrides,
        origins: Sequence[str] = ("--set",),
    ) -> Machine:
        """Read a preset (such as `edge` or `edge-lpddr4`) or a TOML file, and apply dotted overrides.

        A preset or a file needs to name only what differs from the default preset.

        Parameters
        ----------
        source : str, Path or Machine
            Name of a preset, path of a file ending in .toml, or a machine to vary.
        *overrides : mappings of str to value
            Such as {"smem.latency_cycles": 3}, later ones winning; `smem.bytes_per_cycle` sets both ports.
        origins : sequence of str
            Where each mapping comes from, for messages; the last stands for all further ones.

        Raises
        ------
        InputError
            Unknown preset, unreadable file, unknown key (with the nearest known one), or a value out of range.

        >>> Machine.load("edge", {"smem.bytes_per_cycle": 32}).smem.write_bytes_per_cycle
        32
        """
        origin = "machine" if isinstance(source, Machine) else str(source)
        if isinstance(source, Machine):
            own = flatten(source.model_dump())
        elif origin.endswith(".toml"):
            own = expand_aliases(flatten(read_toml(Path(origin))), origin)
        else:
            own = flatten(_read_preset(origin))
        layers = [(DEFAULT_PRESET, flatten(_read_preset(DEFAULT_PRESET))), (origin, own)]
        places = [*origins, *[origins[-1]] * len(overrides)]
        for where, mapping in zip(places, overrides, strict=False):
            layers.append((where, expand_aliases(dict(mapping), where)))
        fields = {key: value for _, mapping in layers for key, value in mapping.items()}
        return _build(fields, {key: where for where, mapping in layers for key in mapping})


def preset_names() -> list[str]:
    """Names of the shipped machine presets."""
    return sorted(p.name.removesuffix(".toml") for p in _preset_folder().iterdir() if p.name.endswith(".toml"))


def name_of(machine: Machine) -> str:
    """The preset that a machine is, or the nearest one with what differs.

    >>> name_of(Machine.load("edge-lpddr4", {"chunk_slots": 6}))
    'edge-lpddr4 with chunk_slots = 6'
    """
    own = flatten(machine.model_dump())
    presets = _presets()
    unlike = {name: [key for key in own if own[key] != presets[name][key]] for name in presets}
    nearest = min(unlike, key=lambda name: (len(unlike[name]), name != DEFAULT_PRESET))
    changed = unlike[nearest]
    if not changed:
        return nearest
    if len(changed) > _MOST_NAMED:
        return f"{nearest} with {len(changed)} fields changed"
    return f"{nearest} with {', '.join(f'{key} = {own[key]}' for key in changed)}"


def describe(machine: Machine) -> list[tuple[str, object, str, str]]:
    """Every field as (dotted key, value, unit, meaning), in the order of declaration."""
    rows: list[tuple[str, object, str, str]] = []
    for prefix, section in [
        ("", machine),
        ("smem.", machine.smem),
        ("core.", machine.core),
        ("rf.", machine.rf),
        ("dstc.", machine.dstc),
        ("dram.", machine.dram),
    ]:
        for name, info in type(section).model_fields.items():
            value = getattr(section, name)
            if not isinstance(value, _Section):
                extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
                rows.append((prefix + name, value, str(extra.get("unit", "")), info.description or ""))
    return rows


def known_keys() -> list[str]:
    """Every dotted key that an override may name."""
    return [*flatten(_read_preset(DEFAULT_PRESET)), _BOTH_PORTS]


def flatten(table: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Turn nested tables into dotted keys."""
    flat: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    InputError
        The file is missing, unreadable or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from error


def parse_override(text: str) -> tuple[str, object]:
    """Read `key=value` of `--set`; the value is a TOML value, a bare word counts as text.

    >>> parse_override("smem.latency_cycles=3")
    ('smem.latency_cycles', 3)

    Raises
    ------
    InputError
        There is no `=`, or nothing on one of its sides.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals and value):
        raise InputError(f"--set {text!r}: expected KEY=VALUE, such as smem.bytes_per_cycle=32")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def parse_overrides(texts: Iterable[str]) -> dict[str, object]:
    """Read several `--set`; of equal keys the last one wins, and counts at its own place.

    >>> list(parse_overrides(["smem.bytes_per_cycle=8", "chunk_slots=2", "smem.bytes_per_cycle=16"]).items())
    [('chunk_slots', 2), ('smem.bytes_per_cycle', 16)]

    Raises
    ------
    InputError
        As `parse_override`.
    """
    fields: dict[str, object] = {}
    for key, value in map(parse_override, texts):
        fields.pop(key, None)
        fields[key] = value
    return fields


def expand_aliases(fields: dict[str, object], where: str) -> dict[str, object]:
    """Refuse unknown keys, naming the nearest known one, and spread `smem.bytes_per_cycle` over both ports; later wins.

    Raises
    ------
    InputError
        A key is unknown.
    """
    known = known_keys()
    for key in fields:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise InputError(f"{where}: unknown key {key!r}; the nearest known one is {nearest!r}")
    spread: dict[str, object] = {}
    for key, value in fields.items():
        spread |= dict.fromkeys(_PORTS, value) if key == _BOTH_PORTS else {key: value}
    return spread


def _preset_folder() -> Any:
    return resources.files(__package__ or "crispsim.sim") / "presets"


@functools.cache
def _presets() -> dict[str, dict[str, object]]:
    """The fields of every preset, by dotted key."""
    return {name: flatten(Machine.load(name).model_dump()) for name in preset_names()}


def _read_preset(name: str) -> dict[str, Any]:
    if name not in preset_names():
        raise InputError(f"machine {name!r}: unknown; known presets are {', '.join(preset_names())}, or a .toml file")
    return tomllib.loads((_preset_folder() / f"{name}.toml").read_text(encoding="utf-8"))


def _build(fields: Mapping[str, object], origins: Mapping[str, str]) -> Machine:
    nested: dict[str, Any] = {}
    for key, value in fields.items():
        section, _, name = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[name] = value
    try:
        return Machine.model_validate(nested)
    except ValidationError as error:
        lines = [_one_line(problem, origins) for problem in error.errors()]
        both = [line for line in lines if any(port in line for port in _PORTS)]
        if len({line.replace(_PORTS[0], _PORTS[1]) for line in both}) == 1 < len(both):  # one bad value for the alias
            lines = [both[0].replace(_PORTS[0], _BOTH_PORTS), *(line for line in lines if line not in both)]
        raise InputError(*lines) from error


def _one_line(problem: Any, origins: Mapping[str, str]) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    rule = problem["msg"].removeprefix("Value error, ").replace("Input should", "must").replace("String should", "must")
    if not key:  # a rule over several fields names the one at fault itself
        return f"{origins[rule.partition(':')[0]]}: {rule}"
    return f"{origins[key]}: {key}: value {problem['input']!r}: {rule}"
