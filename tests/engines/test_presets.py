"""Engines as rows of a table, and rows that other packages bring."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.engines.presets import (
    PRESETS,
    Preset,
    find_preset,
    presets,
    unusable_plugins,
)

from .plugins import brought

MINE = Preset(
    "mine",
    batching="mixed",
    admission="optimistic",
    kv="paged",
    block_size=8,
    mixing="sarathi",
    settings={"max_num_batched_tokens": 512},
    stands_for="a test",
    aliases=("my-own",),
)
TAKES_A_NAME = Preset("mine-too", "mixed", "reserve", "paged", "a test", aliases=("vllm-v0",))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("paged", ("separate", "optimistic", "paged", 16)),
        ("vllm-v0", ("separate", "optimistic", "paged", 16)),
        ("inflight", ("mixed", "reserve", "contiguous", None)),
        ("trtllm", ("mixed", "reserve", "paged", 32)),
        ("trtllm-max-util", ("mixed", "optimistic", "paged", 32)),
        ("vllm-v1", ("mixed", "optimistic", "paged", 16)),
        ("orca", ("mixed", "reserve", "contiguous", None)),
        ("static", ("static", "reserve", "contiguous", None)),
    ],
)
def test_each_row_is_the_design_s(name: str, row: tuple[str, str, str, int | None]) -> None:
    engine = engine_config(name)
    block_size = engine.block_size if engine.kv == "paged" else None
    assert (engine.batching, engine.admission, engine.kv, block_size) == row


def test_who_mixes_how_and_what_else_a_row_decides() -> None:
    mixing = {preset.name: engine_config(preset.name).mixing for preset in PRESETS}
    assert mixing["vllm-v1"] == "unified"
    assert mixing["sarathi"] == "sarathi"
    assert {mixing[name] for name in ("inflight", "trtllm", "trtllm-max-util", "orca")} == {
        "inflight"
    }
    assert [preset.name for preset in PRESETS if engine_config(preset.name).prefix_cache] == [
        "vllm-v1"
    ]
    # vLLM v0 alone keeps a watermark and swaps groups; TensorRT-LLM and vLLM v1 keep none.
    assert (engine_config("paged").watermark, engine_config("paged").preemption) == (0.01, "auto")
    for name in ("vllm-v1", "trtllm-max-util"):
        assert (engine_config(name).watermark, engine_config(name).preemption) == (0, "recompute")
    assert not engine_config("orca").chunked_prefill


def test_it_is_said_of_vllm_that_v1_is_another() -> None:
    assert "v0" in find_preset("paged").stands_for
    assert "vLLM v1" in find_preset("paged").stands_for


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """What installed packages would bring as entry points."""
    with brought(monkeypatch, {}) as named:
        yield named


def test_an_entry_point_is_an_engine_like_any_other(plugins: dict[str, object]) -> None:
    plugins["mine"] = MINE
    assert presets()[-1] is MINE
    assert find_preset("my-own") is MINE
    engine = engine_config("mine", batching="separate")
    assert (engine.engine, engine.batching, engine.block_size) == ("mine", "separate", 8)
    assert engine_config("mine").max_num_batched_tokens == 512


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("paged", "llmbench.engines: .*expected an entry point that is a Preset"),
        (TAKES_A_NAME, "llmbench.engines: 'mine-too' .*a name that no engine has"),
        (ImportError("no\nmodule"), r"an entry point that imports \(ImportError: no module\)"),
        (SystemExit(0), r"an entry point that imports \(SystemExit: 0\)"),
    ],
)
def test_an_entry_point_that_is_no_engine_is_said_in_one_line_where_it_is_asked_for(
    plugins: dict[str, object], entry: object, message: str
) -> None:
    """It ended every command, whatever engine that asked for."""
    plugins["mine-too"] = entry
    assert presets() == PRESETS
    assert find_preset("vllm-v0").name == "paged"
    with pytest.raises(ConfigError, match=message) as raised:
        find_preset("mine-too")
    assert "\n" not in str(raised.value)
    assert [str(one) for one in unusable_plugins()] == [str(raised.value)]


def test_two_packages_cannot_bring_one_name(plugins: dict[str, object]) -> None:
    plugins |= {"mine": MINE, "again": MINE}
    for name in ("mine", "my-own"):
        with pytest.raises(ConfigError, match=r"'mine' .*a name that no engine has"):
            find_preset(name)
    assert len(unusable_plugins()) == 1


def test_a_preset_with_a_setting_that_is_none_names_the_nearest(
    plugins: dict[str, object],
) -> None:
    wrong = Preset("wrong", "mixed", "reserve", "paged", "a test", settings={"watermrk": 0.1})
    plugins["wrong"] = wrong
    with pytest.raises(ConfigError, match="did you mean 'watermark'"):
        engine_config("wrong")


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"admission": "reserve", "settings": {"preemption": "swap"}}, "preemption"),
        ({"kv": "contiguous", "settings": {"prefix_cache": True}}, "prefix_cache"),
        ({"settings": {"kv_reservation": "pow2"}}, "kv_reservation"),
        ({"settings": {"delay_factor": 0.5}}, "delay_factor"),
        ({"batching": "both"}, "batching"),
        ({"batching": object()}, "batching"),
        ({"mixing": "stirred"}, "mixing"),
    ],
)
def test_a_preset_that_contradicts_itself_is_refused(
    plugins: dict[str, object], settings: dict, field: str
) -> None:
    row = {"batching": "mixed", "admission": "optimistic", "kv": "paged", **settings}
    plugins["odd"] = Preset("odd", stands_for="a test", **row)
    with pytest.raises(ConfigError, match=f"^{field}: ") as raised:
        engine_config("odd")
    assert "\n" not in str(raised.value)
