"""What goes wrong when a plan does not fit the values it moves."""

from __future__ import annotations


class DatapathError(RuntimeError):
    """A plan leads the datapath astray: the lowering, or what the weights were packed into, is at fault."""
