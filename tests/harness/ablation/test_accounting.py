"""What is kept of an attribution: every second of every served request, once."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.harness.ablation.accounting import QUEUE, account
from llmbench.harness.attribution import PARTS
from llmbench.harness.run.record import RequestRecord, RequestStatus
from llmbench.harness.tables.requests import records_of
from llmbench.harness.tables.steps import steps_frame

from ..observed import make_request, make_step
from .virtual import VirtualCells

POLICIES = ["separate", "unified", "inflight", "sarathi", "static"]


def _whole_s(records: list[RequestRecord]) -> np.ndarray:
    return np.array([one.token_times_s[-1] - one.t_due_s for one in records])


@pytest.mark.parametrize("batching", POLICIES)
@pytest.mark.parametrize("kv", ["paged", "contiguous"])
def test_the_parts_are_the_whole_latency_under_every_policy(batching: str, kv: str) -> None:
    runner = VirtualCells(count=60, max_num_seqs=24, pool_tokens=768)
    admission = "reserve" if batching == "static" else "optimistic"
    run = runner.measure({"batching": batching, "kv": kv, "admission": admission}, seed=3)
    records = records_of(run.requests)
    found = account(records, run.steps)

    assert found.whole.sum(axis=1) == pytest.approx(_whole_s(records), rel=1e-12)
    scheduled_s = np.array([one.t_scheduled_s or np.nan for one in records])
    ends_s = np.array([one.token_times_s[-1] for one in records])
    assert found.resident.sum(axis=1) == pytest.approx(ends_s - scheduled_s, rel=1e-9)
    for parts in (found.first, found.stream, found.resident, found.worst_gaps):
        assert (parts >= -1e-9).all()
    assert 0 < len(found.worst_gaps) <= found.gaps.sum() // 100
    preemption_s = found.whole[:, PARTS.index("preemption")].sum()
    assert (preemption_s > 0) == ((run.result.counters.preemptions or 0) > 0)
    if (batching, kv) == ("separate", "paged"):
        assert preemption_s > 0
    if batching == "separate":
        assert found.stream[:, PARTS.index("others_prefill")].sum() > 0
        assert 0 < found.behind < found.gaps.sum()


def test_it_is_what_a_run_itself_is_said_to_have_spent() -> None:
    """The means that a result keeps, and `explain` shows, are those of the account."""
    run = VirtualCells(count=60, max_num_seqs=24, pool_tokens=768).measure({}, seed=5)
    said = run.result.attribution
    assert said is not None
    assert said.tpot is not None
    found = account(records_of(run.requests), run.steps)
    many = found.gaps > 0
    pace = found.stream[many] / found.gaps[many, None]
    for parts, mean in ((found.first, said.ttft[0].parts), (pace, said.tpot)):
        named = {f"{part}_s": float(parts[:, at].mean()) for at, part in enumerate(PARTS)}
        assert mean.model_dump() == pytest.approx(named, abs=1e-12)


def test_one_token_replies_have_no_stream_and_unserved_requests_no_account() -> None:
    requests = [
        make_request([3.0], index=0, due_s=0.0, scheduled_s=1.0),
        make_request([], index=1, status=RequestStatus.REFUSED),
        make_request([4.0, 6.0], index=2, due_s=0.5, scheduled_s=3.0),
    ]
    steps = [
        make_step([("r0", "prefill", 0, 4)], index=0, start_s=1.0, end_s=3.0),
        make_step([("r2", "prefill", 0, 4)], index=1, start_s=3.0, end_s=4.0),
        make_step([("r2", "decode", 4, 1)], index=2, start_s=5.0, end_s=6.0),
    ]
    found = account(requests, steps_frame(requests, steps))

    assert len(found) == 2
    assert found.ttft_s == pytest.approx([3.0, 3.5])
    assert found.first[:, QUEUE] == pytest.approx([1.0, 2.5])
    assert found.before_s == pytest.approx([1.0, 2.5])
    assert found.gaps.tolist() == [0, 1]
    assert found.stream.sum(axis=1) == pytest.approx([0.0, 2.0])
    assert found.worst_gaps.sum() == pytest.approx(2.0)
