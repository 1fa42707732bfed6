"""What is said of compared runs beside their numbers: names, settings, why not to trust them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.comparison.comparability import warnings
from llmbench.harness.comparison.compare import compare, differing_config, names_of
from llmbench.harness.errors import InvalidRun
from llmbench.harness.rendering import comparison_reports
from llmbench.harness.result import Check, Simulation

from ..stored import SIMULATION
from .known_runs import known_run, verdicts_of


def test_runs_in_directories_of_one_name_are_told_apart() -> None:
    runs = [
        replace(known_run("a"), directory=Path("x/demo")),
        replace(known_run("b"), directory=Path("y/demo")),
    ]

    assert compare(runs).runs == ("x/demo", "y/demo")


def test_every_run_has_a_name_of_its_own() -> None:
    paths = [Path(one) for one in ("a/x/demo", "b/x/demo", "other", "a/x/demo", "a/x/demo")]
    assert names_of(paths) == (*("a/x/demo", "b/x/demo", "other", "a/x/demo (2)", "a/x/demo (3)"),)


@pytest.mark.parametrize("simulation", [None, SIMULATION], ids=["measured", "simulated"])
def test_a_run_beside_itself_is_said_to_be_the_same_run(simulation: Simulation | None) -> None:
    run = known_run("a", count=15, simulation=simulation)
    copied = replace(run, directory=Path("copy"))
    for again, name in ((run, "a (2)"), (copied, "copy")):
        comparison = compare([run, again])
        assert comparison.statement == f"{name} is the same run as a: there is nothing to compare."
        assert set(verdicts_of(comparison).values()) == {"same"}
        assert comparison.warnings == ()
    several = compare([run, known_run("b", seed=2), copied]).statement
    assert several.endswith("; copy is the same run as a.")


def test_only_the_settings_that_differ_are_listed() -> None:
    changed = {"engine": "inflight", "kv": "contiguous", "command": "llmbench run …"}
    runs = [known_run("a"), known_run("b", seed=2, config=changed)]
    differences = differing_config([run.result for run in runs])

    found = {difference.field: difference.values for difference in differences}
    assert found == {"engine": ("paged", "inflight"), "kv": ("paged", "contiguous")}


@pytest.mark.parametrize(
    ("config", "environment", "warning"),
    [
        ({"kv_memory_bytes": 8192}, {}, "different KV memory"),
        ({"model": "other"}, {}, "different models"),
        ({"kv": "contiguous", "batching": "mixed"}, {}, "differ in batching and kv at once"),
        ({"kv_dtype": "int8", "quant": "awq"}, {}, "differ in quant and kv_dtype at once"),
        ({"kv": "contiguous", "quant_head": "int8"}, {}, "differ in kv and quant at once"),
        ({"kv": "contiguous", "quant_activations": "int8"}, {}, "differ in kv and quant at once"),
        ({"model_impl": "transformers", "kv": "contiguous"}, {}, "in kv and model_impl at once"),
        ({}, {"cpu": {"model": "Other CPU", "usable_cores": 2}}, "CPU: Some CPU / Other CPU"),
        # The setting is the same: something else gave the process other threads.
        ({}, {"torch": {"version": "2.13.0", "threads": 8}}, "threads: 2 / 8"),
        ({}, {"packages": {"torch": "2.11.0", "transformers": "5.23.0"}}, "2.13.0 / 2.11.0"),
    ],
)
def test_what_else_differs_is_said(
    config: dict[str, Any], environment: dict[str, Any], warning: str
) -> None:
    plain = [known_run("a"), known_run("b", seed=2)]
    changed = [known_run("a"), known_run("b", seed=2, config=config, environment=environment)]

    assert not any(warning in text for text in warnings(("a", "b"), plain))
    assert any(warning in text for text in warnings(("a", "b"), changed))


def test_a_setting_that_differs_is_named_and_no_unnamed_difference_beside_it() -> None:
    """Else a report would not call threads, or KV memory, the cause of what they alone changed."""
    eight = {"torch": {"version": "2.13.0", "threads": 8}}
    for config, environment in (({"threads": 8}, eight), ({"kv_memory_bytes": 8192}, {})):
        changed = known_run("b", slower=0.7, config=config, environment=environment)
        comparison = compare([known_run("a"), changed])
        assert [one.field for one in comparison.differing_config] == list(config)
        assert comparison.differences == ()
        report = comparison_reports([known_run("a"), changed], comparison)["comparison.md"]
        assert "One setting differs, " in report
        assert ": what is better or worse has that cause." in report


def test_an_engine_with_a_choice_of_its_own_stands_for_no_system() -> None:
    """TensorRT-LLM with a contiguous cache is not what `inflight --kv paged` is."""
    known = {"engine": "inflight", "batching": "mixed", "admission": "reserve"}
    known["stands_for"] = "a contiguous KV cache"
    plain = known_run("plain", config={**known, "kv": "contiguous"})
    paged = known_run("paged", seed=2, config={**known, "kv": "paged"})
    for runs, said in (
        (
            [plain, known_run("b", seed=3, config={**known, "kv": "contiguous"})],
            "“inflight” stands for",
        ),
        ([plain, paged], "“inflight” in plain stands for a contiguous KV cache."),
    ):
        assert said in comparison_reports(runs, compare(runs))["comparison.md"]
    runs = [known_run("a"), paged]
    assert "“inflight”" not in comparison_reports(runs, compare(runs))["comparison.md"]


def test_no_setting_is_the_cause_of_what_a_disturbed_run_shows() -> None:
    check = Check(id="machine", ok=False, fatal=False, detail="others used 55 %")
    changed = known_run("b", slower=0.7, config={"kv_memory_bytes": 8192})
    validity = changed.result.validity
    validity = validity.model_copy(update={"checks": (*validity.checks, check)})
    disturbed = replace(changed, result=changed.result.model_copy(update={"validity": validity}))
    comparison = compare([known_run("a"), disturbed])
    assert comparison.differences == ("b: others used 55 %",)
    report = comparison_reports([known_run("a"), disturbed], comparison)["comparison.md"]
    assert "One setting differs, kv\\_memory\\_bytes" not in report
    assert "One setting differs: kv\\_memory\\_bytes." in report


def test_weights_are_one_choice_whatever_the_projection() -> None:
    runs = [known_run("a"), known_run("b", seed=2, config={"quant": "awq", "quant_head": "int8"})]
    assert not any("at once" in text for text in warnings(("a", "b"), runs))


def test_the_limit_of_one_run_each_is_always_said() -> None:
    assert "one run of each" in warnings(("a", "b"), [known_run("a"), known_run("b", seed=2)])[0]


def test_an_invalid_run_is_refused_unless_asked_for() -> None:
    runs = [known_run("a"), known_run("b", interrupted=True)]

    with pytest.raises(InvalidRun, match="b: not valid, so not comparable: interrupted"):
        compare(runs)
    comparison = compare(runs, allow_invalid=True)
    assert comparison.warnings[0].startswith("b is not valid: interrupted")


def test_a_run_marked_invalid_is_refused_whatever_its_checks_say() -> None:
    run = known_run("b", seed=2)
    validity = run.result.validity.model_copy(update={"valid": False, "checks": ()})
    marked = replace(run, result=run.result.model_copy(update={"validity": validity}))

    with pytest.raises(InvalidRun, match="marked invalid"):
        compare([known_run("a"), marked])


def test_one_run_is_no_comparison() -> None:
    with pytest.raises(ConfigError, match="runs: 1 is not allowed; expected at least two runs"):
        compare([known_run("a")])


def test_a_simulated_run_beside_a_measured_one_is_a_difference_and_a_warning() -> None:
    runs = [known_run("a"), known_run("b", simulation=SIMULATION)]
    comparison = compare(runs)
    differing = {one.field: one.values for one in comparison.differing_config}
    assert differing["simulated"] == (False, True)
    said = " ".join(comparison.warnings)
    assert "b simulated, a measured: how wrong the simulation is stands in every difference" in said
    # What a simulation ran on says nothing about the machine that is simulated.
    assert "environments differ" not in said


def test_simulated_runs_beside_each_other_repeat_exactly() -> None:
    runs = [
        known_run("a", simulation=SIMULATION),
        known_run("b", simulation=SIMULATION, slower=1.2),
    ]
    comparison = compare(runs)
    assert "simulated" not in {one.field for one in comparison.differing_config}
    said = " ".join(comparison.warnings)
    assert "simulated runs repeat exactly" in said
    assert "one run of each" not in said
    assert "different cost models" not in said
    other = SIMULATION.model_copy(update={"efficiency": {"prefill": 0.4, "decode": 0.8}})
    said = " ".join(compare([runs[0], known_run("b", simulation=other)]).warnings)
    assert "different cost models" in said


def test_measured_runs_are_warned_of_as_before() -> None:
    said = " ".join(compare([known_run("a"), known_run("b")]).warnings)
    assert "one run of each, one after the other" in said
    assert "simulated" not in said


def test_runs_of_different_prices_say_so() -> None:
    comparison = compare([known_run("a"), known_run("b", config={"price_per_hour": 2.5})])
    assert "the runs were priced differently, and so are their tokens" in comparison.warnings
    assert "price_per_hour" not in {one.field for one in comparison.differing_config}
