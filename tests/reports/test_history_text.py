"""How a step of a history is written."""

from __future__ import annotations

import pytest
from llmbench.reports.history_model import Step, Trend
from llmbench.reports.history_text import change_text


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (0.2, 0.3, "+50 %"),
        (0.2, 0.5, "2.50×"),
        (0.2, 0.1998, "\u22120.1 %"),
        (0.04721, 0.047211, "+0.002 %"),
        (0.047211, 0.04721, "\u22120.002 %"),
        (0.0, 0.2, "0 → 200 ms"),
    ],
)
def test_a_step_is_never_called_one_of_nothing(before: float, after: float, said: str) -> None:
    step = Step(1, before, after, None, None)
    trend = Trend("ttft", "mean", "s", "lower", "exact", (before, after), (step,))
    assert change_text(trend, step) == said
