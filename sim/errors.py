"""Errors of the simulator: bad input comes back as plain lines that say what, its value, and the rule."""

from __future__ import annotations

from ..formats.errors import BadInputError

MOST_LINES = 10


class InputError(BadInputError):
    """What the user gave breaks a rule; `lines` are the first ten problems and, if there are more, how many."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        if len(problems) > MOST_LINES:
            self.lines[MOST_LINES:] = [f"and {len(problems) - MOST_LINES} more"]


class LayerError(InputError):
    """A layer breaks a rule; a reader of layers turns the field into its own column.

    Parameters
    ----------
    layer : str
        The layer's name.
    field : str
        Field or property of `Layer`.
    value : object
        What it holds.
    rule : str
        What it should hold.
    """

    def __init__(self, layer: str, field: str, value: object, rule: str) -> None:
        super().__init__(f"layer {layer!r}: {field} {value!r}: {rule}")
        self.args = (layer, field, value, rule)
        self.field = field
        self.rule = rule
