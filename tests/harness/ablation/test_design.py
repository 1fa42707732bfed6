"""Axes as people type them, and the cells they span."""

from __future__ import annotations

from inspect import signature

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.harness.ablation.contrasts import Change
from llmbench.harness.ablation.design import NotRun, parse_axes, refuse_lost_levels
from llmbench.harness.ablation.told import told_change
from llmbench.harness.options.engine import engine_options

BASE = engine_config("paged")


def test_named_axes_have_levels_and_span_every_combination() -> None:
    design = parse_axes("batching,admission,kv,quant", BASE)

    assert [axis.levels for axis in design.axes] == [
        ("separate", "mixed"),
        ("optimistic", "reserve"),
        ("paged", "contiguous"),
        ("none", "awq"),
    ]
    assert len(design.cells) == 16
    assert len({cell.name for cell in design.cells}) == 16
    assert design.cells[0].name == "batching=separate,admission=optimistic,kv=paged,quant=none"
    assert design.cells[1].overrides["quant"] == "awq"


def test_any_setting_is_an_axis_in_its_own_type() -> None:
    design = parse_axes(
        "block-size=16:32, kv_memory=1MiB:2MiB,delay_factor=0:0.5,enable_chunked_prefill=no:yes,"
        "max_num_batched_tokens=512:1024",
        BASE,
    )

    assert {axis.name: axis.levels for axis in design.axes} == {
        "block_size": (16, 32),
        "kv_memory_bytes": (2**20, 2**21),
        "delay_factor": (0.0, 0.5),
        "chunked_prefill": (False, True),
        "max_num_batched_tokens": (512, 1024),
    }
    assert "delay_factor=0.5,chunked_prefill=yes" in design.cells[-1].name


def test_a_cell_in_words() -> None:
    design = parse_axes("batching=separate:mixed,kv,chunked_prefill=yes:no,watermark=0:0.5", BASE)
    words = "mixed batching, contiguous KV, whole prompts, watermark 0.5"
    assert design.told(design.cells[-1]) == words


def test_a_method_is_a_level_as_it_is_an_option() -> None:
    """Known wrong here: `awq+a8` was no method."""
    (axis,) = parse_axes("quant=awq:awq+a8", BASE).axes
    assert axis.levels == ("awq", "awq+a8")


OPTIONS = sorted({*signature(engine_options).parameters} - {"engine", "kernel"})


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_an_engine_is_an_axis_under_its_own_name(name: str) -> None:
    """It asks for levels; of a name that it does not know it would say so."""
    with pytest.raises(ConfigError, match="a level on each side of every colon"):
        parse_axes(f"{name}=", BASE)


def test_three_levels() -> None:
    design = parse_axes("batching=separate:mixed:static,kv", BASE)
    assert [len(axis.levels) for axis in design.axes] == [3, 2]
    assert design.cells[-1].name == "batching=static,kv=contiguous"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bathcing", "did you mean 'batching'?"),
        ("batching=separate:mixd", "batching: 'mixd' is not allowed"),
        ("batching=separate:mixd", "did you mean 'mixed'?"),
        ("quant=none:awk", "did you mean 'awq'?"),
        ("block_size", "expected its levels beside it, such as block_size=A:B"),
        ("block_size=16", "at least two levels"),
        ("block_size=16:16", "each level once"),
        ("block_size=16:x", "block_size: 'x' is not allowed; expected a whole number"),
        ("block_size=0:16", "block_size: 0 is not allowed; expected at least 1"),
        ("block_size=16:", "a level on each side of every colon"),
        ("delay_factor=0:much", "delay_factor: 'much' is not allowed; expected a number"),
        ("chunked_prefill=no:maybe", "chunked_prefill: 'maybe'"),
        ("kv_memory=lots:1MiB", "kv_memory: 'lots'"),
        ("kv,kv", "each axis once"),
        ("engine=paged:inflight", "llmbench sweep --vary engine=paged,inflight"),
        ("engine", "axes: 'engine' is not allowed; expected one setting at a time"),
        ("scheduling", "options of 'llmbench run --help'"),
        ("force_kernels=linear=a:linear=b", "axes: 'force_kernels' is not allowed"),
        ("", "axes: ''"),
        ("max_num_seqs=" + ":".join(map(str, range(1, 300))), "299 cells' is not allowed"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_axes(text, BASE)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cell_may_contradict_itself_but_a_level_must_have_a_cell() -> None:
    design = parse_axes("batching=mixed:static,admission", BASE)
    one, *_ = [cell for cell in design.cells if cell.overrides["batching"] == "static"]
    refuse_lost_levels(design, [NotRun(one, "no")])

    every = [NotRun(c, "never") for c in design.cells if c.overrides["batching"] == "static"]
    with pytest.raises(ConfigError, match=r"axes: 'batching=static' .* never"):
        refuse_lost_levels(design, every)


def test_a_switch_is_said_in_words_by_every_part_of_a_report() -> None:
    change = told_change(Change("chunked_prefill", True, False))
    assert (change.base, change.level) == ("yes", "no"), "as they are typed"
    assert (change.text, change.setting) == ("chunked prefill → whole prompts", "whole prompts")
