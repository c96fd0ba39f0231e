"""The user's classes: given, drawn, or the most frequent of what the user met (paper, section III)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...formats.errors import few
from ..errors import PruneError

_LEAST = 2  # a classifier of one class has nothing to tell apart


def choose_classes(
    class_names: Sequence[str],
    *,
    given: str | Sequence[int | str] | None = None,
    num: int | None = None,
    seed: int = 0,
    history: Path | None = None,
    window: int | None = None,
) -> tuple[int, ...]:
    """The classes a model is personalised for, in one of three ways; their order is that of the head's rows.

    Parameters
    ----------
    class_names : sequence of str
        All classes of the data; a class's index is its place here.
    given : str or sequence of int or str, optional
        Indices or names, comma separated in a string. Kept in the order given.
    num : int, optional
        How many to draw, or to take from the history; at least 2.
    seed : int
        Of the draw: the `num` classes with the least of the first len(class_names) raw numbers of numpy's PCG64(seed),
        in rising order of index. Raw numbers do not change between versions of numpy.
    history : Path, optional
        A text file of the classes the user met, oldest first: an index or a name on each line. Blank lines and what
        follows a "#" at the start of a line or after a space are skipped. The `num` most frequent of the last `window`
        entries, the most frequent first; among equally frequent ones, the one met last.
    window : int, optional
        Entries of the history that count; None, or more than there are: all.

    Returns
    -------
    tuple of int
        Indices, without repetition.

    Raises
    ------
    PruneError
        None or several ways are asked for, or a class, number or line breaks a rule.

    Notes
    -----
    A word that is the name of one class and, as a number, the index of another is refused; "name:7" and
    "index:7" say which is meant.
    """
    if given is not None and (num is not None or history is not None):
        raise PruneError(
            "classes: give them (--classes), or have some chosen (--num-classes, --class-history); not both"
        )
    if window is not None and history is None:
        raise PruneError(f"window {window}: is of a class history; give one (--class-history)")
    if given is not None:
        return _given(given, class_names)
    if num is None:
        raise PruneError("classes: give them (--classes), or say how many (--num-classes)")
    if isinstance(num, bool) or not isinstance(num, int) or not _LEAST <= num <= len(class_names):
        most = len(class_names)
        raise PruneError(
            f"number of classes (--num-classes) {num!r}: must be {_LEAST} to {most}, the classes of the data"
        )
    if history is not None:
        return _most_frequent(_read_history(history, class_names), num, history, window)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise PruneError(f"seed {seed!r}: must be a whole number of at least 0")
    keys = np.random.PCG64(seed).random_raw(len(class_names))
    return tuple(sorted(int(index) for index in np.argsort(keys, kind="stable")[:num]))


def _given(given: str | Sequence[int | str], names: Sequence[str]) -> tuple[int, ...]:
    words: Sequence[int | str] = [word.strip() for word in given.split(",")] if isinstance(given, str) else given
    classes = [_index_of(word, names, f"class {word!r}") for word in words]
    repeated = next((index for place, index in enumerate(classes) if index in classes[:place]), None)
    if repeated is not None:
        raise PruneError(f"class {names[repeated]!r}: is given twice (--classes)")
    if len(classes) < _LEAST:
        raise PruneError(f"classes {given!r} (--classes): must be at least {_LEAST}")
    return tuple(classes)


def _index_of(word: int | str, names: Sequence[str], what: str) -> int:
    """The index a word means; `what` begins the error: the word and where it stands."""
    if isinstance(word, int) and not isinstance(word, bool):
        return _checked(word, names, what)
    if not isinstance(word, str):
        raise PruneError(f"{what}: must be an index or a name")
    if word.startswith("index:") and word not in names:
        return _checked(_number(word.removeprefix("index:")), names, what)
    named = word.removeprefix("name:") if word.startswith("name:") and word not in names else word
    by_name = names.index(named) if named in names else None
    number = _number(word)
    if by_name is not None and number is not None and number < len(names) and number != by_name:
        raise PruneError(
            f"{what}: is the name of class {by_name} and the index of class {names[number]!r}; "
            f"write name:{word} or index:{word}"
        )
    if by_name is None and number is None:
        raise PruneError(f"{what}: is no class of the data; they are {few(names)}")
    return by_name if by_name is not None else _checked(number, names, what)


def _checked(index: int | None, names: Sequence[str], what: str) -> int:
    if index is None or not 0 <= index < len(names):
        raise PruneError(f"{what}: an index must be 0 to {len(names) - 1}")
    return index


def _number(word: str) -> int | None:
    # More digits than any index has: int() refuses strings of thousands of them.
    return int(word) if word.isascii() and word.isdigit() and len(word) < 10 else None


def _read_history(path: Path, names: Sequence[str]) -> list[int]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PruneError(f"class history {path}: must be text in UTF-8") from error
    except OSError as error:
        raise PruneError(f"class history {path}: cannot be read: {error.strerror or error}") from error
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.strip()
        if word not in names:
            word = word.split("#")[0] if word.startswith("#") else word.split(" #")[0]
        if word := word.strip():
            entries.append(_index_of(word, names, f"class history {path}, line {number}: class {word!r}"))
    return entries


def _most_frequent(entries: list[int], num: int, path: Path, window: int | None) -> tuple[int, ...]:
    if window is not None:
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise PruneError(f"window {window!r}: must be a whole number of at least 1")
        entries = entries[-window:]
    count: dict[int, int] = {}
    last: dict[int, int] = {}
    for place, index in enumerate(entries):
        count[index] = count.get(index, 0) + 1
        last[index] = place
    if len(count) < num:
        span = "the file" if window is None else f"its last {window} entries"
        raise PruneError(f"class history {path}: {span} must hold at least {num} different classes, holds {len(count)}")
    return tuple(sorted(count, key=lambda index: (-count[index], -last[index]))[:num])
