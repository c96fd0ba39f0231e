"""Reports: one self-contained page of what a folder of results holds.

`run_content` says what a run's report says, `pruned_content` what a pruned network's; `html` and `markdown` set it,
`files` reads the folder and writes pages.
"""

from __future__ import annotations

from .content import Report
from .files import Format, report_of, report_targets, write_report

__all__ = ["Format", "Report", "report_of", "report_targets", "write_report"]
