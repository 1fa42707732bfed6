"""Batch composition, counters and KV use of three steps worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.engines.trace import Holding, StepTrace
from llmbench.harness.metrics import step_metrics
from llmbench.harness.metrics.counters import DIRECTIONS, count
from llmbench.harness.metrics.kv import KVPool, final_kv_tokens, split_steps, summarise_kv
from llmbench.harness.result import Counters
from llmbench.harness.run.record import RequestRecord, RequestStatus

from ..observed import make_request, make_step

POOL = KVPool("contiguous", 1024, 4096, 4)


@pytest.fixture
def steps() -> list[StepTrace]:
    return [
        make_step([("a", "prefill", 0, 30)], holdings=(Holding("a", 30, 100),), end_s=1.0),
        make_step(
            [("b", "prefill", 0, 10), ("a", "decode", 30, 1)],
            holdings=(Holding("a", 31, 100), Holding("b", 10, 100)),
            external_tokens=50,
            start_s=1.0,
            end_s=4.0,
            recomputed_tokens=4,
            preempted=("c", "d"),
        ),
        make_step(
            [("a", "decode", 31, 1)], holdings=(Holding("a", 32, 100),), start_s=4.0, end_s=5.0
        ),
        make_step([], refused=("e",), start_s=5.0, end_s=5.0),
    ]


@pytest.fixture
def requests() -> list[RequestRecord]:
    a = make_request((1.0, 4.0, 5.0), input_tokens=30)
    b = make_request((4.0,), input_tokens=10, status=RequestStatus.UNFINISHED)
    e = make_request((), status=RequestStatus.REFUSED)
    return [_named(a, "a"), _named(b, "b"), _named(e, "e")]


def _named(request: RequestRecord, name: str) -> RequestRecord:
    return replace(request, request_id=name)


def test_batch_composition(steps: list[StepTrace]) -> None:
    tokens, requests, utilisation = step_metrics(max_num_batched_tokens=44)

    assert [tokens.of(step) for step in steps] == [30, 11, 1, 0]
    assert [requests.of(step) for step in steps] == [1, 2, 1, 0]
    assert utilisation.of(steps[1]) == pytest.approx(0.25)


def test_counters(requests: list[RequestRecord], steps: list[StepTrace]) -> None:
    assert count(requests, steps) == Counters(
        steps=4,
        prefill_steps=1,
        decode_steps=1,
        mixed_steps=1,
        prefill_tokens=40,
        decode_tokens=2,
        output_tokens=4,
        requests_ok=1,
        requests_refused=1,
        requests_failed=0,
        requests_unfinished=1,
        preemptions=2,
        recomputed_tokens=4,
        prefix_hit_tokens=0,
        swaps_out=0,
        kv_peak_held_tokens=200,
    )


def test_a_step_is_counted_by_the_phases_of_its_chunks(steps: list[StepTrace]) -> None:
    """Two of prompts alone, one mixed, three of decodes alone, and one that only refused."""
    prefill, _, decode, _ = steps
    counted = count([], [*steps, prefill, decode, decode])

    assert counted.steps == 7
    assert (counted.prefill_steps, counted.mixed_steps, counted.decode_steps) == (2, 1, 3)


def test_replayed_steps_are_counted_where_a_device_computes(
    requests: list[RequestRecord], steps: list[StepTrace]
) -> None:
    assert count(requests, steps).replayed_steps is None
    on_gpu = [replace(step, device_s=0.01) for step in steps]
    assert count(requests, on_gpu).replayed_steps == 0
    on_gpu[2] = replace(on_gpu[2], replayed=True)
    assert count(requests, on_gpu).replayed_steps == 1


def test_every_counter_has_a_direction() -> None:
    assert set(DIRECTIONS) == set(Counters.model_fields)
    # Steps of prompts alone are more steps by design, and a full pool is no waste.
    assert {DIRECTIONS["steps"], DIRECTIONS["kv_peak_held_tokens"]} == {"none"}


def test_the_last_token_never_enters_the_cache(
    requests: list[RequestRecord], steps: list[StepTrace]
) -> None:
    # 30 prompt + 3 output tokens, of which the last is never fed back; b was cut short at 10.
    assert final_kv_tokens(requests, steps) == {"a": 32, "b": 10}


def test_kv_is_weighted_by_the_steps_durations(
    requests: list[RequestRecord], steps: list[StepTrace]
) -> None:
    durations_s = [step.end_s - step.start_s for step in steps]
    kv = summarise_kv(POOL, split_steps(requests, steps), durations_s)

    # a reaches 32, b 10. useful: 30 for 1 s, 41 for 3 s, 32 for 1 s.
    assert kv.useful_tokens.mean == pytest.approx((30 + 41 * 3 + 32) / 5)
    assert kv.useful_tokens.peak == 41
    # reserved: 2 for 1 s, then 1 for 3 s, then 0.
    assert kv.reserved_tokens.mean == pytest.approx((2 + 1 * 3) / 5)
    # internal: 68 for a; 90 more for b while it lives.
    assert kv.internal_tokens.mean == pytest.approx((68 + 158 * 3 + 68) / 5)
    assert kv.external_tokens.mean == pytest.approx(50 * 3 / 5)
    # taken: 100 for 1 s, 250 for 3 s, 100 for 1 s.
    assert kv.waste_share == pytest.approx(1 - 185 / 950)
    assert (kv.kind, kv.capacity_tokens, kv.capacity_bytes) == ("contiguous", 1024, 4096)


def test_a_cache_nothing_used_has_no_waste_share() -> None:
    kv = summarise_kv(POOL, (), ())

    assert kv.waste_share is None
    assert kv.useful_tokens.peak == 0
