"""That a repeat finds nothing in a cache that another left, on the bundled model."""

from __future__ import annotations

from typing import Any

import pytest
from llmbench.engines import assemble
from llmbench.engines.config import engine_config
from llmbench.harness.adapters import run as adapters
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.repeats.runners import in_process, of_library
from llmbench.harness.result import Result
from llmbench.harness.run.watch import Silent

from ..adapters.test_run import Other

LOAD = LoadConfig(num_requests=4, max_input_len=40, max_output_len=6)


def settings(**engine: Any) -> RunConfig:
    asked = engine_config(device="cpu", kv_memory_bytes=2**22, max_model_len=256, **engine)
    return RunConfig("bundled", asked, LOAD, seed=3, warmup_requests=0, quality_tokens=0)


def _cache_is_fresh(result: Result) -> bool:
    (check,) = [one for one in result.validity.checks if one.id == "prefix_cache"]
    return check.ok


def test_weights_are_loaded_once_and_a_repeat_finds_no_prefix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The very same prompts twice: a cache that was kept would hold all of the second run's."""
    loads = 0
    load = assemble.load_model

    def counting(*arguments: Any) -> Any:
        nonlocal loads
        loads += 1
        return load(*arguments)

    monkeypatch.setattr(assemble, "load_model", counting)
    runner = in_process(settings(engine="vllm-v1"), Silent())
    first, again, other = (runner.measure(seed).result for seed in (3, 3, 4))
    assert loads == 1
    assert first.config["prefix_cache"]
    assert first.counters.prefix_hit_tokens == again.counters.prefix_hit_tokens
    assert all(map(_cache_is_fresh, (first, again, other)))
    assert first.workload.fingerprint == again.workload.fingerprint
    assert first.workload.fingerprint != other.workload.fingerprint


def test_another_librarys_engine_is_loaded_once_and_forgets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Other] = []

    def adapter(_: object, clock: Any) -> Other:
        made.append(Other(clock))
        return made[-1]

    monkeypatch.setitem(adapters.ADAPTERS, "other", adapter)
    runner = of_library(settings(engine="paged"), "other", Silent())
    identities = [runner.identify(seed) for seed in (3, 4)]
    results = [runner.measure(seed).result for seed in (3, 4)]
    assert len(made) == 1
    assert (made[0].forgotten, made[0].is_closed) == (1, False)
    runner.close()
    assert made[0].is_closed
    assert [one.workload.fingerprint for one in results] == [one.fingerprint for one in identities]
    for identity, result in zip(identities, results, strict=True):
        assert "command" not in identity.settings
        assert {one: result.config.get(one) for one in identity.settings} == identity.settings
