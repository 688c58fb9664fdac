"""Hosts on which one worker after the other dies, while others work elsewhere."""

from collections import Counter
from collections.abc import Mapping

MAX_DEATHS = 3
"""A host is bad after so many deaths without a block done there in between."""


class BadHosts:
    """Tells which hosts should get no more workers."""

    def __init__(self) -> None:
        self._deaths: Counter[str] = Counter()
        self._done: dict[str, int] = {}
        self._bad: set[str] = set()

    def note_death(self, host: str, done: Mapping[str, int]) -> bool:
        """A worker died there; whether that makes it a bad one, just now.

        `done` are the blocks done by host.  Where none is done anywhere else, the
        host may not be to blame.
        """
        name = short(host)
        by_name: Counter[str] = Counter()
        for each, count in done.items():
            by_name[short(each)] += count
        if by_name[name] != self._done.get(name, 0):
            self._done[name] = by_name[name]
            self._deaths[name] = 0
        self._deaths[name] += 1
        works_elsewhere = by_name.total() > by_name[name]
        is_bad = bool(name) and works_elsewhere and self._deaths[name] >= MAX_DEATHS
        is_news = is_bad and name not in self._bad
        self._bad |= {name} if is_bad else set()
        return is_news


def short(host: str) -> str:
    """A host's name without its domain: not everybody tells that."""
    return host.partition(".")[0]
