"""Names as numbers, so that a million of them are a column."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

import numpy as np

Name = TypeVar("Name", bound=Hashable)


class Names(dict[Name, int]):
    """Numbers of names, from 0 on; one that is new gets the next when asked for."""

    def __init__(self, first: Iterable[Name] = ()) -> None:
        """With some that are known."""
        super().__init__()
        for name in first:
            self[name]

    def __missing__(self, name: Name) -> int:
        number = self[name] = len(self)
        return number

    def of(self, names: Iterable[Name]) -> np.ndarray:
        """The numbers of many."""
        return np.fromiter(map(self.__getitem__, names), np.int32)
