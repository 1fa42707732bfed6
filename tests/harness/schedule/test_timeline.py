"""The views: letters by step, rows that are alike, and 100 columns."""

from __future__ import annotations

import pytest
from llmbench.engines.presets import PRESETS
from llmbench.harness.schedule import load_scenario, schedule, shipped, with_engine
from llmbench.harness.schedule.table import notes, steps_table, totals
from llmbench.harness.schedule.timeline import legend, render, timeline
from rich.console import Console

from .tables import row, scenario


def cells(found, column: int) -> list[str]:
    return [str(cell) for cell in steps_table(found).columns[column].cells]


def test_a_preemption_as_letters() -> None:
    # The steps are worked out in test_rules; 4, 3 and 3 of 5 blocks are 8, 6 and 6 tenths.
    found = timeline(schedule(scenario("paged", row("a", 8, 5), row("b", 8, 4), pool_blocks=5)))
    assert found.rows == {"a": "PDDDD   ", "b": "Px...RDD"}
    assert found.held == "86666666"


def test_who_has_not_begun_waits() -> None:
    # Budget 4: a and b decode, so 2 tokens are left, less than a chunk of one block: c, for which
    # there is memory, begins when a and b have ended. Then 4 and 4 of its 8.
    found = schedule(
        scenario("trtllm", row("a", 2, 3), row("b", 2, 3), row("c", 8, 1, 1), budget=4, seqs=4)
    )
    assert timeline(found).rows == {"a": "PDD  ", "b": "PDD  ", "c": " ..pP"}


def test_parts_of_prompts_and_who_gets_nothing() -> None:
    # h matters more than c, which has computed 4 of its 8, and takes all of the second step.
    c, h = row("c", 8, 1, priority=1), row("h", 4, 1, 1)
    found = schedule(scenario("trtllm", c, h, budget=4, seqs=4))
    assert timeline(found).rows == {"c": "p-P", "h": " P "}


def test_samples_have_rows_and_swaps_have_letters() -> None:
    found = schedule(
        scenario("paged", row("a", 4, 6), row("b", 6, 4, n=3), pool_blocks=7, host_blocks=8)
    )
    assert timeline(found).rows == {
        "a": "PDDDDD  ",
        "b": "PDohhhDD",
        "b#1": " DohhhDD",
        "b#2": " DohhhDD",
    }


def test_refused_aborted_and_absent() -> None:
    found = schedule(
        scenario(
            "vllm-v1",
            *(row("big", 20, 1), row("a", 4, 9, abort_step=2), row("b", 4, 1, 6)),
            pool_blocks=3,
        )
    )
    # Refused when it is the first to wait; steps 3 to 5 are left out.
    assert timeline(found).columns == (0, 1, 2, None, 6)
    assert timeline(found).rows == {"big": "!  : ", "a": "PDa: ", "b": "   :P"}
    assert notes(found)[0].startswith("big refused, NEVER: the KV cache can never hold")
    (text,) = [line.plain for line in legend([found], 200)]
    assert "! refused" in text
    assert "x preempted" not in text


def test_a_pool_is_full_only_when_it_is() -> None:
    found = schedule(scenario("vllm-v1", row("a", 76, 3), budget=80, pool_blocks=20))
    # 19, 20 and 20 of 20 blocks.
    assert timeline(found).held == "9**"


def test_a_long_schedule_goes_on_below() -> None:
    found = schedule(scenario("vllm-v1", row("a", 4, 50)))
    lines = [line.plain for line in render(found, 40)]
    # "step" and two blanks leave 34 columns: 17 steps a panel, and 50 make three.
    rulers = [line for line in lines if line.startswith("step")]
    assert [line.split()[1] for line in rulers] == ["0", "17", "34"]
    drawn = [line.split()[1:] for line in lines if line.startswith("a ")]
    assert ["".join(letters) for letters in drawn] == ["P" + "D" * 16, "D" * 17, "D" * 16]
    assert max(map(len, lines)) <= 40


def test_steps_that_read_the_same_share_a_row() -> None:
    found = schedule(scenario("paged", row("a", 8, 5), row("b", 8, 4), pool_blocks=5))
    assert cells(found, 0) == ["0", "1", "2-3", "4", "5", "6", "7"]
    assert cells(found, 5)[:2] == ["4 held, 1 free", "3 held, 2 free"]
    assert cells(found, 6)[:5] == ["a 0-1  b 2-3", *["a 0-1,4"] * 3, "b 3,2,4"]
    assert cells(found, 1)[4] == "b 0+9 (8 again)"


def test_totals_are_means_and_sums_over_requests() -> None:
    found = schedule(scenario("trtllm", row("a", 8, 5), row("b", 8, 4), pool_blocks=5))
    # a's first token comes in step 0, 1 step after it came; b's in step 5, 6 steps after.
    assert totals(found) == (
        "steps 9, to the first token 3.5 on average, longest gap 1, preemptions 0, "
        "tokens recomputed 0"
    )


@pytest.mark.parametrize("name", sorted(shipped()))
@pytest.mark.parametrize("preset", [preset.name for preset in PRESETS])
def test_what_ships_fits_a_hundred_columns_with_every_engine(name: str, preset: str) -> None:
    found = schedule(with_engine(load_scenario(name), preset))
    console = Console(width=100)
    with console.capture() as captured:
        console.print(steps_table(found))
        console.print(*render(found, 100), *legend([found], 100), sep="\n")
    assert max(map(len, captured.get().splitlines())) <= 100
    assert "…" not in captured.get()
