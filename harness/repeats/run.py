"""Makes the repeats of a run that are not stored yet, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..cells.identity import Identity, place_of
from ..cells.runner import store_measured
from ..run.drive import Progress
from ..run.experiment import Measured
from ..run.seeds import check_repeats, seed_of_repeat
from ..run.watch import Watch
from .directory import Repeats, check_out, name_of


@dataclass(frozen=True)
class Runner:
    """Runs one configuration with any seed: in process, simulated, or against a server.

    identify: checks it and plans its requests. measure: serves them, with nothing in a cache that
    another repeat left. close: frees what it kept between them.
    """

    identify: Callable[[int], Identity]
    measure: Callable[[int], Measured]
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Made:
    """The repeats there are. last: how the newest of them went; None if all were stored already.
    complete: whether none is missing or cut short."""

    repeats: Repeats
    last: Measured | None
    complete: bool


class Labelled:
    """A watch that says before each stage which repeat it is of."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.label = ""

    def stage(self, text: str) -> None:
        self._watch.stage(f"{self.label}: {text}" if self.label else text)

    def progress(self, progress: Progress) -> None:
        self._watch.progress(progress)


def run_repeats(runner: Runner, out: Path, repeats: int, seed: int, watch: Labelled) -> Made:
    """Every repeat: those stored in `out` are found, the others run.

    A run that was cut short, by Ctrl-C or by what it ran into, is stored, marked partial, and ends
    the series; the same call makes it anew. Raises ConfigError and StoreError before anything runs:
    for settings that cannot work, and for another run in a repeat's place.
    """
    check_repeats(repeats)
    check_out(out, repeats)
    seeds = {number: seed_of_repeat(seed, number) for number in range(1, repeats + 1)}
    identities = {number: runner.identify(own) for number, own in seeds.items()}
    places = {
        number: place_of(out / name_of(number), one, replaces_partial=True)
        for number, one in identities.items()
    }
    runs = {number: place.run for number, place in places.items()}
    if found := sum(run is not None for run in runs.values()):
        watch.stage(f"{found} of {repeats} repeats are stored already")
    last = None
    with closing(runner):
        for number, own in seeds.items():
            if runs[number] is not None:
                continue
            watch.label = f"repeat {number} of {repeats}"
            last = runner.measure(own)
            place = places[number]
            runs[number] = store_measured(place.directory, last, place.stood)
            if last.result.status == "partial":
                break
    watch.label = ""
    there = tuple(run for run in runs.values() if run is not None)
    complete = len(there) == repeats and (last is None or last.result.status == "complete")
    return Made(Repeats(out.resolve(), there), last, complete)
