"""How long work tells the outside how far it is, without knowing about terminals."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Receives the progress of a piece of work; the command line draws it, the API ignores it."""

    def track(self, items: Iterable[Item], *, label: str, total: int | None = None, done: int = 0) -> Iterator[Item]:
        """Yield the items, reporting each as one step of `label`.

        Args:
            items: what is left to do.
            label: what the work is called.
            total: steps of the whole work, those done before included; None where the items know their number.
            done: steps that were done before, by a run that this one continues.
        """
        ...

    def status(self, text: str) -> None:
        """Replace the short text shown beside the current bar (loss, score, images a second)."""
        ...


class Silent:
    """Progress that nobody watches."""

    def track(self, items: Iterable[Item], *, label: str, total: int | None = None, done: int = 0) -> Iterator[Item]:
        """Yield the items unchanged."""
        yield from items

    def status(self, text: str) -> None:
        """Ignore the text."""
