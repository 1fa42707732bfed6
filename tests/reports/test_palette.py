from __future__ import annotations

from itertools import combinations

import pytest
from llmbench.reports import palette


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""

    def linear(channel: float) -> float:
        return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def test_contrast_agrees_with_published_examples() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("name", list(palette.TEXT))
def test_text_reaches_aa_on_every_surface_it_stands_on(name: str, ground: str) -> None:
    colours = palette.theme(ground)
    assert contrast(colours[name], colours["ground"]) >= 4.5
    assert contrast(colours[name], colours["raised"]) >= 4.5


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("role", list(palette.ROLES))
def test_marks_reach_aa_on_the_ground(role: str, ground: str) -> None:
    colours = palette.theme(ground)
    assert contrast(colours[role], colours["ground"]) >= 3


def test_runs_are_told_apart_by_more_than_colour() -> None:
    for one, other in combinations(range(6), 2):
        roles = palette.run_role(one), palette.run_role(other)
        assert roles[0] != roles[1]
        assert palette.dash_of(roles[0]) != palette.dash_of(roles[1])
    assert palette.dash_of("prefill") == "solid"


def test_a_seventh_run_has_the_hue_of_the_first_and_another_dash() -> None:
    looks = {
        (palette.ROLES[palette.run_role(at)], palette.dash_of(palette.run_role(at)))
        for at in range(12)
    }
    assert len(looks) == 12
    assert palette.ROLES[palette.run_role(6)] == palette.ROLES[palette.run_role(0)]


@pytest.mark.parametrize("first", ["a_first", "b_first"])
def test_whose_turn_was_first_has_no_hue_of_a_side(first: str) -> None:
    """Known wrong here: one blue for "A's turn first" and for B, in one figure."""
    assert palette.ROLES[first] not in (palette.ROLES["run_1"], palette.ROLES["run_3"])


def test_points_that_stand_beside_others_are_told_apart_by_their_shape() -> None:
    shapes = [palette.symbol_of(role) for role in ("a_first", "b_first", "left_out")]
    assert len(set(shapes)) == len(shapes)
