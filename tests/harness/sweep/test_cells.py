"""Cells that are run once, whoever else works on the sweep; the command is a fake that stores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from llmbench.harness.record import RequestRecord, RequestStatus
from llmbench.harness.rendering import sweep_reports
from llmbench.harness.result import Validity
from llmbench.harness.store import StoreError, find_run, write_run
from llmbench.harness.sweep.cells import Done, Sweep, run_all, start, until_done
from llmbench.harness.sweep.grid import Axis, Cell, grid
from llmbench.harness.sweep.saturation import Goal, find_saturation, share_followed
from llmbench.harness.sweep.table import frame, sweep_table
from llmbench.reports.sweep_report import sweep_report

from ..observed import make_request, serve_in_turn
from ..stored import stored_run

CELLS = grid([Axis("engine", ("a", "b"))], repeats=1, seed=0)


@dataclass
class Fake:
    """Stores a run of `requests` where it is told to, or fails; says what it was started with."""

    code: int = 0
    stores: bool = True
    interrupted: bool = False
    started: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, words: Sequence[str], log: Path, held: int) -> int:  # noqa: ARG002
        self.started.append(tuple(words))
        log.write_text("working\nerror: engine: 'b' is not known\n\n")
        if self.stores:
            (out,) = (word.removeprefix("--out=") for word in words if word.startswith("--out="))
            requests, steps = serve_in_turn(40)
            stored = stored_run(requests, steps, interrupted=self.interrupted)
            write_run(Path(out), stored.result, stored.requests, stored.steps, {})
        return self.code


def sweep(out: Path, fake: Fake) -> Sweep:
    return Sweep(out, ("run", "--quant", "awq"), {"vary": ["engine"]}, starts=fake)


def test_cells_are_run_with_their_options_and_not_again(tmp_path: Path) -> None:
    fake = Fake(code=3)  # stored, and of too few requests to be valid
    said: list[str] = []
    done = run_all(sweep(tmp_path / "s", fake), CELLS, said.append)
    assert [one.cell for one in done] == list(CELLS)
    assert fake.started[0][:3] == ("run", "--quant", "awq")
    assert "--engine=a" in fake.started[0]
    again = run_all(sweep(tmp_path / "s", fake), CELLS, said.append)
    assert len(fake.started) == 2
    assert "2 of 2 cells are stored already" in said
    assert [one.run and one.run.directory for one in again] == [
        one.run and one.run.directory for one in done
    ]


def test_a_cell_that_fails_says_why_and_is_tried_again(tmp_path: Path) -> None:
    fake = Fake(code=2, stores=False)
    (one, _) = run_all(sweep(tmp_path / "s", fake), CELLS, lambda _: None)
    assert one.run is None
    assert one.failure == "exit code 2: error: engine: 'b' is not known"
    run_all(sweep(tmp_path / "s", Fake()), CELLS, lambda _: None)
    done = sweep(tmp_path / "s", fake).found(CELLS[0])
    assert done is not None


def test_an_interrupted_cell_ends_the_sweep_and_is_not_taken_for_done(tmp_path: Path) -> None:
    opened = sweep(tmp_path / "s", Fake(code=130, interrupted=True))
    with pytest.raises(KeyboardInterrupt):
        run_all(opened, CELLS, lambda _: None)
    assert opened.found(CELLS[0]) is None


def test_two_processes_share_the_cells_and_run_each_once(tmp_path: Path) -> None:
    cells = grid([Axis("x", tuple(map(str, range(6))))], repeats=1, seed=0)
    fake, results = Fake(), []

    def work() -> None:
        results.append(run_all(sweep(tmp_path / "s", fake), cells, lambda _: None))

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert len(fake.started) == 6
    assert [one.cell for one in results[0]] == [one.cell for one in results[1]] == list(cells)
    assert all(one.run is not None for result in results for one in result)


def test_two_processes_may_begin_one_sweep_at_once(tmp_path: Path) -> None:
    opened: list[Sweep] = []
    for number in range(40):
        both = threading.Barrier(2, timeout=60)

        def begin(out: Path, both: threading.Barrier = both) -> None:
            both.wait()
            opened.append(sweep(out, Fake()))

        workers = [threading.Thread(target=begin, args=(tmp_path / str(number),)) for _ in "ab"]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=60)
    assert len(opened) == 80


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    sweep(tmp_path / "s", Fake())
    with pytest.raises(StoreError, match=r"holds another sweep \(command is .* there, .* here\)"):
        Sweep(tmp_path / "s", ("run",), {"vary": ["quant"]})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(StoreError, match="is not empty"):
        sweep(tmp_path / "full", Fake())


def test_the_real_command_is_llmbench_with_its_output_in_the_log(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("a") as lock:
        assert start(["run", "--engine", "no-such"], tmp_path / "log", lock.fileno()) == 2
    assert "no-such" in (tmp_path / "log").read_text()


_SWEEP = """
import sys
from pathlib import Path
from llmbench.harness.sweep import cells
cells._MAIN = '''
import time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)
    print("kept", flush=True)
'''
with open(sys.argv[1] + ".lock", "a") as lock:
    cells.start([], Path(sys.argv[1]), lock.fileno())
"""


def test_an_interrupted_command_has_time_to_keep_what_it_measured(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = subprocess.Popen(
        [sys.executable, "-c", _SWEEP, str(log)], start_new_session=True, stderr=subprocess.PIPE
    )
    give_up_s = monotonic() + 60
    while not (log.exists() and "ready" in log.read_text()) and monotonic() < give_up_s:
        sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to both
    _, said = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in said.decode()
    assert log.read_text().split() == ["ready", "kept"]


_ABANDONED = """
import sys
from pathlib import Path
from llmbench.harness.sweep import cells, grid
cells._MAIN = '''
import sys
print("ready", flush=True)
open(sys.argv[1]).read()
'''
(cell,) = grid.grid([], 1, 0)
cells.Sweep(Path(sys.argv[1]), [sys.argv[2]], {}).run(cell)
"""


def test_a_cell_whose_sweep_was_killed_is_not_started_beside_itself(tmp_path: Path) -> None:
    """The command that was started for it goes on, and will store its run."""
    os.mkfifo(tmp_path / "end")
    out, (cell,) = tmp_path / "s", grid([], 1, 0)
    log = out / "logs" / f"{cell.name}.log"
    first = subprocess.Popen([sys.executable, "-c", _ABANDONED, str(out), str(tmp_path / "end")])
    give_up_s = monotonic() + 60
    while not (log.exists() and "ready" in log.read_text()) and monotonic() < give_up_s:
        sleep(0.02)
    first.kill()
    first.wait()
    fake = Fake()
    second = Sweep(out, [str(tmp_path / "end")], {}, starts=fake)
    assert second.run(cell) is None
    with (tmp_path / "end").open("w"):
        pass
    assert until_done(second, cell).run is not None
    assert len(fake.started) == 1


def _store(out: Path, requests: Sequence[RequestRecord]) -> None:
    """A run of these requests, as a server's: nobody knows its steps, so no trace is checked."""
    stored = stored_run(requests, ())
    checks = tuple(one for one in stored.result.validity.checks if one.id != "trace")
    result = stored.result.model_copy(update={"validity": Validity.of(checks)})
    write_run(out, result, stored.requests, stored.steps, {})


class Queueing:
    """A system that begins `capacity` replies a second, one after the other, and no more."""

    def __init__(self, capacity_per_s: float) -> None:
        self._capacity_per_s = capacity_per_s

    def __call__(self, words: Sequence[str], log: Path, held: int) -> int:  # noqa: ARG002
        log.write_text("")
        options = dict(word.removeprefix("--").split("=", 1) for word in words[1:] if "=" in word)
        rate = float(options["request-rate"])
        requests, free_s = [], 0.0
        for index in range(60):
            due_s = 0.0 if rate == float("inf") else index / rate
            free_s = max(free_s, due_s) + 1 / self._capacity_per_s
            times_s = (free_s, free_s + 0.5)
            requests.append(make_request(times_s, index=index, due_s=due_s, scheduled_s=due_s))
        _store(Path(options["out"]), requests)
        return 0


@pytest.mark.parametrize("capacity_per_s", [0.7, 9.3])
def test_the_rate_is_found_beyond_which_the_queue_grows(
    tmp_path: Path, capacity_per_s: float
) -> None:
    opened = Sweep(tmp_path / "s", ("run",), {}, starts=Queueing(capacity_per_s))
    goal = Goal(0.95, 0.05, 1.0, "it follows")
    found = find_saturation(opened, Cell(()), goal, lambda _: None)
    assert found.search is not None
    assert found.search.outcome == "found"
    assert found.search.holds is not None
    # At 1 / 0.95 of the capacity replies begin at 95 % of the rate; the bracket is 5 % wide.
    assert 1 / 1.051 < 0.95 * found.search.holds.rate_per_s / capacity_per_s < 1.001
    again = find_saturation(
        Sweep(tmp_path / "s", ("run",), {}, starts=Fake(stores=False, code=2)),
        Cell(()),
        goal,
        lambda _: None,
    )
    assert again.search == found.search  # every trial was found


@dataclass
class Spoilt:
    """As `Queueing`, but what it stores above `valid_below_per_s` is not valid: cut off, or with
    requests that were refused."""

    valid_below_per_s: float
    refused: bool = False

    def __call__(self, words: Sequence[str], log: Path, held: int) -> int:
        code = Queueing(1e9)(words, log, held)
        options = dict(word.removeprefix("--").split("=", 1) for word in words[1:] if "=" in word)
        if float(options["request-rate"]) <= self.valid_below_per_s:
            return code
        out = Path(options["out"])
        requests = [make_request((at + 0.1, at + 0.2), index=at, due_s=at) for at in range(59)]
        status = RequestStatus.REFUSED if self.refused else RequestStatus.UNFINISHED
        requests.append(make_request(index=59, due_s=59, status=status))
        _store(out, requests)
        return 3


def test_a_run_that_is_not_valid_is_no_evidence_and_ends_the_search(tmp_path: Path) -> None:
    said: list[str] = []
    opened = Sweep(tmp_path / "s", ("run",), {}, starts=Spoilt(valid_below_per_s=4.0))
    found = find_saturation(opened, Cell(()), Goal(0.95, 0.05, 1.0, "it follows"), said.append)
    assert found.search is None
    assert found.highest_followed_per_s == 2.0
    assert found.failure.startswith("request-rate=8 is not valid: ")
    assert "1 of 60 requests did not end" in said[-1]
    told = sweep_table("run", found.trials, [found], "it follows")
    reports = sweep_reports(told)
    assert "no highest rate that is known: follows 2 requests/s." in reports["sweep.md"]
    assert "the search ended early: request-rate=8 is not valid" in reports["sweep.md"]
    assert told.saturation[0].outcome == "unknown"
    assert not told.is_whole


def test_a_trial_that_stores_nothing_ends_its_search_alone(tmp_path: Path) -> None:
    opened = Sweep(tmp_path / "s", ("run",), {}, starts=Fake(stores=False, code=2))
    found = find_saturation(opened, Cell(()), Goal(0.95, 0.05, 1.0, "follows"), lambda _: None)
    assert found.search is None
    assert found.highest_followed_per_s is None
    assert found.failure == "request-rate=1: exit code 2: error: engine: 'b' is not known"
    verdict = sweep_report(sweep_table("run", found.trials, [found], "follows")).verdict
    assert verdict == "It has no highest rate that is known."


def test_what_refuses_requests_does_not_follow(tmp_path: Path) -> None:
    opened = Sweep(tmp_path / "s", ("run",), {}, starts=Spoilt(4.0, refused=True))
    found = find_saturation(opened, Cell(()), Goal(0.95, 0.2, 1.0, "follows"), lambda _: None)
    assert found.search is not None
    assert found.search.holds is not None
    assert 3.3 < found.search.holds.rate_per_s <= 4.0
    # What a system refuses is the answer, and no flaw of the search.
    told = sweep_table("run", found.trials, [found], "follows")
    refused = [one for one in told.cells if one.refused]
    assert {one.settings["request-rate"] for one in refused} > {"8"}
    assert told.is_whole
    assert all(cell not in told.counted for cell in refused)
    report = sweep_report(told)
    assert report.badge.word == "Every cell counts"
    assert "caution" not in {note.tone for note in report.notes}
    assert {"", refused[0].refused} == set(frame(told)["failure"])
    # In a grid, where nothing is searched for, the same runs are left out.
    assert not sweep_table("run", found.trials).is_whole


def test_all_at_once_is_no_number(tmp_path: Path) -> None:
    opened = Sweep(tmp_path / "s", ("run",), {}, starts=Queueing(1e9))
    found = find_saturation(opened, Cell(()), Goal(0.95, 0.9, 1e5, "follows"), lambda _: None)
    told = sweep_table("run", found.trials, [found], "follows")
    json.dumps(asdict(told), allow_nan=False)
    assert "all at once" in sweep_report(told).verdict


def test_the_slo_decides_where_there_is_one(tmp_path: Path) -> None:
    requests = [make_request((at + 0.1, at + 0.2), index=at, due_s=at) for at in range(9)]
    requests.append(make_request((12.0, 13.0), index=9, due_s=9))
    stored = stored_run(requests, (), slo={"ttft": 0.5})
    write_run(tmp_path / "r", stored.result, stored.requests, stored.steps, {})
    done = Sweep(tmp_path / "s", ("run",), {})
    assert done.found(Cell(())) is None
    assert share_followed(find_run(tmp_path / "r")) == pytest.approx(0.9)


def _followed(out: Path, due_s: Sequence[float], ttft_s: Sequence[float]) -> float:
    """What a run of these requests, without an SLO, shows of its rate."""
    times = [(due + ttft, due + ttft + 0.5) for due, ttft in zip(due_s, ttft_s, strict=True)]
    _store(
        out,
        [make_request(one, index=at, due_s=due_s[at]) for at, one in enumerate(times)],
    )
    return share_followed(find_run(out))


@pytest.mark.parametrize(
    ("count", "rate_per_s", "ttft_s"), [(100, 50, 0.11), (60, 100, 0.2), (20, 1e3, 30.0)]
)
def test_a_wait_that_stays_is_no_queue_that_grows(
    tmp_path: Path, count: int, rate_per_s: float, ttft_s: float
) -> None:
    """However long the wait and short the run."""
    gaps_s = np.random.default_rng().exponential(1 / rate_per_s, count)
    due_s = np.cumsum(gaps_s).tolist()
    assert _followed(tmp_path / "r", due_s, [ttft_s] * count) == pytest.approx(1.0)
    falling = [ttft_s * (1 - 0.5 * at / count) for at in range(count)]
    assert _followed(tmp_path / "f", due_s, falling) == 1.0


@pytest.mark.parametrize("count", [10, 1000])
@pytest.mark.parametrize("first_s", [0.0, 3.0], ids=["at once", "after a wait"])
def test_a_queue_that_grows_shows_its_rate_whatever_the_length(
    tmp_path: Path, count: int, first_s: float
) -> None:
    """Requests come at 10 a second and begin at 8."""
    due_s = [at / 10 for at in range(count)]
    begun_s = [first_s + at / 8 for at in range(count)]
    waits_s = [begun - due for begun, due in zip(begun_s, due_s, strict=True)]
    assert _followed(tmp_path / "r", due_s, waits_s) == pytest.approx(0.8)


def test_one_late_reply_is_no_queue(tmp_path: Path) -> None:
    """The last of 100 requests waits for 3 s of a run of 10, the others not at all."""
    due_s = [at / 10 for at in range(100)]
    assert _followed(tmp_path / "r", due_s, [0.0] * 99 + [3.0]) > 0.95


@pytest.mark.parametrize("count", [1, 5], ids=["one", "at once"])
def test_without_a_rate_nothing_is_followed(tmp_path: Path, count: int) -> None:
    assert _followed(tmp_path / "r", [2.0] * count, [0.1] * count) == 0.0


def test_the_reports_have_every_cell_and_name_the_one_that_does_not_count(tmp_path: Path) -> None:
    opened = sweep(tmp_path / "s", Fake())
    done = opened.run(CELLS[0])
    assert done is not None
    failed = Done(CELLS[1], None, "exit code 2: <script>")
    told = sweep_table("run --quant awq", [Done(CELLS[0], done.run), failed])
    table = frame(told)
    assert table["engine"].tolist() == ["a", "b"]
    assert table["failure"].tolist() == ["", "exit code 2: <script>"]
    assert table["ttft.p50_s"].notna().tolist() == [True, False]
    reports = sweep_reports(told)
    assert "engine=b does not count: exit code 2: &lt;script&gt;" in reports["sweep.html"]
    assert "<script>." not in reports["sweep.html"]
    assert "does not count" in reports["sweep.md"]


def test_the_same_command_goes_on_though_json_has_no_tuples(tmp_path: Path) -> None:
    """What varies comes as a tuple and is read back as a list."""
    vary = {"vary": [{"option": "engine", "values": ("a", "b")}], "seed": 0}
    Sweep(tmp_path / "s", ("run",), vary, starts=Fake())
    Sweep(tmp_path / "s", ("run",), vary, starts=Fake())
    other = {"vary": [{"option": "engine", "values": ("a", "c")}], "seed": 0}
    with pytest.raises(StoreError, match="holds another sweep"):
        Sweep(tmp_path / "s", ("run",), other, starts=Fake())
