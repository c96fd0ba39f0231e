"""The two ports of SMEM, served byte by byte within a cycle: M11 and M15 of `docs/microarchitecture.md`.

What is read, and in which order, is each architecture's own; how bytes fall into cycles is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections import Counter

    from .dram import SetCell


class Transfer(Protocol):
    """Anything that goes through a port."""

    @property
    def size(self) -> int: ...


T = TypeVar("T", bound=Transfer)


class Port(Generic[T]):
    """One transfer after another, whole. `position` counts bytes: cycle t is bytes t*width to (t+1)*width - 1."""

    def __init__(self, width: int, counts: Counter[str], counter: str):
        self.width, self.counts, self.counter = width, counts, counter
        self.position = 0
        self.moving: T | None = None
        self.left = 0

    def choose(self, t: int) -> T | None:
        """Take out and return the transfer to serve next, if there is one that can be served in cycle t."""
        raise NotImplementedError

    def served(self, transfer: T, t: int) -> None:
        """Do what follows from the transfer's last byte, which went in cycle t."""
        raise NotImplementedError

    def serve(self, t: int) -> None:
        end = (t + 1) * self.width
        while self.position < end:
            if self.moving is None:
                self.moving = self.choose(t)
                if self.moving is None:
                    self.position = end  # nothing to do before the next cycle's first byte
                    return
                self.left = self.moving.size
            taken = min(self.left, end - self.position)
            self.position += taken
            self.left -= taken
            self.counts[self.counter] += taken
            if self.left == 0:
                self.served(self.moving, t)
                self.moving = None


@dataclass
class Write:
    """Results of one core on their way out; `order` settles which goes first of those it requests in one cycle."""

    request_cycle: int
    core: int
    size: int
    order: int = 0
    last_byte_cycle: int | None = None
    cell: SetCell | None = None  # with a DRAM: whose outputs these are

    def served_before(self, t: int) -> bool:
        return self.last_byte_cycle is not None and self.last_byte_cycle < t


class WritePort(Port[Write]):
    """SMEM's write port (M15, M25): the oldest request first, then the lower core, then that core's order."""

    def __init__(self, width: int, counts: Counter[str]):
        super().__init__(width, counts, "smem_write_bytes")
        self.waiting: list[Write] = []
        self.last_byte_cycle: int | None = None

    def choose(self, t: int) -> Write | None:
        requested = [write for write in self.waiting if write.request_cycle <= t]
        if not requested:
            return None
        chosen = min(requested, key=lambda write: (write.request_cycle, write.core, write.order))
        self.waiting = [write for write in self.waiting if write is not chosen]
        return chosen

    def served(self, write: Write, t: int) -> None:
        write.last_byte_cycle = self.last_byte_cycle = t

    def empty(self) -> bool:
        return self.moving is None and not self.waiting


def circular(count: int, last: int) -> list[int]:
    """Return in which order a round robin asks: from the one after the last served, who comes last."""
    return [(last + 1 + offset) % count for offset in range(count)]
