"""The `crispsim` command: one file per sub-command."""
