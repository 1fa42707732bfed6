"""Every run of a design, and a response in each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..storage.store import RunOnDisk, StoredRun
from .design import Cell, Design, NotRun
from .mechanism import Accounted
from .responses import Measure, Response

Repeats = Sequence[Mapping[Cell, Accounted]]


@dataclass(frozen=True)
class Factorial:
    """Every run of a design. runs: of each cell, one a repeat; not_run: the cells without.

    The tables of runs on disk are read one run at a time.
    """

    design: Design
    runs: Mapping[Cell, Sequence[StoredRun | RunOnDisk]]
    not_run: Sequence[NotRun] = ()


@dataclass(frozen=True)
class Measured:
    """A response in every cell of every repeat."""

    response: Response
    repeats: Sequence[Mapping[Cell, Measure]]
