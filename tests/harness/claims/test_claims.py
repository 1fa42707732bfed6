"""What is concluded from runs; the numbers are made up, so that the answers are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.harness.claims import in_flight, int4, kv_waste, latency
from llmbench.harness.claims.examine import CLAIMS, examine_claims
from llmbench.harness.claims.runs import Made
from llmbench.harness.config import RunConfig
from llmbench.harness.rate_search.bracket import Search, Tried
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.simulated_capacity import EngineCapacity
from llmbench.reports.claims_model import Evidence, verdict_of

from .test_runs import disturbed, made


@dataclass(frozen=True)
class Numbers:
    """A run that is known by some numbers."""

    values: dict[str, float]
    objections: tuple[str, ...] = ()
    simulated: bool = True
    command: str = "llmbench simulate"

    def value(self, name: str) -> float:
        return self.values[name]

    def text(self, name: str) -> str:
        return f"{self.values[name]:g} s"


def numbers(*objections: str, **values: float) -> Made:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return cast(Made, Numbers(named, objections))


@pytest.mark.parametrize(
    ("held", "verdict"),
    [
        ((True, True), "confirmed"),
        ((True, None), "partly"),
        ((True, False), "partly"),
        ((False, None), "refuted"),
        ((None,), "undecided"),
        ((), "undecided"),
    ],
)
def test_a_claim_is_confirmed_only_by_all(held: tuple[bool | None, ...], verdict: str) -> None:
    assert verdict_of(held) == verdict


@pytest.mark.parametrize(("after", "held"), [(0.02, True), (0.05, False)])
def test_waste_falls_by_a_share_of_itself(after: float, held: bool) -> None:
    found = kv_waste.judge("x", numbers(kv__waste_share=0.8), numbers(kv__waste_share=after))
    assert found.held is held
    assert ("97.5 % less" in found.found) is held


def test_waste_of_an_invalid_run_decides_nothing() -> None:
    bad = numbers("it was interrupted", kv__waste_share=0.01)
    assert kv_waste.judge("x", numbers(kv__waste_share=0.8), bad).held is None


def test_up_to_is_true_if_it_is_true_once() -> None:
    def evidence(*held: bool | None) -> tuple[Evidence, ...]:
        return tuple(Evidence("", "", one, True, ()) for one in held)

    assert kv_waste.verdict(evidence(False, True)) == "confirmed"
    assert kv_waste.verdict(evidence(False, None)) == "refuted"
    assert kv_waste.verdict(evidence(None)) == "undecided"


def test_contiguous_room_here_is_for_four_sequences() -> None:
    pair = kv_waste.measured_pair("m", bytes_per_token=10, longest_tokens=512)
    assert pair.contiguous["kv-memory"] == pair.paged["kv-memory"] == 4 * 512 * 10
    differ = {name for name in pair.paged if pair.paged[name] != pair.contiguous[name]}
    assert differ == {"kv"}


def test_in_flight_is_two_answers_of_one_pair() -> None:
    """Half as long steps: more tokens a second and shorter requests, but no fuller steps."""
    use, whole = in_flight.judge("here", "static", made(2.0, 1), made(1.0, 2))
    assert use.held is None
    assert whole.held is True
    assert use.setting == whole.setting
    assert "against static batching" in use.setting


@pytest.mark.parametrize(
    ("one", "other", "held"),
    [(2.1, 2.2, True), (1.5, 1.6, False), (1.5, 2.5, None), (2.5, 2.01, None)],
)
def test_int4_needs_two_passes_that_agree(one: float, other: float, held: bool | None) -> None:
    assert int4.judge("bundled", 8, one, other).held is held


@pytest.mark.parametrize(
    ("ttft_s", "tpot_s", "held"),
    [
        (0.077, 0.01, True),
        (0.129, 0.01, False),
        (0.077, 0.2, False),
        # Of the published throughput that nothing was fitted to, the roofline was 28.0 % off.
        (0.091, 0.01, None),
        (0.11, 0.01, None),
        (0.091, 0.2, False),
    ],
)
def test_alone_both_limits_count(ttft_s: float, tpot_s: float, held: bool | None) -> None:
    """91 ms of a simulation that may be 28 % off are not known to be below 100."""
    values = {"ttft__p50": ttft_s, "tpot__p50": tpot_s, "e2el__p50": 3.0}
    values |= {name.replace("p50", "p99"): 9.0 for name in values}
    found = latency.alone(latency.MACHINES[0], numbers(**values))
    assert found.held is held
    assert "all 3 s (p99 9 s)" in found.found
    assert ("cannot be told" in found.found) is (held is None)


def test_what_was_measured_has_no_error_of_a_model() -> None:
    values = {"ttft.p50": 0.091, "tpot.p50": 0.01, "e2el.p50": 3.0}
    values |= {name.replace("p50", "p99"): 9.0 for name in values}
    run = cast(Made, Numbers(values, simulated=False))
    assert latency.alone(latency.MACHINES[0], run).held is True


@pytest.mark.parametrize(
    ("search", "held", "said"),
    [
        (
            Search("never", 0.9, None, Tried(1e-3, 0.4), ()),
            False,
            "90 % at no rate: alone it is 40",
        ),
        (Search("found", 0.9, Tried(0.05, 1), Tried(0.06, 0), ()), False, "90 % up to 0.05"),
        (Search("found", 0.9, Tried(2.0, 1), Tried(2.1, 0), ()), True, "90 % up to 2 requests/s"),
        (Search("always", 0.9, Tried(float("inf"), 1), None, ()), True, "90 % at any rate"),
    ],
    ids=["never", "hardly", "found", "always"],
)
def test_a_rate_must_be_one_that_somebody_would_serve(
    search: Search, held: bool, said: str
) -> None:
    config = RunConfig("llama-3-8b", engine_config("paged"))
    found = EngineCapacity(config, search, (), "", None, "")
    evidence = latency.under_load(latency.MACHINES[0], found, found, ("llmbench capacity",))
    assert evidence.held is held
    assert evidence.found.startswith(said)


def test_a_rate_that_the_models_error_could_turn_round_cannot_be_told() -> None:
    config = RunConfig("llama-3-8b", engine_config("paged"))
    holds, fails = (
        EngineCapacity(config, Search("found", 0.9, one, Tried(3.0, 0), ()), (), "", None, "")
        for one in (Tried(2.0, 1), None)
    )
    for found, beside in ((holds, fails), (fails, holds)):
        evidence = latency.under_load(latency.MACHINES[0], found, beside, ())
        assert evidence.held is None
        assert "cannot be told" in evidence.found


@pytest.mark.parametrize(("slower", "held"), [(3.2, True), (2.3, None), (1.7, None), (1.25, False)])
def test_a_simulated_double_is_told_beyond_the_models_error(
    slower: float, held: bool | None
) -> None:
    """Between 2 / 1.28 and 2 * 1.28 times nothing is."""
    plain, packed = made(slower, 1, simulated=True), made(1.0, 2, simulated=True)
    assert int4.judge_simulated(plain, packed, 1).held is held


def test_a_simulated_double_of_an_invalid_run_proves_nothing() -> None:
    plain, packed = made(3.2, 1, simulated=True), made(1.0, 2, simulated=True)
    found = int4.judge_simulated(plain, disturbed(packed), 1)
    assert found.held is None
    assert found.found.endswith(", cannot be told")


def test_an_unknown_claim_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"claim: 'kv-wast' is not allowed.*kv-waste"):
        examine_claims(["kv-wast"], "bundled", Silent(), measure=False, command="")
    assert list(CLAIMS) == ["kv-waste", "in-flight", "int4", "sub-100-ms"]
