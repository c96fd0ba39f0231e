"""Functions by name, as the command line gives them: `package.module:function`, the present folder's included."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import PruneError


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
    except Exception as error:  # a user's module may fail in any way while it is imported
        raise PruneError(f"{what} {text!r}: cannot import {module_name}: {_one_line(error)}") from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise PruneError(f"{what} {text!r}: {module_name} has no {attribute}")
        found = getattr(found, name)
    if not callable(found):
        raise PruneError(f"{what} {text!r}: {attribute} must be a function, not {type(found).__name__}")
    return found


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
