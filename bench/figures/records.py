"""Tables as plain records: what is drawn is computed on them, not on pandas' types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...sim.result import DRAM_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]


def records_of(table: pd.DataFrame) -> list[Record]:
    """A table's rows, from the top."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict(orient="records")]


def without_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """A run's rows with 0 in the cells that are empty for want of a DRAM: nothing was moved, nobody waited."""
    names = [name for name in DRAM_COLUMNS if name in table and table[name].dtype.kind in "iuf"]
    return table.assign(**{name: table[name].fillna(0) for name in names})


def values_of(rows: Iterable[Record], name: str) -> list[Any]:
    """The different values of a column, in the order they are met."""
    return list(dict.fromkeys(row[name] for row in rows))


def sums_of(rows: Iterable[Record], names: Iterable[str]) -> Record:
    """Sums of columns over all calls (column `calls`)."""
    rows = list(rows)
    return {name: sum(row[name] * row["calls"] for row in rows) for name in names}
