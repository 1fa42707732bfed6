"""The highest rate that is followed: of systems whose capacity is known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from llmbench.harness.rendering import sweep_reports
from llmbench.harness.run.record import RequestStatus
from llmbench.harness.storage.store import find_run
from llmbench.harness.sweep.cells import Sweep
from llmbench.harness.sweep.grid import Cell
from llmbench.harness.sweep.keeping_up import KEPT_UP, kept_up
from llmbench.harness.sweep.saturation import Saturation, SaturationGoal, find_saturation
from llmbench.harness.sweep.table import frame, sweep_table
from llmbench.reports.sweep_report import sweep_report

from ..observed import make_request
from .systems import store, store_by_chance, store_sessions

ALONE = Cell(())


@dataclass
class Queueing:
    """A system that begins `capacity_per_s` replies a second, one after the other, and no more;
    each lasts for `stay_s`. sends: how many requests, if not told. started: what with."""

    capacity_per_s: float
    stay_s: float = 0.5
    sends: int = 60
    slo_s: float | None = None
    started: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, words: Sequence[str], log: Path, held: int) -> int:  # noqa: ARG002
        log.write_text("")
        options = dict(word.removeprefix("--").split("=", 1) for word in words[1:] if "=" in word)
        self.started.append(options)
        rate = float(options["request-rate"])
        requests, free_s = [], 0.0
        for index in range(int(options.get("num-requests", self.sends))):
            due_s = index / rate
            free_s = max(free_s, due_s) + 1 / self.capacity_per_s
            times_s = (free_s, free_s + self.stay_s)
            requests.append(make_request(times_s, index=index, due_s=due_s, scheduled_s=due_s))
        store(Path(options["out"]), requests, self.slo_s)
        return 0


def nothing_runs(words: Sequence[str], log: Path, held: int) -> int:  # noqa: ARG001
    log.write_text("error: engine: 'b' is not known\n")
    return 2


def find(out: Path, starts: Queueing, goal: SaturationGoal | None = None) -> Saturation:
    opened = Sweep(out, ("run",), {}, starts=starts)
    return find_saturation(opened, ALONE, goal or SaturationGoal(None, 0.05, 1.0), lambda _: None)


@pytest.mark.parametrize("capacity_per_s", [0.7, 9.3])
def test_the_rate_is_found_beyond_which_the_queue_grows(
    tmp_path: Path, capacity_per_s: float
) -> None:
    found = find(tmp_path / "s", Queueing(capacity_per_s))
    assert found.outcome == "found"
    assert found.holds_per_s is not None
    # At 1 / 0.97 of the capacity the queue takes 3 % of what comes; brackets are 5 % wide.
    assert 1 / 1.051**2 < KEPT_UP * found.holds_per_s / capacity_per_s < 1.001
    again = find_saturation(
        Sweep(tmp_path / "s", ("run",), {}, starts=nothing_runs),
        ALONE,
        SaturationGoal(None, 0.05, 1.0),
        lambda _: None,
    )
    # Every trial was found, and the next search goes the same way.
    assert (again.holds_per_s, again.fails_per_s) == (found.holds_per_s, found.fails_per_s)


@pytest.mark.parametrize("capacity_per_s", [0.5, 300.0])
def test_a_search_begins_near_what_is_served_of_everything_at_once(
    tmp_path: Path, capacity_per_s: float
) -> None:
    """No trial takes more than some times as long as it must: begun at one request a second, that
    of 60 requests took a minute of a system that serves 300 a second."""
    queueing = Queueing(capacity_per_s, stay_s=0.01)
    found = find(tmp_path / "s", queueing, SaturationGoal(None, 0.05))
    assert found.outcome == "found"
    assert found.holds_per_s is not None
    assert 1 / 1.051**2 < KEPT_UP * found.holds_per_s / capacity_per_s < 1.001
    first, *trials = [float(options["request-rate"]) for options in queueing.started]
    assert first == float("inf")
    assert 0.35 * capacity_per_s < min(trials)
    # It is no trial of a rate.
    assert float("inf") not in {one.rate_per_s for one in found.trials}


def test_what_trials_show_is_said_as_they_end(tmp_path: Path) -> None:
    said: list[str] = []
    opened = Sweep(tmp_path / "s", ("run",), {}, starts=Queueing(9.3, slo_s=2.0))
    find_saturation(opened, ALONE, SaturationGoal(0.9, 0.5, 4.0), said.append)
    assert said[:4] == [
        "trying request-rate=4",
        "  followed",
        "trying request-rate=8",
        "  followed",
    ]
    assert "  not followed: too few requests keep the SLO, or some are refused" in said


@pytest.mark.parametrize("slo_s", [None, 2.0], ids=["no SLO", "SLO"])
@pytest.mark.parametrize("sends", [40, 160])
def test_short_runs_do_not_flatter(tmp_path: Path, sends: int, slo_s: float | None) -> None:
    """40 requests at any rate wait less than 2 s of a system that begins 20 a second, and as long
    as one reply lasts nothing can be seen to end."""
    queueing = Queueing(20.0, stay_s=6.0, sends=sends, slo_s=slo_s)
    found = find(tmp_path / "s", queueing, SaturationGoal(0.99 if slo_s else None, 0.05, 4.0))
    assert found.outcome == "found"
    assert found.holds_per_s is not None
    assert found.fails_per_s is not None
    assert 17.5 < found.holds_per_s < 20.0 / KEPT_UP
    assert found.fails_per_s > 19.9
    # It was asked with several times the requests, and so is whoever asks again.
    assert {one.rate_per_s: one.times for one in found.trials}[found.holds_per_s] >= 4
    _store_long(tmp_path / "long", queueing, found.holds_per_s)
    assert kept_up(find_run(tmp_path / "long")).share > 0.95


def _store_long(out: Path, queueing: Queueing, rate_per_s: float) -> None:
    words = ("run", f"--request-rate={rate_per_s}", "--num-requests=20000", f"--out={out}")
    queueing(words, out.with_suffix(".log"), 0)


def test_an_answer_that_more_requests_still_move_is_none(tmp_path: Path) -> None:
    """Whatever comes is served: the rate is as high as runs are long."""
    found = find(tmp_path / "s", Queueing(1e9), SaturationGoal(None, 0.2, 8.0))
    assert found.outcome == "unknown"
    assert "still moved" in found.failure
    assert "with 64 times the requests; begin with more" in found.failure
    told = sweep_table("run", (), [found], "follows")
    json.dumps(asdict(told), allow_nan=False)
    assert "has no highest rate that is known: follows" in sweep_report(told).verdict
    assert not told.is_whole


def test_an_end_that_no_length_is_sure_of_is_no_answer(tmp_path: Path) -> None:
    """Above 8 a second each stays for the whole run, however long that is: a system that fills, and
    no queue. Known wrong here: "not followed", of runs that the same table called too short."""

    class Filling(Queueing):
        """Follows up to 8 a second."""

        def __call__(self, words: Sequence[str], log: Path, held: int) -> int:
            self.stay_s = 0.1
            options = dict(one.removeprefix("--").split("=", 1) for one in words[1:] if "=" in one)
            rate_per_s = float(options["request-rate"])
            if rate_per_s > 8:
                self.stay_s = int(options.get("num-requests", self.sends)) / rate_per_s
            return super().__call__(words, log, held)

    found = find(tmp_path / "s", Filling(1e9), SaturationGoal(None, 0.05, 6.0))
    assert found.outcome == "unknown"
    assert found.failure.endswith(
        "still too short to tell, with 64 times the requests; begin with more"
    )
    # What is sure of it is still known, and nothing else is told as known: "not 8.06" was.
    assert found.holds_per_s is not None
    assert 7.5 < found.holds_per_s <= 8
    assert found.fails_per_s is None
    assert ", not " not in sweep_report(sweep_table("run", (), [found], "follows")).verdict


def test_of_too_few_requests_no_queue_shows(tmp_path: Path) -> None:
    found = find(tmp_path / "s", Queueing(9.0, sends=4))
    assert found.outcome == "unknown"
    assert found.failure == "request-rate=1: in 4 requests no queue shows; send at least 20"


@dataclass
class Spoilt(Queueing):
    """As `Queueing`, but what it stores above `valid_below_per_s` is not valid: cut off, or with
    requests that were refused."""

    valid_below_per_s: float = 4.0
    refused: bool = False

    def __call__(self, words: Sequence[str], log: Path, held: int) -> int:
        code = super().__call__(words, log, held)
        options = self.started[-1]
        if float(options["request-rate"]) <= self.valid_below_per_s:
            return code
        requests = [make_request((at + 0.1, at + 0.2), index=at, due_s=at) for at in range(59)]
        status = RequestStatus.REFUSED if self.refused else RequestStatus.UNFINISHED
        requests.append(make_request(index=59, due_s=59, status=status))
        store(Path(options["out"]), requests)
        return 3


def test_a_run_that_is_not_valid_is_no_evidence_and_ends_the_search(tmp_path: Path) -> None:
    said: list[str] = []
    opened = Sweep(tmp_path / "s", ("run",), {}, starts=Spoilt(1e9))
    found = find_saturation(opened, ALONE, SaturationGoal(None, 0.05, 1.0), said.append)
    assert found.outcome == "unknown"
    assert found.holds_per_s == 2.0
    assert found.failure.startswith("request-rate=8 is not valid: ")
    assert "1 of 60 requests did not end" in said[-1]
    told = sweep_table("run", (), [found], "it follows")
    reports = sweep_reports(told)
    assert "no highest rate that is known: follows 2 requests/s." in reports["sweep.md"]
    assert "the search ended early: request-rate=8 is not valid" in reports["sweep.md"]
    assert told.saturation[0].outcome == "unknown"
    assert not told.is_whole


@dataclass
class Flickering(Queueing):
    """As `Queueing`, but a short run near `dip_per_s` is refused requests, and a longer one is
    cut off or, if not `spoilt`, as any other."""

    dip_per_s: tuple[float, float] = (8.0, 8.8)
    spoilt: bool = True

    def __call__(self, words: Sequence[str], log: Path, held: int) -> int:
        code = super().__call__(words, log, held)
        options = self.started[-1]
        low, high = self.dip_per_s
        longer = "num-requests" in options
        if not low < float(options["request-rate"]) < high or (longer and not self.spoilt):
            return code
        requests = [make_request((at + 0.1, at + 0.2), index=at, due_s=at) for at in range(59)]
        status = RequestStatus.UNFINISHED if longer else RequestStatus.REFUSED
        requests.append(make_request(index=59, due_s=59, status=status))
        store(Path(options["out"]), requests)
        return 3


def test_what_contradicts_the_answer_and_proves_nothing_when_run_again(tmp_path: Path) -> None:
    """9.3 a second, 0.9 of which was refused requests: at the answer's length, that run is cut off.
    Known wrong here: a traceback after the last trial, and no report of any."""
    said: list[str] = []
    opened = Sweep(tmp_path / "s", ("run",), {}, starts=Flickering(9.3))
    found = find_saturation(opened, ALONE, SaturationGoal(None, 0.02, 1.0), said.append)
    assert found.outcome == "unknown"
    assert "num-requests=240 is not valid: " in found.failure
    assert said[-1] == found.failure
    # What the search had settled on is still what is known.
    assert found.holds_per_s is not None
    assert 9.2 < found.holds_per_s < 9.3 / KEPT_UP
    again = [one for one in found.trials if one.followed is None]
    assert [one.times for one in again] == [4]
    told = sweep_table("run", (), [found], "follows")
    assert again[0].done.cell.name in {cell.name for cell in told.cells if cell.failure}


def test_trials_that_ask_again_are_in_the_report(tmp_path: Path) -> None:
    found = find(tmp_path / "s", Flickering(9.3, spoilt=False), SaturationGoal(None, 0.02, 1.0))
    assert (found.outcome, found.exceptions) == ("found", ())
    dipped = [one.rate_per_s for one in found.trials if one.followed is False and one.too_late]
    asked_again = {one.rate_per_s for one in found.trials if one.times == 4 and one.followed}
    assert dipped
    assert set(dipped) <= asked_again


def test_a_trial_that_stores_nothing_ends_its_search_alone(tmp_path: Path) -> None:
    opened = Sweep(tmp_path / "s", ("run",), {}, starts=nothing_runs)
    for begin, name in ((1.0, "1"), (None, "inf")):
        found = find_saturation(opened, ALONE, SaturationGoal(None, 0.05, begin), lambda _: None)
        assert (found.outcome, found.holds_per_s) == ("unknown", None)
        said = f"request-rate={name}: exit code 2: error: engine: 'b' is not known"
        assert found.failure == said
    verdict = sweep_report(sweep_table("run", (), [found], "follows")).verdict
    assert verdict == "It has no highest rate that is known."


def test_what_refuses_requests_does_not_follow(tmp_path: Path) -> None:
    refusing = Spoilt(1e9, refused=True, stay_s=0.1)
    found = find(tmp_path / "s", refusing, SaturationGoal(None, 0.2, 1.0))
    assert found.holds_per_s is not None
    assert 3.3 < found.holds_per_s <= 4.0
    # What a system refuses is the answer, and no flaw of the search.
    told = sweep_table("run", (), [found], "follows")
    refused = [one for one in told.cells if one.refused]
    assert {one.settings["request-rate"] for one in refused} > {"8"}
    assert told.is_whole
    assert all(cell not in told.counted for cell in refused)
    report = sweep_report(told)
    assert report.badge.word == "Every cell counts"
    assert "caution" not in {note.tone for note in report.notes}
    assert {"", refused[0].refused} == set(frame(told)["failure"])
    # In a grid, where nothing is searched for, the same runs are left out.
    assert not sweep_table("run", [one.done for one in found.trials]).is_whole


@dataclass
class Full(Queueing):
    """As `Queueing`, but only the first `serves` of a burst are served, and of what is due `room_s`
    after its turn none is: a server that answers 429 to who would have to wait."""

    serves: int = 5
    room_s: float = 0.5

    def __call__(self, words: Sequence[str], log: Path, held: int) -> int:
        super().__call__(words, log, held)
        options = self.started[-1]
        out, rate = Path(options["out"]), float(options["request-rate"])
        requests, free_s = [], 0.0
        for index in range(int(options.get("num-requests", self.sends))):
            due_s = index / rate
            waits = free_s - due_s > self.room_s
            if index >= self.serves if math.isinf(rate) else waits:
                refused = make_request(index=index, due_s=due_s, status=RequestStatus.FAILED)
                requests.append(refused)
                continue
            free_s = max(free_s, due_s) + 1 / self.capacity_per_s
            times_s = (free_s, free_s + self.stay_s)
            requests.append(make_request(times_s, index=index, due_s=due_s, scheduled_s=due_s))
        store(out, requests)
        return 3


def test_a_burst_that_is_mostly_refused_begins_a_search_all_the_same(tmp_path: Path) -> None:
    full = Full(9.3, stay_s=0.05)
    found = find(tmp_path / "s", full, SaturationGoal(None, 0.05))
    assert found.outcome == "found"
    assert found.holds_per_s is not None
    assert 1 / 1.051**2 < KEPT_UP * found.holds_per_s / 9.3 < 1.001
    assert found.fails_per_s is not None
    refused = [one for one in found.trials if one.followed is False and one.too_late]
    assert refused
    assert max(one.rate_per_s for one in found.trials) in {one.rate_per_s for one in refused}


def test_a_burst_of_which_nothing_is_served_asks_for_a_rate_to_begin_at(tmp_path: Path) -> None:
    """Known wrong here: a division by the no time that such a run lasts."""
    said: list[str] = []
    opened = Sweep(tmp_path / "s", ("run",), {}, starts=Full(9.3, serves=0, sends=30))
    found = find_saturation(opened, ALONE, SaturationGoal(None, 0.05), said.append)
    assert (found.outcome, found.holds_per_s, found.trials) == ("unknown", None, ())
    assert found.failure.startswith("request-rate=inf: nothing of everything at once was served")
    assert "say --start-rate (0 of 30 requests served" in found.failure
    assert said[-1] == found.failure
    assert not sweep_table("run", (), [found], "follows").is_whole
    # A rate that is said is all that it lacks.
    begun = find(tmp_path / "t", Full(9.3, serves=0), SaturationGoal(None, 0.05, 4.0))
    assert begun.outcome == "found"


def test_who_is_not_sure_is_asked_again_with_more(tmp_path: Path) -> None:
    class Chance(Queueing):
        """Poisson arrivals that nobody waits for."""

        def __call__(self, words: Sequence[str], log: Path, held: int) -> int:  # noqa: ARG002
            log.write_text("")
            options = dict(one.removeprefix("--").split("=", 1) for one in words[1:] if "=" in one)
            self.started.append(options)
            count = int(options.get("num-requests", self.sends))
            rate_per_s = float(options["request-rate"])
            store_by_chance(Path(options["out"]), rate_per_s, count, seed=2)
            return 0

    queueing = Chance(0.0)
    found = find(tmp_path / "s", queueing, SaturationGoal(None, 0.05, 40.0))
    first, second = queueing.started[:2]
    assert [first["request-rate"], second["request-rate"]] == ["40", "40"]
    assert "num-requests" not in first
    assert second["num-requests"] == "240"
    unsure = [one for one in found.trials if not one.sure]
    cells = {cell.name: cell for cell in sweep_table("run", (), [found], "it follows").cells}
    assert unsure
    assert all(cells[one.done.cell.name].followed is None for one in unsure)


def test_of_too_few_sessions_no_queue_shows(tmp_path: Path) -> None:
    def starts(words: Sequence[str], log: Path, held: int) -> int:  # noqa: ARG001
        log.write_text("")
        store_sessions(Path(words[-1].removeprefix("--out=")), range(19), range(2, 21))
        return 0

    opened = Sweep(tmp_path / "s", ("run",), {}, starts=starts)
    found = find_saturation(opened, ALONE, SaturationGoal(None, 0.05, 1.0), lambda _: None)
    assert found.failure == "request-rate=1: in 19 sessions no queue shows; send at least 20"
    assert found.per_session == 2


def test_the_slo_decides_where_there_is_one(tmp_path: Path) -> None:
    """Each reply begins after a second at the earliest, and none may take longer than a half."""
    found = find(tmp_path / "s", Queueing(1.0, slo_s=0.5), SaturationGoal(0.99, 0.05, 1.0))
    assert (found.outcome, found.holds_per_s, found.fails_per_s) == ("never", None, 0.01)
