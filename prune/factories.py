"""Functions by name, as the command line gives them: `package.module:function`, the present folder's included."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..formats.errors import one_line
from .errors import PruneError

_NOTHING: Mapping[str, object] = {}


def find_factory(text: str, what: str) -> Callable[..., Any]:
    """The function that `text` names, imported.

    Parameters
    ----------
    text : str
        `module:function`; the function may be an attribute of an attribute (`module:Class.method`).
    what : str
        What it makes, for the messages: "model" or "data".

    Raises
    ------
    PruneError
        The text is not of that form, the module cannot be imported, or has no such function.
    """
    module_name, colon, attribute = text.partition(":")
    if str(Path.cwd()) not in sys.path:  # a user's own file is in the folder they are in, as with `python -m`
        sys.path.insert(0, str(Path.cwd()))
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise PruneError(f"{what} {text!r}: must be module:function, such as torchvision.models:resnet50")
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a user's module may fail in any way while it is imported
        raise PruneError(f"{what} {text!r}: cannot import {module_name}: {one_line(error)}") from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise PruneError(f"{what} {text!r}: {module_name} has no {attribute}")
        found = getattr(found, name)
    if not callable(found):
        raise PruneError(f"{what} {text!r}: {attribute} must be a function, not {type(found).__name__}")
    return found


def call_factory(make: Callable[..., Any], text: str, what: str, given: Mapping[str, object] = _NOTHING) -> Any:
    """What a user's function returns.

    Parameters
    ----------
    make : callable
        Of `find_factory`.
    text, what : str
        As there, for the message.
    given : mapping, optional
        Its keyword arguments.

    Raises
    ------
    PruneError
        It fails, in any way: leaving the program is one.
    """
    try:
        return make(**given)
    except (Exception, SystemExit) as error:
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        said = one_line(error) if isinstance(error, Exception) else f"it leaves the program ({type(error).__name__})"
        raise PruneError(f"{what} {text!r}: fails{shown and f' with {shown}'}: {said}") from error
