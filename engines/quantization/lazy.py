"""Values by name, each made when it is asked for and not kept: a model's weights need not fit into
memory twice, or at all, to be rounded, checked or repacked one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


class Lazy(Mapping[str, T], ABC):
    """names: of all values, in their order. To know whether there is one makes none."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = dict.fromkeys(names)

    @abstractmethod
    def make(self, name: str) -> T:
        """The value of a name that there is."""

    def __getitem__(self, name: str) -> T:
        if name not in self._names:
            raise KeyError(name)
        return self.make(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
