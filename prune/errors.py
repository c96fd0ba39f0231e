"""Errors of the pruner: bad input comes back as one line that says what, its value, and the rule."""

from ..formats.errors import BadInputError


class PruneError(BadInputError):
    """What the user gave breaks a rule: a configuration, a model, a data set or a checkpoint."""
