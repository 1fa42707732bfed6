"""A run as a trace: what a viewer needs of it, on a run written by hand."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.trace import Phase
from llmbench.harness.interchange.perfetto import trace_events, write_trace
from llmbench.harness.run.record import RequestStatus
from llmbench.harness.storage.store import StoredRun, StoreError

from ..observed import make_request, make_step
from ..stored import stored_run

PREFILL: Phase = "prefill"
DECODE: Phase = "decode"


@pytest.fixture
def served() -> StoredRun:
    """Two requests; the second loses its place in the third step and is refused in the end."""
    requests = [
        make_request((1.0, 2.0, 3.0), due_s=0.25, scheduled_s=0.5, input_tokens=6),
        make_request((2.0,), index=1, due_s=0.5, scheduled_s=1.0, status=RequestStatus.FAILED),
        make_request((), index=2, due_s=0.75, status=RequestStatus.UNFINISHED),
    ]
    steps = [
        make_step([("r0", PREFILL, 0, 6)], start_s=0.5, end_s=1.0, running=1, waiting=2),
        make_step(
            [("r1", PREFILL, 0, 4), ("r0", DECODE, 6, 1)],
            start_s=1.0,
            end_s=2.0,
            index=1,
            running=2,
            waiting=1,
        ),
        make_step(
            [("r0", DECODE, 7, 1)], start_s=2.0, end_s=3.0, index=2, running=1, preempted=("r1",)
        ),
    ]
    return stored_run(requests, steps)


def of(events: list[dict[str, Any]], **asked: object) -> list[dict[str, Any]]:
    return [one for one in events if all(one.get(name) == value for name, value in asked.items())]


def test_steps_say_what_they_computed_in_microseconds(served: StoredRun) -> None:
    steps = of(list(trace_events(served)), ph="X")
    assert [(one["name"], one["ts"], one["dur"]) for one in steps] == [
        ("prefill 6", 500_000.0, 500_000.0),
        ("prefill 4 + decode 1", 1_000_000.0, 1_000_000.0),
        ("decode 1", 2_000_000.0, 1_000_000.0),
    ]
    counted = of(list(trace_events(served)), ph="C", name="requests")
    assert [(one["ts"], one["args"]) for one in counted] == [
        (500_000.0, {"running": 1, "waiting": 2}),
        (1_000_000.0, {"running": 2, "waiting": 1}),
        (2_000_000.0, {"running": 1, "waiting": 0}),
        (3_000_000.0, {"running": 0, "waiting": 0}),
    ]


def test_counters_are_nothing_while_nothing_is_computed(served: StoredRun) -> None:
    steps = served.steps.assign(start_s=[0.5, 1.5, 2.501], end_s=[1.0, 2.5, 3.0])
    counted = of(list(trace_events(replace(served, steps=steps))), ph="C", name="requests")
    times_us = [one["ts"] for one in counted if not any(one["args"].values())]
    assert times_us == [1_000_000.0, 3_000_000.0]


def test_a_request_is_nested_stages_that_end_in_the_order_they_must(served: StoredRun) -> None:
    """Viewers nest asynchronous events by a stack for each id: every end closes the last begun."""
    open_names: dict[str, list[str]] = defaultdict(list)
    seen: dict[str, list[tuple[str, float, float]]] = defaultdict(list)
    began: dict[tuple[str, str], float] = {}
    for event in of(list(trace_events(served)), pid=2):
        name, request = event["name"], event.get("id", "")
        if event["ph"] == "b":
            open_names[request].append(name)
            began[request, name] = event["ts"]
        elif event["ph"] == "e":
            assert open_names[request].pop() == name
            seen[request].append((name, began[request, name] / 1e6, event["ts"] / 1e6))
    assert not any(open_names.values())
    assert seen["r0"] == [
        *(("queue", 0.25, 0.5), ("prefill", 0.5, 1.0), ("decode", 1.0, 3.0)),
        ("r0", 0.25, 3.0),
    ]
    assert seen["r2"] == [("r2", 0.75, 0.75)]  # it was sent, and nothing more


def test_a_preemption_is_an_instant_of_its_request(served: StoredRun) -> None:
    (lost,) = of(list(trace_events(served)), ph="n")
    assert (lost["id"], lost["name"], lost["ts"]) == ("r1", "preempted", 2_000_000.0)


@pytest.mark.parametrize("name", ["run.json", "deep/run.json.gz"])
def test_what_is_written_is_json_whole_or_compressed(
    served: StoredRun, tmp_path: Path, name: str
) -> None:
    path = write_trace(served, tmp_path / name)
    data = path.read_bytes()
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    # Strict: NaN, which Python would write and read, is no JSON.
    read = json.loads(data, parse_constant=pytest.fail)
    assert read["traceEvents"] == json.loads(json.dumps(list(trace_events(served))))
    assert {event["ph"] for event in read["traceEvents"]} == set("MXCben")


def test_a_run_of_which_no_step_was_seen_still_has_its_requests(served: StoredRun) -> None:
    external = StoredRun(served.directory, served.result, served.requests, served.steps.iloc[:0])
    events = list(trace_events(external))
    assert not of(events, ph="X")
    assert len(of(events, ph="b", name="decode")) == 2


def test_a_place_that_cannot_be_written_is_one_line(served: StoredRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"out: .* cannot be written"):
        write_trace(served, tmp_path / "file" / "trace.json")
