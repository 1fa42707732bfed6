"""Names of numbers, as rules and comparisons write them."""

from __future__ import annotations

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.comparison.quantities import QUANTITIES, find_quantity


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("mfu.prefill", "mfu.prefill"),
        ("mbu.decode", "mbu.decode"),
        ("cost.output", "cost_per_million_tokens.output"),
        ("cost_per_million_tokens.total", "cost_per_million_tokens.total"),
        ("energy.output", "energy_per_token.output"),
        ("preemptions", "counters.preemptions"),
    ],
)
def test_a_short_name_stands_for_one_number(name: str, full: str) -> None:
    assert find_quantity("rule", name) is QUANTITIES[full]


def test_which_way_is_better() -> None:
    ways = {name: QUANTITIES[name].better for name in ("mbu.decode", "mfu.run")}
    assert ways == {"mbu.decode": "higher", "mfu.run": "higher"}
    assert QUANTITIES["cost_per_million_tokens.output"].better == "lower"
    assert QUANTITIES["energy_per_token.total"].better == "lower"


def test_what_a_counter_counts_is_a_word_and_not_its_name() -> None:
    counters = {one.stat: one.unit for one in QUANTITIES.values() if one.id == "counters"}
    assert counters["swaps_out"] == "swaps"
    assert counters["recomputed_tokens"] == "tokens"
    assert not [unit for unit in counters.values() if "_" in unit]


@pytest.mark.parametrize("name", ["cost.p99", "mbu.window", "mfu"])
def test_another_statistic_of_them_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="rule"):
        find_quantity("rule", name)


def test_a_mistake_is_answered_before_a_few_of_the_names() -> None:
    with pytest.raises(ConfigError) as refused:
        find_quantity("metric", "tpot.zzz")
    said = str(refused.value)
    assert said.startswith("metric: 'tpot.zzz' is not allowed (did you mean 'tpot.p")
    assert f"one of {len(QUANTITIES)} names, such as tpot.p" in said
    assert "--format csv" in said
    assert len(said) < 250
