"""Cells that are run once, whoever else works on the sweep; the command is a fake that stores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import pytest
from llmbench.harness.rendering import sweep_reports
from llmbench.harness.storage.store import StoreError, write_run
from llmbench.harness.sweep.cells import (
    Done,
    Sweep,
    SweepInterruptedError,
    run_all,
    start,
    until_done,
)
from llmbench.harness.sweep.grid import Axis, grid
from llmbench.harness.sweep.table import frame, sweep_table

from ..observed import serve_in_turn
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
    # Known wrong here: a cell that had ended said nothing of what it came to.
    assert [line.partition(" ")[0] for line in said] == ["cell", "", "cell", ""]
    assert "output tokens/s, TTFT p50 " in said[1]
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


def test_an_interrupted_sweep_has_what_ended_and_what_an_earlier_one_stored(tmp_path: Path) -> None:
    """The second of three is cut short, and the third was stored before."""
    cells = grid([Axis("engine", ("a", "b", "c"))], repeats=1, seed=0)
    run_all(sweep(tmp_path / "s", Fake()), cells[2:], lambda _: None)

    def cut_at_b(words: Sequence[str], log: Path, held: int) -> int:
        cut = "--engine=b" in words
        return Fake(code=130 if cut else 0, interrupted=cut)(words, log, held)

    opened = Sweep(tmp_path / "s", ("run", "--quant", "awq"), {"vary": ["engine"]}, starts=cut_at_b)
    with pytest.raises(SweepInterruptedError) as cut:
        run_all(opened, cells, lambda _: None)
    assert [one.cell for one in cut.value.done] == [cells[0], cells[2]]


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
    with pytest.raises(StoreError, match="is a file; expected a new directory"):
        sweep(tmp_path / "full" / "thesis.tex", Fake())
    # Each cell would be refused.
    with pytest.raises(StoreError, match="is not UTF-8"):
        sweep(tmp_path / "\udcff", Fake())


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
