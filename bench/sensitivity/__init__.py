"""Which conclusions of a run stand when its energy figures vary as far as their sources lie apart.

Nothing is simulated again: energy is linear in the counts of results.csv. Each item (a MAC, a byte of the SMEM, ...)
takes every alternative of `sim/energy/spreads.toml`, one item at a time and all at once. `run_energy` reads the run,
`options` makes what is varied, `study` works it out, `findings` is what it says, `records` sets it as rows and JSON.
"""

from __future__ import annotations

from .findings import Choice, Conclusion, Finding, Gain, LargestPart, Measure, Range
from .options import Item, Option
from .records import json_of, pj_of, records_of, write_options
from .study import Study, study_run

__all__ = [
    "Choice",
    "Conclusion",
    "Finding",
    "Gain",
    "Item",
    "LargestPart",
    "Measure",
    "Option",
    "Range",
    "Study",
    "json_of",
    "pj_of",
    "records_of",
    "study_run",
    "write_options",
]
