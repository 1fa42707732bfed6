"""Who else had the processors, from counters written by hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.harness.machine_state import Processors, check_alone, read_processors

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
        ({"stolen_s": 3.0}, "10% of the processor time went to other machines"),
        ({"busy_s": 65.0, "own_s": 50.0}, "other processes used 25% of the processor time"),
    ],
)
def test_who_took_much_is_named(changed: dict[str, float], said: str) -> None:
    check = check_alone(BEFORE, replace(BEFORE, time_s=110.0, **changed))
    assert not check.ok
    assert not check.fatal
    assert said in check.detail


def test_little_of_each_is_nothing() -> None:
    assert check_alone(BEFORE, Processors(110.0, 2, 66.0, 1.9, 55.0)).ok
