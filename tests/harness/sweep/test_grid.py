"""Which cells a sweep has, what they are called, and what is refused."""

from __future__ import annotations

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.sweep.grid import (
    Axis,
    check_command,
    covering,
    grid,
    parse_axis,
    scaling,
    shuffled,
    through_errors,
)


def test_every_combination_is_a_cell_with_a_name_and_its_options() -> None:
    axes = [parse_axis("engine=paged,inflight"), parse_axis("--request_rate = 1, 2.5")]
    cells = grid(axes, repeats=1, seed=0)
    assert [cell.name for cell in cells] == [
        "engine=paged,request-rate=1",
        "engine=paged,request-rate=2.5",
        "engine=inflight,request-rate=1",
        "engine=inflight,request-rate=2.5",
    ]
    assert cells[1].words == ("--engine=paged", "--request-rate=2.5")


def test_repeats_are_numbered_and_have_a_seed_of_their_own() -> None:
    cells = grid([Axis("engine", ("a", "b"))], repeats=3, seed=7)
    assert [cell.name for cell in cells[::2]] == ["engine=a", "engine=a.2", "engine=a.3"]
    seeds = [cell.seed for cell in cells]
    assert seeds[0] is None
    assert seeds[2] == seeds[3]  # both sides of a repeat are sent the same
    assert len(set(seeds)) == 3
    assert f"--seed={seeds[2]}" in cells[2].words


def test_a_directory_has_a_name_that_a_file_system_takes() -> None:
    """255 bytes, with what drafts and repeats add; long values stay apart."""
    cells = grid([Axis("workload", ("a" * 300, "a" * 299 + "b", "c"))], repeats=2, seed=0)
    names = [cell.name for cell in cells]
    assert max(map(len, names)) < 200
    assert len(set(names)) == len(names)
    assert names[3] == f"{names[0]}.2"
    assert names[2] == "workload=c"


def test_each_repeat_is_in_an_order_of_its_own_that_the_seed_decides() -> None:
    cells = grid([Axis("x", tuple(map(str, range(12))))], repeats=2, seed=0)
    ordered = shuffled(cells, 3)
    assert [cell.repeat for cell in ordered] == [1] * 12 + [2] * 12
    assert sorted(ordered, key=cells.index) == list(cells)
    assert ordered == shuffled(cells, 3)
    first, second = ([one.settings for one in ordered if one.repeat == nth] for nth in (1, 2))
    assert first != second


def test_few_cells_have_every_value() -> None:
    cells = grid([Axis("x", ("1", "2", "3")), Axis("y", ("4", "5"))], repeats=2, seed=0)
    few = covering(cells)
    assert {setting for cell in few for setting in cell.settings} == {
        setting for cell in cells for setting in cell.settings
    }
    assert len(few) == 4


@pytest.mark.parametrize(
    "text", ["engine", "engine=", "=paged", "engine=a,,b", "engine=a,a", "out=a,b", "json=1"]
)
def test_an_axis_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="vary: "):
        parse_axis(text)


@pytest.mark.parametrize(
    ("words", "varied"),
    [
        ([], []),
        (["gate"], []),
        (["run", "--out", "x"], []),
        (["run", "--request-rate=2"], ["request-rate"]),
        (["run", "--request_rate", "2"], ["request-rate"]),
        (["run"], ["engine", "engine"]),
    ],
)
def test_a_command_that_cannot_be_swept_is_refused(words: list[str], varied: list[str]) -> None:
    with pytest.raises(ConfigError):
        check_command(words, varied)


@pytest.mark.parametrize(
    ("words", "varied", "added"),
    [
        (["run", "--workload", "azure-code"], ["engine"], ("--arrival=own",)),
        (["run", "--arrival", "poisson"], [], ()),
        (["run", "--arrival=own"], [], ()),
        (["run"], ["arrival"], ()),
    ],
)
def test_a_search_scales_the_workloads_own_arrivals_unless_told_otherwise(
    words: list[str], varied: list[str], added: tuple[str, ...]
) -> None:
    assert scaling(words, varied) == (*words, *added)


@pytest.mark.parametrize(
    ("words", "varied", "added"),
    [
        (["run", "--target", "openai"], ["engine"], ("--max-errors=0",)),
        (["run", "--target=openai", "--base-url=http://h"], [], ("--max-errors=0",)),
        (["run", "--target=openai", "--max-errors", "9"], [], ()),
        (["run", "--max-errors=9", "--target=openai"], [], ()),
        (["run", "--target=openai"], ["max-errors"], ()),
        # Of these it is no option.
        (["run"], [], ()),
        (["run", "--target=vllm", "--model", "openai"], [], ()),
        (["simulate"], [], ()),
    ],
)
def test_a_trial_against_a_server_goes_on_through_errors_unless_told_otherwise(
    words: list[str], varied: list[str], added: tuple[str, ...]
) -> None:
    assert through_errors(words, varied) == (*words, *added)


def test_values_that_would_share_a_directory_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'--model=a/b and --model=a b' .* that differ"):
        grid([Axis("model", ("a/b", "a b"))], repeats=1, seed=0)
    assert grid([Axis("model", ("../a",))], repeats=1, seed=0)[0].name == "model=.._a"


@pytest.mark.parametrize(("values", "repeats"), [(3, 0), (10_001, 1)])
def test_no_cell_and_too_many_are_refused(values: int, repeats: int) -> None:
    with pytest.raises(ConfigError, match="repeats: 0" if repeats == 0 else "vary: '10001 cells'"):
        grid([Axis("seed-of", tuple(map(str, range(values))))], repeats, seed=0)
