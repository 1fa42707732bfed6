"""Effects as people read them."""

from __future__ import annotations

import pytest
from llmbench.reports.effect_text import Scale, effect_text


@pytest.mark.parametrize(
    ("effect", "text"),
    [
        ((0.62, 0.55, 0.7, "ratio", "s"), "−38 % [−45, −30]"),
        ((1.053, 0.996, 1.11, "ratio", "s"), "+5.3 % [−0.4, +11]"),
        ((4.1, 3.8, 12.34, "ratio", "s"), "4.10× [3.80, 12.3]"),
        ((0.67, 0.0, 3e28, "ratio", "s"), "−33 % [<−99, >100×]"),
        ((4.1, 0.002, 3e28, "ratio", "s"), "4.10× [<0.01, >100]"),
        ((144.0, 142.0, 3e28, "ratio", "s"), "144× [142, >10 000]"),
        ((1.0, None, None, "ratio", "s"), "0 %"),
        ((-0.8812, -0.89, -0.87, "difference", "share"), "−88 points [−89, −87]"),
        ((41.0, None, None, "difference", "preemptions"), "+41 preemptions"),
        ((-1.5, None, None, "difference", "requests"), "−1.5 requests"),
        ((1234.0, None, None, "difference", ""), "+1 234"),
    ],
)
def test_effect(effect: tuple[float, float, float, Scale, str], text: str) -> None:
    assert effect_text(*effect).replace("\u202f", " ") == text
