"""The pipe to an engine in another Python, with engines that are three lines long."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest
from llmbench.harness.peers.base import PeerError
from llmbench.harness.peers.runner import Runner, outside_env, start_runner
from llmbench.harness.peers.workload import Figure, Job

JOB = Job(Figure.OUTPUT, ((5, 6, 7), (1, 2, 3)), 2)
SOUND = """
from runners.lines import Loaded, Times, serve

def load(settings):
    print("engines print what they like")
    def generate(prompts, output_tokens):
        print("and while they run")
        return [Times(p[0], len(p), [p[0] + n for n in range(output_tokens)]) for p in prompts]
    return Loaded(generate, {"engine": "1.2"}, f"{settings['weights']} weights")

serve(load)
"""


@contextmanager
def running(directory: Path, code: str) -> Iterator[Runner]:
    script = directory / "engine.py"
    script.write_text(code, encoding="utf-8")
    cores = sorted(os.sched_getaffinity(0))[:1]
    settings = {"weights": "tiny"}
    log = directory / "engine.log"
    with start_runner(
        [sys.executable, script], settings, log, env=outside_env(), cores=cores
    ) as it:
        yield it


def test_a_job_comes_back_with_its_times(tmp_path: Path) -> None:
    with running(tmp_path, SOUND) as runner:
        first, second = runner.run(JOB)
        assert (first.sent_s, first.prompt_tokens, first.token_times_s) == (5, 3, (5, 6))
        assert (second.sent_s, second.token_times_s) == (1, (1, 2))
        assert runner.run(JOB) == (first, second)


def test_it_says_what_it_is_and_how_it_was_started(tmp_path: Path) -> None:
    with running(tmp_path, SOUND) as runner:
        assert runner.started.versions == {"engine": "1.2"}
        assert runner.started.settings == "tiny weights"
        assert "engine.py" in runner.started.command
        assert str(Path(sys.executable).parent) not in runner.started.command


def test_what_an_engine_prints_is_in_its_log(tmp_path: Path) -> None:
    with running(tmp_path, SOUND) as runner:
        runner.run(JOB)
    log = (tmp_path / "engine.log").read_text(encoding="utf-8")
    assert "engines print what they like" in log


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (SOUND.replace('print("engines print what they like")', "import nowhere"), "nowhere"),
        ("raise SystemExit('no such engine')", "no such engine"),
    ],
)
def test_an_engine_that_does_not_load_is_a_peer_error(tmp_path: Path, code: str, said: str) -> None:
    with pytest.raises(PeerError, match=said), running(tmp_path, code):
        pass


@pytest.mark.parametrize(
    ("instead", "said"),
    [("raise ValueError('no room')", "no room"), ("import os; os._exit(3)", "ended")],
)
def test_an_engine_that_fails_at_a_job_is_a_peer_error(
    tmp_path: Path, instead: str, said: str
) -> None:
    code = SOUND.replace('print("and while they run")', instead)
    with running(tmp_path, code) as runner, pytest.raises(PeerError, match=said):
        runner.run(JOB)


def with_a_child(directory: Path) -> str:
    """An engine that starts another process, and writes both ids down."""
    return SOUND.replace(
        'print("engines print what they like")',
        "import os, subprocess\n"
        "    child = subprocess.Popen(['sleep', '600'], stdin=subprocess.DEVNULL)\n"
        f"    open({str(directory / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')",
    )


def check_gone(directory: Path) -> None:
    pids = (directory / "pids").read_text().split()
    # A process that was killed ends when it is next scheduled, on a busy machine some time later.
    end_s = monotonic() + 20
    while (alive := [pid for pid in pids if _runs(pid)]) and monotonic() < end_s:
        sleep(0.01)
    assert not alive


def test_its_processes_are_gone_at_the_end(tmp_path: Path) -> None:
    with running(tmp_path, with_a_child(tmp_path)):
        pass
    check_gone(tmp_path)


def test_one_that_dies_between_its_turns_costs_its_own_row_alone(tmp_path: Path) -> None:
    """Known wrong here: a BrokenPipeError ended the session, and left what the engine started."""
    with running(tmp_path, with_a_child(tmp_path)) as runner:
        runner.run(JOB)
        engine = int((tmp_path / "pids").read_text().split()[0])
        os.kill(engine, signal.SIGKILL)
        while _runs(str(engine)):
            sleep(0.01)
        with pytest.raises(PeerError, match="ended"):
            runner.run(JOB)
    check_gone(tmp_path)


def _runs(pid: str) -> bool:
    """Not of a zombie, which has ended and waits for its parent to ask."""
    try:
        return "zombie" not in Path("/proc", pid, "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_program_that_is_not_there_is_a_peer_error(tmp_path: Path) -> None:
    with (
        pytest.raises(PeerError, match="cannot be started"),
        start_runner([tmp_path / "python"], {}, tmp_path / "log", env={}, cores=[0]),
    ):
        pass
