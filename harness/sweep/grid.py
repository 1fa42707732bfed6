"""The points of a sweep: every combination of the values of some options."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise, product

import numpy as np

from ...engines.errors import ConfigError
from ..run.seeds import seed_of_repeat

MOST_CELLS = 10_000
COMMANDS = ("run", "simulate")
# What a search for the highest rate sets itself.
RATE, NUM_REQUESTS = "request-rate", "num-requests"
ARRIVAL = "arrival"
MAX_ERRORS = "max-errors"
_FORM = "OPTION=VALUE,VALUE, such as engine=paged,inflight or request-rate=1,2,4"
# The sweep's own, and what would make one run many.
_RESERVED = ("out", "json", "quiet", "help", "repeats")
# File systems take 255 bytes, and drafts and repeats of a cell have longer names than it.
_LONGEST_NAME, _DIGITS = 180, 12
_UNSAFE = re.compile(r"[^A-Za-z0-9.=+-]+")


@dataclass(frozen=True)
class Axis:
    """An option and the values it takes. option: as on the command line, without the dashes."""

    option: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One point. settings: (option, value) in order of the axes. repeat: from 1. seed: of its
    requests; None: the command's."""

    settings: tuple[tuple[str, str], ...]
    repeat: int = 1
    seed: int | None = None

    @property
    def name(self) -> str:
        """A directory's name: `engine=paged,request-rate=2`; repeats are numbered. One that is too
        long ends in a hash of what it says."""
        parts = (f"{option}={_UNSAFE.sub('_', value)}" for option, value in self.settings)
        name = ",".join(parts) or "run"
        if len(name) > _LONGEST_NAME:
            digest = sha256(name.encode()).hexdigest()[:_DIGITS]
            name = f"{name[: _LONGEST_NAME - _DIGITS - 1]}-{digest}"
        return name if self.repeat == 1 else f"{name}.{self.repeat}"

    @property
    def words(self) -> tuple[str, ...]:
        seed = () if self.seed is None else (f"--seed={self.seed}",)
        return (*(f"--{option}={value}" for option, value in self.settings), *seed)


def parse_axis(text: str) -> Axis:
    """`engine=paged,inflight`. Raises ConfigError for `vary`."""
    option, equals, values = text.partition("=")
    option = option.strip().lstrip("-").replace("_", "-")
    found = tuple(value.strip() for value in values.split(","))
    if not option or not equals or not all(found):
        raise ConfigError("vary", text, _FORM)
    if option in _RESERVED:
        raise ConfigError("vary", text, f"an option of the run: {option} is the sweep's")
    if len(set(found)) < len(found):
        raise ConfigError("vary", text, "values that differ")
    return Axis(option, found)


def check_command(words: Sequence[str], varied: Sequence[str]) -> tuple[str, ...]:
    """The command that every cell adds to. varied: options that cells set. Raises ConfigError for a
    command that is no run, or that sets what the sweep sets, and for an option that is varied
    twice."""
    if not words or words[0] not in COMMANDS:
        asked = " ".join(words) or None
        raise ConfigError("command", asked, f"after --, one of {', '.join(COMMANDS)} with options")
    for option in varied:
        if varied.count(option) > 1:
            raise ConfigError("vary", option, "each option once")
    for word in words[1:]:
        option = word.lstrip("-").partition("=")[0].replace("_", "-")
        if word.startswith("-") and option in (*_RESERVED, *varied):
            whose = "varied" if option in varied else "the sweep's"
            raise ConfigError("command", word, f"options other than --{option}, which is {whose}")
    return tuple(words)


def scaling(words: Sequence[str], varied: Sequence[str]) -> tuple[str, ...]:
    """The command of a search for the highest rate: its trials scale the gaps of the workload's own
    arrivals, so that bursts stay bursts, unless it says by itself how requests arrive."""
    said = _says(words, ARRIVAL) or ARRIVAL in varied
    return tuple(words) if said else (*words, f"--{ARRIVAL}=own")


def through_errors(words: Sequence[str], varied: Sequence[str]) -> tuple[str, ...]:
    """The command of a search for the highest rate: a trial against a server goes on however many
    of its requests fail, for one that was cut off is no evidence, unless the command says by itself
    how many end it."""
    of_server = "--target=openai" in words or ("--target", "openai") in pairwise(words)
    said = _says(words, MAX_ERRORS) or MAX_ERRORS in varied
    return (*words, f"--{MAX_ERRORS}=0") if of_server and not said else tuple(words)


def _says(words: Sequence[str], option: str) -> bool:
    return any(word.partition("=")[0] == f"--{option}" for word in words)


def grid(axes: Sequence[Axis], repeats: int, seed: int) -> tuple[Cell, ...]:
    """Every combination, `repeats` times, those after the first with requests of their own seed.
    Raises ConfigError for repeats below 1 and for values whose directories would have one name."""
    if repeats < 1:
        raise ConfigError("repeats", repeats, "1 or more")
    count = math.prod(len(axis.values) for axis in axes) * repeats
    if count > MOST_CELLS:
        raise ConfigError("vary", f"{count} cells", f"at most {MOST_CELLS} in all")
    points = list(product(*([(axis.option, value) for value in axis.values] for axis in axes)))
    seeds = [None, *(seed_of_repeat(seed, repeat) for repeat in range(2, repeats + 1))]
    cells = tuple(
        Cell(point, repeat, own) for repeat, own in enumerate(seeds, start=1) for point in points
    )
    named: dict[str, Cell] = {}
    for cell in cells:
        if (other := named.setdefault(cell.name, cell)) is not cell:
            alike = " and ".join(" ".join(one.words) for one in (other, cell))
            raise ConfigError("vary", alike, "values that differ in letters, digits, . = + or -")
    return cells


def covering(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The first cell with each value: what is wrong with the words of any is wrong with one of
    these, for options are read one by one."""
    first: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        for setting in cell.settings:
            first.setdefault(setting, cell)
    return tuple(dict.fromkeys(first.values()))


def shuffled(cells: Sequence[Cell], seed: int) -> tuple[Cell, ...]:
    """Each repeat in a random order of its own: a machine that gets slower with time must not look
    like an effect (Box, Hunter and Hunter, "Statistics for Experimenters", 2005, chapter 3)."""
    rng = np.random.default_rng(seed)
    ordered: list[Cell] = []
    for repeat in sorted({cell.repeat for cell in cells}):
        members = [cell for cell in cells if cell.repeat == repeat]
        ordered += [members[at] for at in rng.permutation(len(members))]
    return tuple(ordered)
