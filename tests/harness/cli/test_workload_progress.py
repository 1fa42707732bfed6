"""Progress of a plan: lines in a log, a bar on a terminal, nothing where it is over at once."""

from __future__ import annotations

import io
import sys

import pytest
from llmbench.harness.cli.workload_progress import telling


class Clock:
    """Seconds as they are set."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_log_gets_a_line_after_a_second_and_one_each_five(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    with telling(quiet=False, clock=clock) as told:
        for waited_s in (0.0, 0.9, 1.1, 3.0, 6.0, 6.2, 11.5, 20.0):
            clock.now_s = 99 + waited_s
            told("making prompts", round(waited_s * 1000), 20_000)
    assert capsys.readouterr().err.splitlines() == [
        "making prompts: 1\u202f100 of 20\u202f000",
        "making prompts: 6\u202f200 of 20\u202f000",
        "making prompts: 11\u202f500 of 20\u202f000",
    ]


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with telling(quiet=True, clock=clock) as told:
        clock.now_s = 99
        told("making prompts", 5, 9)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("waited_s", "shown"), [(0.5, False), (2.0, True)])
def test_a_terminal_gets_a_bar(
    waited_s: float, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    written, clock = Terminal(), Clock()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setenv("TERM", "xterm")
    with telling(quiet=False, clock=clock) as told:
        told("making prompts", 0, 9)
        clock.now_s = waited_s
        told("making prompts", 5, 9)
    assert ("making prompts" in written.getvalue()) == shown
    assert ("5/9" in written.getvalue()) == shown
