"""In what a stored experiment is another one."""

from __future__ import annotations

import pytest
from llmbench.harness.storage.settings import difference, in_force, settings_of


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        ({"seed": 0, "threads": 4}, {"seed": 0, "threads": 2}, "threads is 2 there, 4 here"),
        ({"quant": "awq"}, {"quant": "none"}, "quant is none there, awq here"),
        ({"slo": {"ttft": 0.2}}, {}, 'slo is not set there, {"ttft": 0.2} here'),
        ({"words": ["run", "--b=2"]}, {"words": ["run"]}, "words is not set there, --b=2 here"),
        ({"sizes": (1, 2)}, {"sizes": [1, 2], "command": "another"}, None),
    ],
)
def test_the_first_setting_that_differs_is_named_with_both_values(
    here: dict[str, object], there: dict[str, object], said: str | None
) -> None:
    assert difference(here, there) == said


def test_what_was_told_for_nothing_makes_no_other_experiment() -> None:
    """Else a series in a history would end, and a stored cell would not be found again."""
    now = {"batching": "mixed", "mixing": "sarathi", "admission": "optimistic", "kv": "paged"}
    before = {**now, "delay_factor": 2.0, "long_prefill_tokens": 64, "watermark": 0.02}
    now |= {"delay_factor": 0.0, "long_prefill_tokens": 0, "watermark": 0.02}
    assert settings_of(before) == settings_of(now)
    assert difference(in_force(now), before) is None
    assert difference(in_force(now), {**before, "watermark": 0.01}) is not None
    # Of a server nobody knows what it reads.
    assert in_force({"watermark": 0.02, "engine": "vllm"}) == {"watermark": 0.02, "engine": "vllm"}
