"""Who else had the processors, from counters written by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.harness.cli.tables import print_run
from llmbench.harness.machine.state import (
    MOST_OTHERS,
    MOST_STOLEN,
    Processors,
    check_alone,
    read_processors,
)

from ..observed import serve_in_turn
from ..stored import disturbed, stored_run

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
BEFORE = Processors(100.0, 2, 50.0, 1.0, 40.0)


def test_counters_are_read_as_the_kernel_documents_them(tmp_path: Path) -> None:
    #       user nice system idle iowait irq softirq steal guest guest_nice
    stat = "cpu  100 10 30 900 50 4 6 70 25 0\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 5\n"
    (tmp_path / "stat").write_text(stat)
    found = read_processors(tmp_path / "stat")
    assert found.busy_s == pytest.approx((100 + 10 + 30 + 4 + 6) * TICK_S)
    assert found.stolen_s == pytest.approx(70 * TICK_S)


def test_a_machine_that_says_nothing_is_not_judged(tmp_path: Path) -> None:
    found = read_processors(tmp_path / "nowhere")
    assert (found.busy_s, found.stolen_s) == (None, None)
    assert check_alone(found, replace(found, time_s=found.time_s + 10)).ok


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        # Of 10 s on two cores.
        ({"stolen_s": 3.0}, "10 % of the processor time went to other machines"),
        ({"busy_s": 65.0, "own_s": 50.0}, "other processes used 25 % of the processor time"),
    ],
)
def test_who_took_much_is_named(changed: dict[str, float], said: str) -> None:
    check = check_alone(BEFORE, replace(BEFORE, time_s=110.0, **changed))
    assert not check.ok
    assert not check.fatal
    assert said in check.detail
    # A reader takes a quarter of the time for a quarter of an error.
    assert "off by more than that share, for threads wait for each other" in check.told
    assert "--threads below the 2 cores" in check.told
    assert "llmbench ab" in check.told
    assert check.value is not None
    assert check.limit is not None
    assert check.value > check.limit


def test_the_share_that_failed_is_stored_with_its_own_limit() -> None:
    """7 % stolen are too much, beside 8 % of others that are not."""
    check = check_alone(BEFORE, replace(BEFORE, time_s=110.0, stolen_s=2.4, busy_s=51.6))
    assert not check.ok
    assert (check.value, check.limit) == (pytest.approx(0.07), MOST_STOLEN)
    assert "other processes" not in check.detail
    quiet = check_alone(BEFORE, replace(BEFORE, time_s=110.0, busy_s=51.6))
    assert (quiet.ok, quiet.value, quiet.limit) == (True, pytest.approx(0.08), MOST_OTHERS)


_SPIN = """
import time
while time.process_time() < 0.3:
    pass
print(flush=True)
input()
"""


def test_what_a_child_computes_is_this_runs_while_it_lives_and_after() -> None:
    """As a library's engine does, in a process of its own."""
    before = read_processors()
    spin = [sys.executable, "-c", _SPIN]
    with subprocess.Popen(spin, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alive = read_processors()
        child.communicate("\n")
    ended = read_processors()
    # A kernel that counts in ticks may be two short.
    assert alive.own_s - before.own_s > 0.3 - 3 * TICK_S
    assert ended.own_s - before.own_s > 0.3 - 3 * TICK_S


def test_little_of_each_is_nothing() -> None:
    check = check_alone(BEFORE, Processors(110.0, 2, 66.0, 1.9, 55.0))
    assert check.ok
    assert check.told == check.detail


def test_what_it_means_for_times_is_printed_with_the_caution(
    capsys: pytest.CaptureFixture[str],
) -> None:
    check = check_alone(BEFORE, replace(BEFORE, time_s=110.0, busy_s=65.0, own_s=50.0))
    run = stored_run(*serve_in_turn(12), config={"dtype": "float32"})
    print_run(disturbed(run, detail=check.detail, advice=check.advice).result)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if check.detail in line]
    assert check.told in line


def test_fewer_threads_than_cores_are_not_told_to_be_fewer() -> None:
    busy = replace(BEFORE, time_s=110.0, stolen_s=3.0)
    assert "--threads" in check_alone(BEFORE, busy, threads=2).told
    told = check_alone(BEFORE, busy, threads=1).told
    assert told.endswith("; compare in turns (llmbench ab)")
    assert "wait for each other" not in told
    four, busy_four = (replace(one, cores=4) for one in (BEFORE, replace(busy, stolen_s=9.0)))
    assert "wait for each other; compare in" in check_alone(four, busy_four, threads=3).told


def test_a_single_core_is_not_told_to_use_fewer() -> None:
    alone = replace(BEFORE, cores=1)
    check = check_alone(alone, replace(alone, time_s=110.0, stolen_s=3.0))
    assert not check.ok
    assert "--threads" not in check.told
