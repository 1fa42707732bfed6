"""Due times, slots and records, on a clock where each step takes one second."""

from __future__ import annotations

import gc

import pytest
from llmbench.engines.pipeline import Core
from llmbench.harness.run.drive import Observation, Progress, drive
from llmbench.harness.run.record import RequestStatus
from llmbench.workloads.api import Plan, PlannedRequest

from ...engines.drive import CountingExecutor, LateExecutor, StepClock, make_core


def planned(index: int, due_s: float | None, prompt: int = 4, output: int = 2) -> PlannedRequest:
    return PlannedRequest(index, due_s, tuple(range(1, prompt + 1)), output)


def clock_of(core: Core) -> StepClock:
    assert isinstance(core._executor, CountingExecutor)
    return core._executor.clock


def observe(plan: Plan, core: Core | None = None) -> Observation:
    core = core or make_core()
    clock = clock_of(core)
    clock.time_s = 100.0  # a run's times start at zero whatever the clock says
    return drive(core, clock, plan)


def test_latency_counts_from_the_due_time() -> None:
    seen = observe(Plan((planned(0, 0.0), planned(1, 0.5)), None))
    first, second = seen.records
    assert (first.t_due_s, first.t_scheduled_s, first.token_times_s) == (0.0, 0.0, (1.0, 3.0))
    # Due half way through a step: handed over at its end, late by half a second.
    assert (second.t_due_s, second.t_send_s, second.t_scheduled_s) == (0.5, 1.0, 1.0)
    assert second.token_times_s == (2.0, 3.0)
    assert seen.duration_s == 3.0


def test_the_driver_sleeps_until_the_next_request_is_due() -> None:
    seen = observe(Plan((planned(0, 0.0, output=1), planned(1, 7.0, output=1)), None))
    assert [step.start_s for step in seen.steps] == [0.0, 7.0]


def test_a_closed_loop_request_is_due_when_a_slot_frees() -> None:
    seen = observe(Plan(tuple(planned(i, None) for i in range(3)), max_concurrency=1))
    assert [record.t_due_s for record in seen.records] == [0.0, 2.0, 4.0]
    assert all(record.t_due_s == record.t_send_s for record in seen.records)


def test_a_concurrency_cap_holds_back_but_the_due_time_stays() -> None:
    plan = Plan(tuple(planned(i, 0.0) for i in range(2)), max_concurrency=1)
    second = observe(plan).records[1]
    assert (second.t_due_s, second.t_send_s) == (0.0, 2.0)


def test_every_output_has_the_planned_length() -> None:
    plan = Plan(tuple(planned(i, 0.0, prompt=3 + i, output=1 + i) for i in range(5)), None)
    seen = observe(plan)
    assert [record.output_tokens for record in seen.records] == [1, 2, 3, 4, 5]
    assert [len(record.output_token_ids) for record in seen.records] == [1, 2, 3, 4, 5]


def test_a_refused_request_frees_its_slot_and_says_why() -> None:
    core = make_core(pool_tokens=8, max_model_len=32)
    plan = Plan((planned(0, None, prompt=12), planned(1, None)), max_concurrency=1)
    refused, served = observe(plan, core).records
    assert refused.status is RequestStatus.REFUSED
    assert "never hold" in refused.detail
    assert served.status is RequestStatus.OK


def test_preemptions_and_recomputed_tokens_reach_the_record() -> None:
    core = make_core(pool_tokens=20, max_model_len=20)
    plan = Plan((planned(0, 0.0, 8, 5), planned(1, 0.0, 8, 4)), None)
    second = observe(plan, core).records[1]
    assert (second.preemptions, second.recomputed_tokens) == (1, 8)


def test_ctrl_c_keeps_what_was_measured() -> None:
    def interrupt(progress: Progress) -> None:
        if progress.finished == 1:
            raise KeyboardInterrupt

    core = make_core()
    plan = Plan((planned(0, 0.0, output=2), planned(1, 0.0, output=9)), None)
    seen = drive(core, clock_of(core), plan, on_progress=interrupt)
    assert seen.interrupted
    assert [record.status for record in seen.records] == [
        RequestStatus.OK,
        RequestStatus.UNFINISHED,
    ]
    assert seen.records[1].output_tokens == 2


def test_ids_follow_the_plan_and_progress_counts_up() -> None:
    seen: list[Progress] = []
    core = make_core()
    plan = Plan((planned(0, 0.0), planned(1, 0.0)), None)
    drive(core, clock_of(core), plan, on_progress=seen.append)
    assert seen[-1] == Progress(finished=2, total=2, output_tokens=4, elapsed_s=2.0)
    with pytest.raises(AttributeError):
        seen[-1].finished = 3  # type: ignore[misc]


def test_each_sample_has_a_record_and_the_slot_frees_with_the_last() -> None:
    plan = Plan(
        (PlannedRequest(0, None, (1, 2, 3, 4), 3, samples=2), planned(1, None, output=1)),
        max_concurrency=1,
    )
    seen = observe(plan)
    first, sibling, after = seen.records
    assert [one.request_id for one in seen.records] == ["r0", "r0#1", "r1"]
    assert [one.sample for one in seen.records] == [0, 1, 0]
    # The prompt's step gives both their first token; two decode steps follow.
    assert first.token_times_s == sibling.token_times_s == (1.0, 2.0, 3.0)
    assert first.output_token_ids != sibling.output_token_ids
    assert sibling.t_scheduled_s == first.t_scheduled_s == 0.0
    assert after.t_due_s == 3.0


def test_a_step_that_fails_fails_its_requests_and_no_others() -> None:
    core = make_core(max_num_seqs=1, fail_at=1)
    plan = Plan((planned(0, 0.0, output=3), planned(1, 0.0, output=2)), None)
    failed, served = observe(plan, core).records
    assert failed.status is RequestStatus.FAILED
    assert failed.detail == "RuntimeError: the device is on fire"
    assert failed.output_tokens == 1
    assert served.status is RequestStatus.OK
    assert served.output_tokens == 2


def test_a_step_that_fails_ends_who_was_planned_for_the_next_and_the_run_goes_on() -> None:
    core = make_core("unified", late={}, fail_at=2, max_num_seqs=2, pool_tokens=64)
    early = planned(0, 0.0, 6, 3), planned(1, 0.0, 5, 5), planned(2, 0.0, 7, 3)
    seen = observe(Plan((*early, planned(3, 2.0, 6, 4)), None), core)
    # r2 took the slot that r0's last step, the one that failed, would have freed.
    assert "r2" in seen.steps[3].chunks.request_ids
    assert [record.status for record in seen.records] == [
        *3 * (RequestStatus.FAILED,),
        RequestStatus.OK,
    ]
    assert seen.records[2].t_scheduled_s is None
    assert seen.records[3].output_tokens == 4


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("execution", range(8))
def test_logits_without_a_token_end_their_request_and_the_run_goes_on(
    execution: int, row: int
) -> None:
    """In a pool so small that the next step may preempt, or recompute, whoever ends."""
    core = make_core("unified", late={}, broken=(execution, row), pool_tokens=20, max_model_len=20)
    plan = Plan(tuple(planned(i, 0.0, 8 - i, 5) for i in range(4)), None)
    seen = observe(plan, core)
    executor = core._executor
    assert isinstance(executor, LateExecutor)
    broke = executor.broke
    failed = [record for record in seen.records if record.status is RequestStatus.FAILED]
    assert len(failed) == broke
    assert all("logits" in record.detail for record in failed)
    assert sum(record.status is RequestStatus.OK for record in seen.records) == 4 - broke


def test_a_run_is_not_stopped_to_look_for_cycles() -> None:
    core = make_core()
    looked: list[bool] = []
    plan = Plan(tuple(planned(i, 0.0) for i in range(3)), None)
    assert gc.isenabled()
    drive(core, clock_of(core), plan, on_progress=lambda _: looked.append(gc.isenabled()))
    assert looked
    assert not any(looked)
    assert gc.isenabled()


def test_what_a_run_makes_goes_without_a_search_for_cycles() -> None:
    core = make_core()
    plan = Plan(tuple(planned(i, None) for i in range(200)), max_concurrency=2)
    gc.collect()
    gc.disable()
    try:
        seen = drive(core, clock_of(core), plan)
        assert len(seen.records) == 200
        del seen
        assert gc.collect() < 20
    finally:
        gc.enable()
