"""The process: exit codes, interrupts at any moment, and output that can be written whatever the terminal.

0 done, 2 bad input, 1 internal error or a wrong result, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

BAD_INPUT, INTERNAL, WRONG, INTERRUPTED = 2, 1, 1, 130


def main() -> NoReturn:
    """Run the command; errors are one line each on standard error."""
    if sys.stdout is None or sys.stderr is None:  # closed by the caller
        missing = os.open(os.devnull, os.O_WRONLY)
        sys.stdout = sys.stdout or os.fdopen(os.dup(missing), "w")
        sys.stderr = sys.stderr or os.fdopen(os.dup(missing), "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may hold what the terminal cannot show
    try:
        from .main import run_command  # takes a while: an interrupt may come here, too

        code = run_command(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("crispsim: interrupted; nothing was written", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, as `head` does: nobody is to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        where = error.filename or "standard output"
        print(f"crispsim: cannot write to {where}: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = BAD_INPUT
    if code == INTERRUPTED:  # do not wait for a thread that compiles a kernel
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
