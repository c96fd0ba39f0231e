"""A run with every alternative of its figures: its energies, and which conclusions stand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ...sim.energy import PARTS, EnergyTable
from ...sim.energy.spreads import load_spreads, prices
from ..run_folder import RunFolder
from .findings import Choice, Conclusion, Gain, LargestPart, Measure, Range, Verdict
from .options import Item, make_items, model_of
from .run_energy import AGREEMENT, Arch, check_energies, read_archs, read_table

Floats = npt.NDArray[np.float64]

# Ratios closer to 1 than this are equal: the sums differ by rounding only.
TIE = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """A run with every alternative.

    Parameters
    ----------
    items : tuple of Item
        Those that make a difference to this run, in the order of `ITEMS`.
    parts : mapping
        By architecture and part: uJ of the network, an axis for each item; of length 1 where the item does not matter.
    left_out : tuple of str
        Items and alternatives that are not varied, and why.
    """

    run: RunFolder
    table: EnergyTable
    archs: tuple[Arch, ...]
    items: tuple[Item, ...]
    parts: Mapping[str, Mapping[str, Floats]]
    left_out: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Options of each item."""
        return tuple(len(item.options) for item in self.items)

    @property
    def combinations(self) -> int:
        """Of all options of all items."""
        return math.prod(self.shape)

    @property
    def base(self) -> tuple[int, ...]:
        """The place of the run itself."""
        return tuple(item.base for item in self.items)

    @cached_property
    def baselines(self) -> dict[str, str | None]:
        """By architecture: the dense one whose energy makes its gain, the run's own; None if that was not run."""
        return {arch.name: self._baseline_of(arch) for arch in self.archs}

    @property
    def without_gain(self) -> list[str]:
        """Names of the architectures on whose machine dense was not run."""
        return [name for name, baseline in self.baselines.items() if baseline is None]

    @cached_property
    def energies(self) -> dict[str, Floats]:
        """By architecture: uJ of the network, an axis for each item."""
        return {name: sum(parts.values(), start=np.zeros((1,) * len(self.items))) for name, parts in self.parts.items()}

    @cached_property
    def conclusions(self) -> list[Conclusion]:
        """Every pair of architectures in the order that the run puts them in, by energy and by energy x delay."""
        return [
            self._conclusion(measure, *pair)
            for measure in ("energy", "edp")
            for pair in itertools.combinations(self._order(measure), 2)
        ]

    @cached_property
    def gains(self) -> list[Gain]:
        """Of each architecture over dense on its machine; of those only on whose machine dense was run."""
        made = []
        for name, over in self.baselines.items():
            if over not in (None, name):
                ratio = self.energies[over] / self.energies[name]
                one, every = self._one_at_a_time(ratio), self._all_at_once(ratio)
                made.append(Gain(arch=name, over=over, gain=self.at(ratio), one_at_a_time=one, all_at_once=every))
        return made

    @cached_property
    def largest_parts(self) -> list[LargestPart]:
        """Of each architecture."""
        return [self.largest_part(arch.name) for arch in self.archs]

    def largest_part(self, arch: str) -> LargestPart:
        """Of an architecture's energy, and whether it stays that."""
        parts = self.parts[arch]
        part = max(PARTS, key=lambda name: self.at(parts[name]))
        largest = np.zeros((1,) * len(self.items))
        for name in PARTS:
            if name != part:
                largest = np.maximum(largest, parts[name])
        exceeding = [
            name for name in PARTS if name != part and np.any((parts[name] >= largest) & (parts[name] > parts[part]))
        ]
        return LargestPart(
            **self._finding(parts[part] >= largest),
            arch=arch,
            part=part,
            of_energy=self.at(parts[part]) / self.at(self.energies[arch]),
            others=tuple(exceeding),
        )

    def at(self, values: npt.NDArray[Any], item: int | None = None, option: int = 0) -> float:
        """The run's own value, or that with another option of one item."""
        place = [option if axis == item else base for axis, base in enumerate(self.base)]
        return float(values[tuple(min(index, size - 1) for index, size in zip(place, values.shape, strict=True))])

    def others(self) -> Iterator[tuple[int, int, Choice]]:
        """Every option but the run's own ones: its item's place, its own, and the choice."""
        for axis, item in enumerate(self.items):
            for index, option in enumerate(item.options):
                if index != item.base:
                    yield axis, index, (item.name, option.label)

    def _baseline_of(self, arch: Arch) -> str | None:
        if arch.baseline:
            return arch.name
        for dense in sorted((one for one in self.archs if one.baseline), key=lambda one: one.machine != arch.machine):
            gain = self.at(self.energies[dense.name]) / self.at(self.energies[arch.name])
            if math.isclose(gain, self.run.summary["totals"][arch.name]["energy_gain"], rel_tol=AGREEMENT):
                return dense.name
        return None

    def _order(self, measure: Measure) -> list[str]:
        """Names, the least first; those that are equal in the order of the run."""
        delay = {arch.name: arch.latency_us if measure == "edp" else 1.0 for arch in self.archs}
        return sorted(delay, key=lambda name: self.at(self.energies[name]) * delay[name])

    def _conclusion(self, measure: Measure, a: str, b: str) -> Conclusion:
        delay = {arch.name: arch.latency_us if measure == "edp" else 1.0 for arch in self.archs}
        ratio = self.energies[b] / self.energies[a] * (delay[b] / delay[a])
        equal = abs(self.at(ratio) - 1) <= TIE
        holds = np.abs(ratio - 1) <= TIE if equal else ratio > 1 + TIE
        return Conclusion(
            **self._finding(holds),
            measure=measure,
            a=a,
            b=b,
            equal=equal,
            ratio=self.at(ratio),
            one_at_a_time=self._one_at_a_time(ratio),
            all_at_once=self._all_at_once(ratio),
        )

    def _finding(self, holds: npt.NDArray[np.bool_]) -> dict[str, Any]:
        overturned = tuple(choice for axis, index, choice in self.others() if not self.at(holds, axis, index))
        verdict: Verdict = "depends" if overturned else ("stands" if holds.all() else "stands one at a time")
        return {"verdict": verdict, "overturned_by": overturned, "share": float(holds.mean())}

    def _one_at_a_time(self, ratio: Floats) -> Range:
        found: list[tuple[float, tuple[Choice, ...]]] = [(self.at(ratio), ())]
        found += [(self.at(ratio, axis, index), (choice,)) for axis, index, choice in self.others()]
        least, greatest = (pick(found, key=lambda one: one[0]) for pick in (min, max))
        return Range(least=least[0], greatest=greatest[0], least_with=least[1], greatest_with=greatest[1])

    def _all_at_once(self, ratio: Floats) -> Range:
        places = [np.unravel_index(flat, ratio.shape) for flat in (ratio.argmin(), ratio.argmax())]
        least, greatest = (
            tuple(
                (item.name, item.options[index].label)
                for item, index, size in zip(self.items, place, ratio.shape, strict=True)
                if size > 1
            )
            for place in places
        )
        values = [float(ratio[place]) for place in places]
        return Range(least=values[0], greatest=values[1], least_with=least, greatest_with=greatest)


def study_run(run: RunFolder) -> Study:
    """Vary the energy figures of a run.

    Raises
    ------
    InputError
        It has no energies, its table is at a node of which no other sources are known, or its files do not agree.
    """
    table = read_table(run)
    archs = read_archs(run, table)
    spreads = load_spreads(table.technology.node_nm)
    check_energies(run, table, archs)
    items, left_out = make_items(spreads, table, archs)
    parts = {arch.name: _parts(arch, table, items) for arch in archs}
    return Study(
        run=run,
        table=table,
        archs=tuple(archs),
        items=tuple(items),
        parts=MappingProxyType(parts),
        left_out=tuple(left_out),
    )


def _parts(arch: Arch, table: EnergyTable, items: Sequence[Item]) -> dict[str, Floats]:
    """By part: uJ with every combination of the items that can change it."""
    made = {}
    terms = model_of(arch, table).terms
    for part in PARTS:
        own = [term for term in terms if term.part == part]
        axes = [axis for axis, item in enumerate(items) if any(prices(item.name, term) for term in own)]
        shape = tuple(len(item.options) if axis in axes else 1 for axis, item in enumerate(items))
        values = np.empty(shape)
        for place in np.ndindex(shape):
            model = model_of(arch, table, [items[axis].options[place[axis]] for axis in axes])
            products = (term.pj * arch.counts[term.count] for term in model.terms if term.part == part)
            values[place] = math.fsum(products) / 1e6
        for axis in axes:  # its options may all say the same of this part
            first = values.take([0], axis)
            values = first if np.all(values == first) else values
        made[part] = values
    return made
