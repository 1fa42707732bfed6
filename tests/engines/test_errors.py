"""A name outside a closed set: few names are listed, of many the nearest."""

from __future__ import annotations

from llmbench.engines.errors import unknown_name


def test_a_small_set_is_listed() -> None:
    said = str(unknown_name("kv", "pagd", ("paged", "contiguous")))
    assert said == (
        "kv: 'pagd' is not allowed; expected one of contiguous, paged (did you mean 'paged'?)"
    )


def test_of_a_large_set_the_nearest_are_told_first() -> None:
    names = [f"name-{at:03}" for at in range(200)] + ["ttft.p99"]
    said = str(unknown_name("metric", "tftt.p99", names, "'list' shows them"))
    assert said == (
        "metric: 'tftt.p99' is not allowed (did you mean 'ttft.p99'?); "
        "expected one of 201 names, such as ttft.p99; 'list' shows them"
    )
    far = str(unknown_name("metric", "!", names))
    assert far.endswith("expected one of 201 names, such as name-000, name-001, name-002, name-003")
