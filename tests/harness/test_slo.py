"""What `--slo` accepts, and what it says otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.slo import PRESETS, parse_slo
from llmbench.harness.units import parse_seconds

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("ttft:200ms,tpot:50ms", {"ttft": 0.2, "tpot": 0.05}),
        ("ttft=0.2s", {"ttft": 0.2}),
        (" e2el : 1.5s , queue=250us ", {"e2el": 1.5, "queue": 0.00025}),
        ("ntpot:1e-3s", {"ntpot": 0.001}),
        ("ttft:2min", {"ttft": 120.0}),
        # MLPerf Inference, p99 TTFT / TPOT in ms.
        ("llama2-70b", {"ttft": 2.0, "tpot": 0.2}),
        ("llama2-70b-interactive", {"ttft": 0.45, "tpot": 0.04}),
        ("llama3.1-8b-interactive", {"ttft": 0.5, "tpot": 0.03}),
        ("llama3.1-405b", {"ttft": 6.0, "tpot": 0.175}),
        ("deepseek-r1-interactive", {"ttft": 1.5, "tpot": 0.015}),
        ("gpt-oss-120b", {"ttft": 3.0, "tpot": 0.08}),
        ("sub-100ms", {"ttft": 0.1}),
    ],
)
def test_accepts(text: str, limits: dict[str, float]) -> None:
    assert parse_slo(text) == pytest.approx(limits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ttfft:2s", "slo: 'ttfft' is not allowed; expected one of .*did you mean 'ttft'"),
        ("itl:2s", "slo: 'itl' is not allowed; expected one of"),
        ("llama3-8b", "did you mean 'llama3.1-8b'"),
        ("nosuch", f"METRIC:LIMIT.* or a preset: {', '.join(PRESETS)}$"),
        ("ttft:200msec", "units us, ms, s, min .did you mean 'ms'"),
        ("ttft:fast", "slo: 'fast' is not allowed; expected a positive time"),
        ("ttft:-1ms", "slo: '-1ms' is not allowed; expected a positive time"),
        ("ttft:soon", "expected a positive time such as 200ms or 0.2s; units us, ms, s, min"),
        ("ttft:0", "slo: '0' is not allowed; expected a positive time"),
        ("ttft:inf", "slo: 'inf' is not allowed; expected a positive time"),
        ("ttft:0s", "slo: '0s' is not allowed; expected a positive time"),
        ("ttft:1e400s", "slo: '1e400s' is not allowed; expected a positive time"),
        # What a number alone means is not guessed.
        ("ttft:200", "slo: '200' is not allowed; expected a unit: 200ms or 200s$"),
        ("ttft:1s,tpot=0.05", "slo: '0.05' is not allowed; expected a unit: 0.05ms or 0.05s$"),
        ("ttft:1s,ttft:2s", "one limit for ttft"),
        ("ttft:1s,", "METRIC:LIMIT"),
        ("", "METRIC:LIMIT"),
    ],
)
def test_refuses_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_slo(text)
    assert "\n" not in str(caught.value)


def test_a_preset_cannot_be_changed_through_what_was_parsed() -> None:
    parse_slo("sub-100ms")["ttft"] = 9.0

    assert PRESETS["sub-100ms"] == {"ttft": 0.1}


def test_the_document_gives_every_preset_as_it_is() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    section = text.partition("### Limits on latency")[2].partition("\n## ")[0]
    told: dict[str, dict[str, float]] = {}
    for name, cells in re.findall(r"^\| `([^`-][^`]*)` \|(.+)\|$", section, flags=re.MULTILINE):
        limits = [one.strip().replace(" ", "") for one in cells.split("|")]
        for ending, pair in (("", limits[:2]), ("-interactive", limits[2:])):
            if pair[0]:
                told[name + ending] = {
                    metric: parse_seconds("slo", limit)
                    for metric, limit in zip(("ttft", "tpot"), pair, strict=True)
                    if limit
                }
    assert told == {name: pytest.approx(limits) for name, limits in PRESETS.items()}
