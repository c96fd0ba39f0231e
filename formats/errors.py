"""What the user gave breaks a rule: each message is one line that says what, its value, and the rule.

The other packages derive their own errors from `BadInputError`, so that a command needs no package to know what is the
user's to mend.
"""

from __future__ import annotations

from collections.abc import Sequence


def one_line(error: BaseException) -> str:
    """The first line of what an exception says, or its type if it says nothing.

    >>> one_line(ValueError("wrong\\nat line 3")), one_line(KeyboardInterrupt())
    ('wrong', 'KeyboardInterrupt')
    """
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def few(names: Sequence[str], most: int = 5) -> str:
    """The first names, `most` of them, and how many more there are.

    >>> few("abcdefgh")
    'a, b, c, d, e and 3 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


class BadInputError(ValueError):
    """Something the user gave breaks a rule.

    Parameters
    ----------
    *problems : str
        One line per problem.

    Attributes
    ----------
    lines : list of str
        The problems. `str()` joins them.
    """

    lines: list[str]

    def __init__(self, *problems: object) -> None:
        super().__init__(*problems)
        self.lines = [str(problem) for problem in problems]

    def __str__(self) -> str:
        return "\n".join(self.lines)


class FormatError(BadInputError):
    """A matrix, pattern or file breaks a rule of its format."""


class PatternError(FormatError):
    """A pattern (N:M, block, sparsity) is impossible, or a mask does not obey it."""


class FileFormatError(FormatError):
    """A packed model file is malformed; the message names the file and the defect."""
