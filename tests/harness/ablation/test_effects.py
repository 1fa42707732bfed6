"""Sizes and intervals of effects, where they are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from llmbench.harness.ablation.contrasts import Change, conditional, contrasts
from llmbench.harness.ablation.design import Axis, Cell, Design
from llmbench.harness.ablation.effects import EffectEstimate, estimate, resample
from llmbench.harness.ablation.responses import (
    PERPLEXITY,
    ByPart,
    ByRequest,
    ByTime,
    Exact,
    Measure,
    too_little,
)
from llmbench.harness.comparison.pairing import Place
from llmbench.harness.stats.bootstrap import (
    Sample,
    Statistic,
    block_length,
    draw_blocks,
)

from ...chance import fewest, most
from ..judged import judged_run, quality_of
from ..stats.samples import one_each
from .test_contrasts import FIRST_RUN, PILOT_PLANT, SECOND_RUN

TWO = Design((Axis("a", ("one", "two")), Axis("b", ("x", "y"))))


def _effects(
    design: Design, repeats: Sequence[Mapping[Cell, Measure]], scale: str = "ratio"
) -> dict[tuple[str, ...], EffectEstimate]:
    wanted = contrasts(design, list(repeats[0]))
    found = estimate(design, wanted, repeats, scale)  # pyright: ignore[reportArgumentType]
    names = [tuple(str(change.level) for change in one.changes) for one in wanted]
    return dict(zip(names, found, strict=True))


def test_repeated_runs_of_the_pilot_plant() -> None:
    """By hand: the differences of two runs are -2, 4, -8, 2, -4, -4, 2, -2; less their mean -1.5
    their squares sum to 110, so the pooled variance is 55 / 7 with 7 degrees of freedom (the book,
    which does not block, has 64 / 8 = 8). An effect is a difference of two means of eight runs:
    its error is sqrt(4 * 55 / 7 / 16) = 1.4015, and t is 2.365."""
    repeats: list[dict[Cell, Measure]] = [
        {cell: Exact(float(value)) for cell, value in zip(PILOT_PLANT.cells, run, strict=True)}
        for run in (FIRST_RUN, SECOND_RUN)
    ]

    found = _effects(PILOT_PLANT, repeats, "difference")

    reach = 2.3646 * math.sqrt(4 * 55 / 7 / 16)
    temperature = found[("180",)]
    assert temperature.value == pytest.approx(23.0)
    assert (temperature.low, temperature.high) == pytest.approx((23 - reach, 23 + reach), abs=1e-3)
    assert temperature.p is not None
    assert temperature.p < 1e-5
    catalyst = found[("B",)]
    assert catalyst.p is not None
    # 1.5 / 1.4015 = 1.070; a table of t has 0.711 (p 0.5) and 1.415 (p 0.2) for 7.
    assert 0.2 < catalyst.p < 0.5


def _by_request(values: Callable[[Cell], np.ndarray]) -> dict[Cell, Measure]:
    return {cell: ByRequest(one_each(values(cell)), Statistic()) for cell in TWO.cells}


def test_ratios_are_averaged_as_logarithms_and_pairing_leaves_no_doubt() -> None:
    """Every request three times as slow under `two`, and twice more under `two` with `y`: the main
    effect is the geometric mean of 3 and 6, whatever the requests."""
    lengths = np.random.default_rng(1).lognormal(0, 1.5, 100)

    def slowed(cell: Cell) -> np.ndarray:
        levels = cell.overrides
        slow = 3.0 if levels["a"] == "two" else 1.0
        return lengths * slow * (2.0 if levels == {"a": "two", "b": "y"} else 1.0)

    found = _effects(TWO, [_by_request(slowed)])

    for name, value in {
        ("two",): math.sqrt(3 * 6),
        ("y",): math.sqrt(1 * 2),
        ("two", "y"): 2.0,
    }.items():
        spread = found[name]
        assert spread.value == pytest.approx(value)
        assert (spread.low, spread.high) == pytest.approx((value, value))


def test_intervals_hold_what_they_say_and_noise_is_no_effect() -> None:
    """Of 200 worlds without any effect, an interval of 95 % misses in about ten (between 2 and 25
    with a probability above 0.999)."""
    rng = np.random.default_rng(7)
    missed = 0
    for _ in range(200):
        noise = {cell: rng.lognormal(0, 0.4, 60) for cell in TWO.cells}
        wanted = contrasts(TWO, TWO.cells)[:1]
        spread = estimate(
            TWO, wanted, [_by_request(lambda cell, n=noise: n[cell])], "ratio", resamples=300
        )[0]
        assert spread.low is not None
        assert spread.high is not None
        missed += not spread.low <= 1 <= spread.high
    assert 2 <= missed <= 25


def test_a_percentile_of_token_gaps_is_drawn_with_its_requests() -> None:
    """Gaps of one request stay together: the interval is that of so few requests."""
    units = np.repeat(np.arange(30), 40)
    slow = np.where(units % 10 == 0, 50.0, 1.0)  # three of thirty requests hold the tail

    def gaps(cell: Cell) -> Measure:
        factor = 2.0 if cell.overrides["a"] == "two" else 1.0
        return ByRequest(Sample(slow * factor, units, 30), Statistic(95.0))

    found = _effects(TWO, [{cell: gaps(cell) for cell in TWO.cells}])

    assert found[("two",)].value == pytest.approx(2.0)
    assert (found[("two",)].low, found[("two",)].high) == pytest.approx((2.0, 2.0))


def test_rates_are_drawn_by_time_for_each_cell_apart() -> None:
    """Equal cells: no effect, but no certainty either, for their stretches are no pairs."""
    rng = np.random.default_rng(3)
    tokens = rng.poisson(20, 50).astype(float)
    measure = ByTime(tokens, np.ones(50))

    spread = _effects(TWO, [dict.fromkeys(TWO.cells, measure)])[("two",)]

    assert spread.value == pytest.approx(1.0)
    assert spread.low is not None
    assert spread.high is not None
    assert spread.low < 1 < spread.high
    # A mean of fifty counts of 20 has an error of 0.63, 3.2 %; the two cells a side halve it twice.
    assert 0.03 < spread.high - spread.low < 0.2


def test_stretches_that_had_the_same_to_do_are_drawn_once_for_all_cells() -> None:
    """One side takes half the time over each: that is all that differs, however uneven they are."""
    rng = np.random.default_rng(3)
    takes_s = rng.lognormal(0, 1, 50)

    def rate(cell: Cell, **place: float) -> Measure:
        fast = cell.overrides["a"] == "two"
        where = Place("work", **{"start": 0.0, "end": 1.0, **(place if fast else {})})
        return ByTime(np.full(50, 20.0), takes_s / (2.0 if fast else 1.0), where)

    paired = _effects(TWO, [{cell: rate(cell) for cell in TWO.cells}])[("two",)]
    assert (paired.value, paired.low, paired.high) == pytest.approx((2.0, 2.0, 2.0))
    apart = _effects(TWO, [{cell: rate(cell, start=0.03) for cell in TWO.cells}])[("two",)]
    assert apart.value == pytest.approx(2.0)
    assert apart.low is not None
    assert apart.low < 1.9


def test_counts_of_one_run_and_equal_repeats_have_no_interval() -> None:
    counts: dict[Cell, Measure] = {cell: Exact(float(at)) for at, cell in enumerate(TWO.cells)}
    for repeats in ([counts], [counts, counts]):
        assert _effects(TWO, repeats, "difference")[("two",)] == EffectEstimate(2.0)


def test_what_cannot_be_worked_out_is_refused() -> None:
    zero: dict[Cell, Measure] = dict.fromkeys(TWO.cells, Exact(0.0))
    with pytest.raises(ValueError, match="not above 0"):
        _effects(TWO, [zero])
    cells = Design((Axis("a", ("one", "three")), Axis("b", ("x", "y"))))
    measures: dict[Cell, Measure] = {
        cell: ByRequest(one_each(np.ones(3 + len(cell.name))), Statistic()) for cell in cells.cells
    }
    with pytest.raises(ValueError, match="not paired"):
        _effects(cells, [measures])


def test_draws_a_few_rows_at_a_time_are_the_draws_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory bounds how many resamples are counted at a time; it must not decide which."""
    rng = np.random.default_rng(5)
    measures = [
        ByRequest(
            Sample(rng.exponential(size=900), np.sort(rng.integers(40, size=900)), 40), statistic
        )
        for statistic in (Statistic(), Statistic(99.0), Statistic(50.0))
    ]
    whole = resample(measures, 64, np.random.default_rng(1))
    monkeypatch.setattr("llmbench.harness.stats.bootstrap._CELLS_AT_A_TIME", 2700)
    assert (resample(measures, 64, np.random.default_rng(1)) == whole).all()
    # By definition: repeat each value as often as its request was drawn.
    times = draw_blocks(40, block_length(40), 64, np.random.default_rng(1))
    for row, measure in zip(whole, measures, strict=True):
        values = [np.repeat(measure.sample.values, time[measure.sample.units]) for time in times]
        q = measure.statistic.q
        expected = [one.mean() if q is None else np.percentile(one, q) for one in values]
        assert row == pytest.approx(expected)


def _by_part(shift: np.ndarray, parts: int = 128) -> dict[Cell, Measure]:
    """What a token costs in each part of a text, in nats: `shift` more under `two`."""
    hard = np.random.default_rng(2).normal(3.0, 0.5, parts)
    costs = {"one": hard, "two": hard + shift}
    return {
        cell: ByPart(one_each(costs[str(cell.overrides["a"])]), Statistic(of_logs=True))
        for cell in TWO.cells
    }


def test_perplexity_is_as_sure_as_the_text_is_long_however_often_it_was_read() -> None:
    """A thousandth more on the whole, and up to a tenth more or less from part to part."""
    shift = np.random.default_rng(3).normal(0.0, 0.1, 128)
    shift += 0.001 - shift.mean()
    once = _effects(TWO, [_by_part(shift)])[("two",)]
    assert once.value == pytest.approx(math.exp(0.001))
    assert once.low is not None
    assert once.high is not None
    assert once.low < 1 < once.high
    thrice = _effects(TWO, [_by_part(shift)] * 3)[("two",)]
    assert thrice == once, "each repeat reads the same text"
    plain = _effects(TWO, [_by_part(shift + 0.1)])[("two",)]
    assert plain.low is not None
    assert plain.low > 1
    unlike = {
        cell: measure if cell.overrides["a"] == "one" else _by_part(np.zeros(64), 64)[cell]
        for cell, measure in _by_part(shift).items()
    }
    assert _effects(TWO, [unlike])[("two",)].low is None, "of two texts nothing is a pair"


def test_texts_that_differ_from_cell_to_cell_decide_nothing() -> None:
    results = [judged_run(quality_of([3.0] * count), f"{count}").result for count in (32, 32, 64)]
    cells = [[(f"cell {at}", one)] for at, one in enumerate(results)]
    assert too_little(PERPLEXITY, cells[:2]) == ""
    assert too_little(PERPLEXITY, cells) == "quality was measured on different text or windows"


@pytest.mark.parametrize("noisy", ["x", "y"])
def test_an_effect_at_a_level_has_the_spread_of_the_cells_at_that_level(noisy: str) -> None:
    """Cells at one level of b are ten times as noisy as at the other: pooled over all, an interval
    of 95 % at the noisy level missed in some 16 % of worlds, and at the quiet one in none."""
    rng = np.random.default_rng()
    change = Change("a", "one", "two")
    given = [conditional(TWO, change, ("b", level), TWO.cells) for level in ("x", "y")]
    wanted = [one for one in given if one is not None]
    missed, worlds = [0, 0], 400
    for _ in range(worlds):
        repeats = [
            {
                cell: Exact(math.exp(rng.normal(0, 0.2 if cell.overrides["b"] == noisy else 0.02)))
                for cell in TWO.cells
            }
            for _ in range(3)
        ]
        for at, spread in enumerate(estimate(TWO, wanted, repeats, "ratio")):
            assert spread.low is not None
            assert spread.high is not None
            missed[at] += not spread.low <= 1 <= spread.high
    assert fewest(worlds, 0.05) <= min(missed) <= max(missed) <= most(worlds, 0.05)


def test_two_cells_have_the_spread_of_their_differences() -> None:
    """Differences 0.1, 0.3 and 0.2: a mean of 0.2 with an error of 0.1 / sqrt(3), and Student's t
    of two degrees of freedom at 95 % is 4.3027."""
    change = Change("a", "one", "two")
    given = conditional(TWO, change, ("b", "x"), TWO.cells)
    assert given is not None
    logs = {
        ("one", "x"): (0.0, 0.5, -0.4),
        ("two", "x"): (0.1, 0.8, -0.2),
        ("one", "y"): (3.0, -2.0, 1.0),
        ("two", "y"): (-1.0, 4.0, 0.0),
    }
    repeats = [
        {
            cell: Exact(math.exp(logs[str(cell.overrides["a"]), str(cell.overrides["b"])][at]))
            for cell in TWO.cells
        }
        for at in range(3)
    ]
    (spread,) = estimate(TWO, [given], repeats, "ratio")
    half = 4.3027 * 0.1 / math.sqrt(3)
    assert math.log(spread.value) == pytest.approx(0.2)
    assert spread.low is not None
    assert math.log(spread.low) == pytest.approx(0.2 - half, rel=1e-3)
