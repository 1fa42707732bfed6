"""Which repeats are run, kept and run again; the runs are made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.cells.identity import Identity
from llmbench.harness.errors import PlaceTaken
from llmbench.harness.repeats.run import Labelled, Made, Runner, run_repeats
from llmbench.harness.run.drive import Progress
from llmbench.harness.run.experiment import Measured
from llmbench.harness.run.seeds import seed_of_repeat
from llmbench.harness.storage.store import StoredRun, StoreError, find_run, write_run

from .made import invalid, make_run, partial


@dataclass
class Said:
    stages: list[str] = field(default_factory=list)

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def progress(self, progress: Progress) -> None: ...


@dataclass
class Fake:
    """Measures at once. cut_short: seeds whose runs are interrupted; broken: whose are invalid;
    stops: that are interrupted before anything was measured."""

    model: str = "bundled"
    cut_short: Sequence[int] = ()
    broken: Sequence[int] = ()
    stops: Sequence[int] = ()
    failure: str = ""
    measured: list[int] = field(default_factory=list)
    watch: Labelled = field(default_factory=lambda: Labelled(Said()))

    def identify(self, seed: int) -> Identity:
        return Identity({"model": self.model, "seed": seed}, f"{seed:064d}")

    def measure(self, seed: int) -> Measured:
        self.watch.stage("measuring")
        if seed in self.stops:
            raise KeyboardInterrupt
        self.measured.append(seed)
        run: StoredRun = make_run(1, seed=seed)
        if seed in self.cut_short:
            run = partial(run)
        if seed in self.broken:
            run = invalid(run)
        return Measured(run.result, run.requests, run.steps, self.failure)

    def run(self, out: Path, repeats: int) -> Made:
        return run_repeats(Runner(self.identify, self.measure), out, repeats, 7, self.watch)


@pytest.fixture(autouse=True)
def unreported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the reports of every run would take most of the time."""
    drawn = {"report.html": "drawn", "report.md": "drawn"}
    monkeypatch.setattr("llmbench.harness.rendering.run_reports", lambda *_: drawn)


SEEDS = [seed_of_repeat(7, repeat) for repeat in (1, 2, 3)]


def test_every_repeat_is_a_run_with_a_seed_of_its_own(tmp_path: Path) -> None:
    fake = Fake()
    made = fake.run(tmp_path / "a", 3)
    assert fake.measured == SEEDS
    assert made.complete
    names = [f"repeat-{number}" for number in (1, 2, 3)]
    assert [run.directory.name for run in made.repeats.runs] == names
    for name, seed in zip(names, SEEDS, strict=True):
        assert find_run(tmp_path / "a" / name).result.config["seed"] == seed
        assert (tmp_path / "a" / name / "report.html").exists()


def test_what_is_stored_is_kept_and_more_may_follow(tmp_path: Path) -> None:
    Fake().run(tmp_path / "a", 2)
    again = Fake()
    made = again.run(tmp_path / "a", 2)
    assert (again.measured, made.last, len(made.repeats.runs)) == ([], None, 2)
    more = Fake()
    assert len(more.run(tmp_path / "a", 3).repeats.runs) == 3
    assert more.measured == SEEDS[2:]


def test_a_run_that_was_cut_short_ends_the_series_and_is_made_anew(tmp_path: Path) -> None:
    made = Fake(cut_short=[SEEDS[1]]).run(tmp_path / "a", 3)
    assert not made.complete
    assert [run.result.status for run in made.repeats.runs] == ["complete", "partial"]
    again = Fake()
    assert again.run(tmp_path / "a", 3).complete
    assert again.measured == SEEDS[1:]


def test_an_interruption_keeps_the_repeats_that_ended(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Fake(stops=[SEEDS[2]]).run(tmp_path / "a", 3)
    again = Fake()
    again.run(tmp_path / "a", 3)
    assert again.measured == SEEDS[2:]


def test_a_run_that_is_not_valid_is_kept_and_does_not_end_the_series(tmp_path: Path) -> None:
    made = Fake(broken=[SEEDS[0]]).run(tmp_path / "a", 3)
    assert made.complete
    assert [run.directory.name for run, _ in made.repeats.invalid] == ["repeat-1"]
    again = Fake()
    again.run(tmp_path / "a", 3)
    assert again.measured == []


def test_runs_of_other_settings_are_not_overwritten(tmp_path: Path) -> None:
    Fake().run(tmp_path / "a", 2)
    other = Fake(model="another")
    with pytest.raises(StoreError, match="other settings or requests"):
        other.run(tmp_path / "a", 2)
    assert other.measured == []


def test_progress_says_which_repeat_it_is_of(tmp_path: Path) -> None:
    Fake().run(tmp_path / "a", 1)
    said = Said()
    Fake(watch=Labelled(said)).run(tmp_path / "a", 3)
    assert said.stages == [
        "1 of 3 repeats are stored already",
        "repeat 2 of 3: measuring",
        "repeat 3 of 3: measuring",
    ]


def test_no_repeat_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="repeats: 0 is not allowed; expected 1 or more"):
        Fake().run(tmp_path / "a", 0)


class Met(Fake):
    """While its first repeat is measured, somebody else's run comes to the place."""

    place = Path()

    def measure(self, seed: int) -> Measured:
        measured = super().measure(seed)
        if len(self.measured) == 1:
            other = make_run(1, seed=99)
            write_run(self.place, other.result, other.requests, other.steps, {})
        return measured


def test_a_run_that_came_to_a_repeats_place_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    fake = Met()
    fake.place = tmp_path / "a" / "repeat-1"
    with pytest.raises(PlaceTaken, match="repeat-1-2") as caught:
        fake.run(tmp_path / "a", 2)
    assert find_run(fake.place).result.config["seed"] == 99
    assert find_run(caught.value.kept).result.config["seed"] == SEEDS[0]
    assert (caught.value.kept / "report.html").exists()
