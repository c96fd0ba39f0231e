"""Errors of this package: each message is one line that says what, its value, and the rule."""


class FormatError(ValueError):
    """A matrix, pattern or file breaks a rule of its format."""


class PatternError(FormatError):
    """A pattern (N:M, block, sparsity) is impossible, or a mask does not obey it."""


class FileFormatError(FormatError):
    """A packed model file is malformed; the message names the file and the defect."""
