"""Options that several commands share."""

from __future__ import annotations

import click

from ..sim.energy import DEFAULT_TABLE, table_names
from ..sim.machine import DEFAULT_PRESET, preset_names


class BlockSize(click.ParamType):
    """A side of blocks: an integer, or `none`."""

    name = "B|none"

    def convert(self, value, param, ctx):  # noqa: D102
        if isinstance(value, str) and value.lower() == "none":
            return None
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is not an integer or none", param, ctx)


machine_option = click.option(
    "--machine",
    default=DEFAULT_PRESET,
    show_default=True,
    metavar="NAME|FILE.toml",
    help=f"Machine: {', '.join(preset_names())}, or a file.",
)

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a machine field, repeatable, the last wins; `crispsim archs show NAME` lists them.",
)

# What stands for no energy table.
NO_ENERGY = "none"

energy_option = click.option(
    "--energy",
    default=DEFAULT_TABLE,
    show_default=True,
    metavar="NAME|FILE.toml|none",
    help=f"Energy table, one for all architectures: {', '.join(table_names())}, a file, or none.",
)

verbose_option = click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, help="Show a traceback with an error."
)
