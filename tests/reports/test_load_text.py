"""The load of a run in a phrase."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from llmbench.reports.load_text import load_text


@pytest.mark.parametrize(
    ("kind", "cap", "about", "said"),
    [
        ("closed_loop", 8, {"request_rate_per_s": None}, "quick, 8 at a time"),
        ("poisson", None, {"request_rate_per_s": 12.0}, "quick at 12 requests/s"),
        ("poisson", 4, {"request_rate_per_s": 12.0}, "quick at 12 requests/s, at most 4 at a time"),
        ("gamma", None, {"session_rate_per_s": 0.5}, "quick at 0.500 sessions/s"),
        ("at_once", None, {}, "quick, all at once"),
    ],
)
def test_how_requests_come_is_said(
    kind: str, cap: int | None, about: Mapping[str, Any], said: str
) -> None:
    lengths = {"input_tokens": {"mean": 1314.4}, "output_tokens": {"mean": 208.3}}
    result: dict[str, Any] = {
        "config": {"max_concurrency": cap},
        "workload": {
            "name": "quick",
            "description": {"arrivals": {"kind": kind}, **about, **lengths},
        },
    }
    told = load_text(result).replace("\u202f", " ").replace("\u00a0", " ")
    assert told == f"{said}, 1 314 tokens in and 208 out on average"


def test_what_a_result_does_not_say_is_left_out() -> None:
    assert load_text({"config": {}, "workload": {"name": "", "description": {}}}) == "requests"
