"""What the user gave breaks a rule: each message is one line that says what, its value, and the rule.

The other packages derive their own errors from `BadInputError`, so that a command needs no package to know what is the
user's to mend.
"""

from __future__ import annotations


class BadInputError(ValueError):
    """Something the user gave breaks a rule; `lines` says which."""

    lines: list[str]

    def __init__(self, *problems: object) -> None:
        super().__init__(*problems)
        self.lines = [" ".join(map(str, problems))]


class FormatError(BadInputError):
    """A matrix, pattern or file breaks a rule of its format."""


class PatternError(FormatError):
    """A pattern (N:M, block, sparsity) is impossible, or a mask does not obey it."""


class FileFormatError(FormatError):
    """A packed model file is malformed; the message names the file and the defect."""
