"""The order of trials, when a comparison ends, and what it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.ab.compare import Length, Outcome, compare
from llmbench.harness.ab.judge import Question
from llmbench.harness.ab.limit import TrialLimit
from llmbench.harness.ab.protocol import Trial
from llmbench.harness.ab.questions import questions_of
from llmbench.harness.ab.side import InvalidTrial
from llmbench.harness.ab.stored import as_json
from llmbench.harness.ab.trials import Dropped
from llmbench.harness.ab.turns import quad
from llmbench.harness.ab.verdicts import verdicts_of
from llmbench.harness.comparison.quantities import find_quantity
from llmbench.harness.errors import InvalidRun
from llmbench.harness.storage.json_text import json_text

from .fakes import ASKED, FakeSide

TPOT = find_quantity("m", "tpot.mean")
QUESTION = Question(TPOT, 0.05, 0.1)
SHORT = Length(max_pairs=80, num_requests=10)


def _fingerprints(outcome: Outcome) -> tuple[str, ...]:
    return tuple(one.fingerprint for one in outcome.a)


def _noisy(slower: float = 1.0, spread: float = 0.01, seed: int | None = None) -> FakeSide:
    rng = np.random.default_rng(seed)
    return FakeSide(lambda _: 0.01 * slower * float(rng.lognormal(0, spread)))


def test_a_quad_is_abba_or_baab_with_a_seed_a_pair() -> None:
    orders = Counter()
    seeds = set()
    for number in range(200):
        turns = quad(number, seed=3, coin=5)
        orders["".join(turn.side for turn in turns)] += 1
        first, second = 2 * number, 2 * number + 1
        assert [turn.pair for turn in turns] == [first, first, second, second]
        assert turns[0].seed == turns[1].seed != turns[2].seed == turns[3].seed
        seeds.update(turn.seed for turn in turns)
    assert set(orders) == {"abba", "baab"}
    assert 60 < orders["abba"] < 140  # six standard deviations of a fair coin
    assert len(seeds) == 400
    assert quad(7, 3, 5) == quad(7, 3, 5) != quad(7, 4, 5)


def test_the_coin_is_tossed_anew_and_the_requests_stay() -> None:
    def compared(coin: int | None = None) -> tuple[str, int, tuple[str, ...]]:
        order: list[str] = []

        def side(name: str) -> FakeSide:
            def time_of(_: int) -> float:
                order.append(name)
                return 0.01

            return FakeSide(time_of)

        outcome = compare(side("a"), side("b"), [QUESTION], SHORT, seed=3, coin=coin)
        return "".join(order), outcome.coin, _fingerprints(outcome)

    found = [compared() for _ in range(12)]
    assert len({coin for _, coin, _ in found}) == 12
    assert len({order for order, _, _ in found}) > 1  # but once in 2^88
    assert len({requests for _, _, requests in found}) == 1
    order, coin, _ = found[0]
    assert compared(coin)[0] == order


def test_both_sides_are_sent_the_same_requests() -> None:
    a, b = _noisy(), _noisy()
    outcome = compare(a, b, [QUESTION], SHORT, seed=5)

    assert [one.fingerprint for one in outcome.a] == [one.fingerprint for one in outcome.b]
    assert len(set(_fingerprints(outcome))) == outcome.pairs
    assert sorted(a.trials) == sorted(b.trials)


@pytest.mark.parametrize(
    ("slower", "verdict"), [(1.0, "passed"), (1.3, "regressed"), (0.7, "improved")]
)
def test_what_is_clear_ends_at_the_first_look(slower: float, verdict: str) -> None:
    told: list[str] = []
    outcome = compare(_noisy(), _noisy(slower), [QUESTION], SHORT, report=told.append)

    assert outcome.answers[0].verdict == verdict
    assert outcome.pairs == 16
    assert outcome.stopped == "every question is answered"
    assert told[-1] == f"16 pairs: {QUESTION.quantity.label} {verdict}"


def test_what_stays_open_ends_with_the_pairs_and_says_what_it_would_take() -> None:
    # Seeded: one in twenty of such comparisons is decided by chance.
    sides = (_noisy(spread=0.2, seed=1), _noisy(1.05, spread=0.2, seed=2))
    outcome = compare(*sides, [QUESTION], SHORT, coin=0)
    (answer,) = outcome.answers

    assert answer.verdict == "inconclusive"
    assert outcome.pairs == 80
    assert outcome.stopped == "all 80 pairs were measured"
    assert answer.detectable is not None
    assert answer.detectable > 0.1
    assert answer.pairs_needed is None or answer.pairs_needed > 80


def test_fixed_pairs_are_looked_at_once() -> None:
    outcome = compare(_noisy(), _noisy(1.3), [QUESTION], Length(pairs=30, num_requests=4))
    assert outcome.pairs == 30


def test_time_that_is_up_too_soon_leaves_what_was_seen_and_how_long_a_verdict_takes() -> None:
    """Known wrong here: "invalid: a run that is not valid proves nothing", and no number."""
    ticks: Iterator[float] = iter(range(0, 10_000, 10))
    said: list[str] = []
    outcome = compare(
        *(_noisy(spread=0.0), _noisy(1.25, spread=0.0)),
        [QUESTION],
        Length(max_time_s=40.0, num_requests=4),
        coin=0,
        report=said.append,
        now=lambda: next(ticks),
    )
    assert said[0] == "0 pairs measured, of at least 12; 0 s of 40 s"
    assert said[-1] == f"{outcome.pairs - 2} pairs measured, of at least 12; 40 s of 40 s"
    told = verdicts_of(outcome)
    assert (told.exit_code, told.headline) == (3, "undecided: time was up")
    (row,) = told.rows
    assert (row.verdict, row.note) == ("inconclusive", "not judged")
    assert row.change.startswith("+25.0 % so far, median trials ")
    assert outcome.pairs == 10  # in 50 s
    (why,) = told.invalid
    assert why == (
        f"time was up after {outcome.pairs} pairs of trials, too few for any verdict: that takes "
        f"12 at least, and at this pace 60 s (--max-time), or shorter trials"
    )


def test_time_that_is_up_ends_it_after_a_look() -> None:
    ticks: Iterator[float] = iter(range(1000))
    length = Length(max_pairs=80, max_time_s=20.0, num_requests=4)
    # Seeded: so much noise is taken for an answer now and then, and the comparison ends there.
    sides = (_noisy(spread=0.3, seed=1), _noisy(1.05, spread=0.3, seed=2))
    outcome = compare(*sides, [QUESTION], length, coin=0, now=lambda: next(ticks))

    assert outcome.stopped == "time is up"
    assert outcome.answers[0].quads == 21
    assert outcome.pairs == 42
    length = Length(max_time_s=3.0, num_requests=4)
    short = compare(*sides, [QUESTION], length, now=lambda: next(ticks))
    assert "too few for any verdict: that takes 12 at least" in short.failure
    assert short.partial
    assert (short.pairs, short.answers) == (8, ())


def test_trials_are_sized_to_the_slower_side() -> None:
    a, b = FakeSide(lambda _: 0.01), FakeSide(lambda _: 0.02)
    outcome = compare(a, b, [QUESTION], Length(trial_s=1.0))
    assert outcome.num_requests == 50
    a.identity = replace(a.identity, num_requests=30)
    assert compare(a, b, [QUESTION], Length(trial_s=1.0)).num_requests == 30


def test_a_trial_has_as_many_requests_as_its_percentile_takes() -> None:
    """The p99 of four requests is their maximum: of 1.5 % that take ten times as long, most trials
    have none, and the median over trials saw nothing."""
    rules = questions_of(["tpot.mean=5%", "tpot.p99=5%"])
    a, b = (FakeSide(lambda _: 0.05, more={"tpot.p99": 1.0}) for _ in range(2))
    assert compare(a, b, rules, Length(trial_s=1.0, pairs=30)).num_requests == 100
    wrong = r"^num_requests: '?60'? is not allowed; expected at least 100: .* a TPOT p99 of its own"
    with pytest.raises(ConfigError, match=wrong):
        compare(a, b, rules, Length(num_requests=60))
    b.identity = replace(b.identity, num_requests=60)
    with pytest.raises(ConfigError, match=wrong):
        compare(a, b, rules, Length(num_requests=150))


def test_sides_with_other_requests_are_refused() -> None:
    other = FakeSide(lambda _: 0.01, workload="other")
    with pytest.raises(ConfigError, match="the requests that A was sent"):
        compare(_noisy(), other, [QUESTION], SHORT)


def test_a_side_that_does_not_wait_makes_it_invalid() -> None:
    outcome = compare(_noisy(), FakeSide(lambda _: 0.01, idle_s=0.09), [QUESTION], SHORT)
    assert outcome.failure.startswith("the side that waits used")
    assert outcome.answers == ()
    assert outcome.pairs == 16
    assert verdicts_of(outcome).exit_code == 3


class _Failing(FakeSide):
    """Fails at the trials that are named, counted from 0."""

    def __init__(self, failures: Mapping[int, BaseException]) -> None:
        super().__init__(lambda _: 0.01)
        self._failures = failures

    def trial(self, seed: int, num_requests: int, limit_s: float) -> Trial:
        trial = super().trial(seed, num_requests, limit_s)
        if (failure := self._failures.get(len(self.trials) - 1)) is not None:
            raise failure
        return trial


def test_a_quad_with_an_invalid_trial_is_dropped_whole_and_counted() -> None:
    b = _Failing({3: InvalidTrial("b: 2 requests failed")})
    outcome = compare(_noisy(), b, [QUESTION], SHORT)

    assert outcome.answers[0].verdict == "passed"
    assert outcome.pairs == 16
    assert outcome.dropped == (Dropped(1, "b: 2 requests failed"),)
    # The trials of that quad that were valid are kept aside, and none of them counts.
    assert outcome.left_out
    assert {one.pair for one in outcome.left_out} <= {2, 3}
    aside = {one.trial.fingerprint for one in outcome.left_out}
    assert not aside & set(_fingerprints(outcome))
    assert len(set(_fingerprints(outcome))) == 16
    told = verdicts_of(outcome)
    assert told.exit_code == 0
    assert told.warnings[0].startswith("1 quad of trials was dropped whole")
    assert "2 requests failed" in told.warnings[0]


def test_a_dropped_quad_is_no_new_evidence() -> None:
    """Nothing is looked at twice, whether the quad before or after a look is dropped."""
    said: list[str] = []
    # The ninth quad, right after the first look, and the one after that.
    b = _Failing({16: InvalidTrial("b: lost"), 17: InvalidTrial("b: lost")})
    turn = cycle([0.008, 0.008, 0.0125, 0.0125])  # slower and faster by turns: not decided soon
    outcome = compare(
        FakeSide(lambda _: next(turn)), b, [QUESTION], SHORT, coin=3, report=said.append
    )
    assert len(outcome.dropped) == 2
    assert outcome.pairs > 16
    looks = [line for line in said if " pairs: " in line]
    assert len(looks) == len({line.partition(" ")[0] for line in looks}) > 1
    json_text(as_json(outcome, ASKED))


def test_too_many_dropped_quads_prove_nothing() -> None:
    b = _Failing(dict.fromkeys(range(4, 100), InvalidTrial("b: 2 requests failed")))
    outcome = compare(_noisy(), b, [QUESTION], SHORT)

    assert outcome.partial
    assert outcome.pairs == 4
    assert outcome.failure == "3 quads of trials had to be dropped, of 5: b: 2 requests failed"
    assert verdicts_of(outcome).exit_code == 3


@pytest.mark.parametrize("ended", [InvalidRun("b: hung"), KeyboardInterrupt()], ids=["lost", "^C"])
def test_what_was_measured_outlives_what_ends_it(ended: BaseException) -> None:
    outcome = compare(_noisy(), _Failing({5: ended}), [QUESTION], SHORT, coin=0)

    assert outcome.partial
    assert outcome.interrupted == isinstance(ended, KeyboardInterrupt)
    assert outcome.pairs == 4
    told = as_json(outcome, ASKED)
    assert (told["status"], told["failure"]) == ("partial", str(ended) or "interrupted")
    assert len(told["a"]) == len(told["b"]) == 4
    # Of the third quad: what came before the trial that failed.
    assert [one["pair"] for one in told["left_out"]] in ([4, 4, 5], [4, 4])
    assert verdicts_of(outcome).exit_code == 3


def test_a_pilot_that_is_not_valid_is_made_again_but_not_for_ever() -> None:
    bad = InvalidTrial("b: 2 requests failed")
    length = Length(trial_s=1.0)
    assert compare(_noisy(), _Failing({0: bad, 2: bad}), [QUESTION], length).pairs == 16
    with pytest.raises(InvalidTrial):
        compare(_noisy(), _Failing(dict.fromkeys(range(3), bad)), [QUESTION], length)


def test_a_trial_has_as_long_as_asked_for_or_as_the_trials_before_say() -> None:
    a = _noisy()
    compare(a, _noisy(), [QUESTION], replace(SHORT, trial_timeout_s=7.0))
    assert set(a.limits_s) == {7.0}

    first = TrialLimit(None, first_s=600.0)
    assert first.of(16) == 600.0
    first.note(16, took_s=0.16)
    assert first.of(16) == 60.0  # the floor
    first.note(100, took_s=50.0)
    first.note(16, took_s=0.16)
    assert first.of(200) == pytest.approx(20 * 0.5 * 200)


def _no_goodput_from(number: int) -> FakeSide:
    """No request of that trial, counted from 0, and of those after it keeps the SLO."""

    class Late(FakeSide):
        def trial(self, seed: int, num_requests: int, limit_s: float) -> Trial:
            trial = super().trial(seed, num_requests, limit_s)
            good = 9.0 if len(self.trials) <= number else 0.0
            return replace(trial, values={**trial.values, "goodput.run": good})

    return Late(lambda _: 0.01)


@pytest.mark.parametrize("number", [0, 5])
def test_no_goodput_at_all_ends_it_and_loses_nothing(number: int) -> None:
    """A ratio to nothing has no logarithm; that B kept no limit must still be said, and stored."""
    question = Question(find_quantity("m", "goodput.run"), 0.05, 0.1)
    good = FakeSide(lambda _: 0.01, more={"goodput.run": 9.0})
    outcome = compare(good, _no_goodput_from(number), [question], SHORT, coin=0)
    assert outcome.failure.startswith("b: goodput.run of a trial of 10 requests is 0")
    assert outcome.pairs == 2 * (number // 2)
    assert outcome.left_out[-1].trial.values["goodput.run"] == 0.0
    assert verdicts_of(outcome).exit_code == 3


@pytest.mark.parametrize(
    ("name", "slos", "refused"),
    [
        ("goodput.run", ({"ttft": 0.1}, {"ttft": 0.2}), True),
        ("goodput.run", ({"ttft": 0.1}, {"ttft": 0.1}), False),
        ("goodput.run", ({"ttft": 0.1}, None), False),
        ("tpot.mean", ({"ttft": 0.1}, {"ttft": 0.2}), False),
    ],
    ids=["two", "one", "an older tree", "not judged"],
)
def test_goodput_is_judged_by_one_slo(
    name: str, slos: tuple[dict[str, float] | None, ...], refused: bool
) -> None:
    a, b = (FakeSide(lambda _: 0.01, more={"goodput.run": 9.0}) for _ in slos)
    for side, slo in zip((a, b), slos, strict=True):
        config = {} if slo is None else {"slo": slo}
        side.identity = replace(side.identity, config=config)
    question = Question(find_quantity("m", name), 0.05, 0.1)
    expected = pytest.raises(ConfigError, match=r"slo.*one for both sides, to judge goodput")
    with expected if refused else nullcontext():
        compare(a, b, [question], SHORT)


def test_a_mistake_that_shows_late_loses_nothing() -> None:
    b = _Failing({5: ConfigError("b", "other", "the requests that A was sent")})
    outcome = compare(_noisy(), b, [QUESTION], SHORT)
    assert outcome.pairs == 4
    assert "the requests that A was sent" in outcome.failure


def test_a_metric_that_trials_do_not_have_is_a_mistake() -> None:
    missing = Question(find_quantity("m", "queue.mean"), 0.05, 0.1)
    with pytest.raises(ConfigError, match=r"queue\.mean.*expected what a trial measures.*tpot"):
        compare(_noisy(), _noisy(), [missing], SHORT)


@pytest.mark.parametrize("pairs", [0, 10, 15])
def test_too_few_pairs_to_decide_anything_are_refused(pairs: int) -> None:
    with pytest.raises(ConfigError, match=r"pairs.*an even number from 12"):
        compare(_noisy(), _noisy(), [QUESTION], Length(pairs=pairs))


def test_a_side_that_alone_forces_an_operation_is_said_to_lose_its_decode_step() -> None:
    a, b = FakeSide(lambda _: 0.01), FakeSide(lambda _: 0.01)
    b.identity = replace(b.identity, config={"force_kernels": ["silu_mul=mine.py", "argmax=torch"]})
    told = verdicts_of(compare(a, b, [QUESTION], Length(pairs=30, num_requests=4)))
    (caution,) = told.warnings
    assert caution.startswith("B alone forces silu_mul: where a decode step is one kernel")
    a.identity = replace(a.identity, config={"force_kernels": ["silu_mul=native-avx2"]})
    assert verdicts_of(compare(a, b, [QUESTION], Length(pairs=30, num_requests=4))).warnings == ()
