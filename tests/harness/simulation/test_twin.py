"""The twin held against a run whose step times are known exactly: one that was simulated itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import combinations, takewhile
from pathlib import Path

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.result import Simulation
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.calibrate import calibrate_runs
from llmbench.harness.simulation.simulate import prepare_simulation, simulate
from llmbench.harness.simulation.simulated_machine import Machine
from llmbench.harness.simulation.twin import CHECKED, engine_of, hold_against, plan_of
from llmbench.harness.simulation.twin_prompts import unknown_of
from llmbench.harness.storage.store import StoredRun

LOAD = LoadConfig(
    workload="azure-conv", num_requests=100, request_rate=0.7, max_input_len=600, max_output_len=60
)


def stored(name: str, seed: int, engine: str = "paged", load: LoadConfig = LOAD) -> StoredRun:
    """A run on a machine whose step times follow a roofline, without noise."""
    settings = RunConfig(
        "smollm2-135m", engine_config(engine, dtype="bfloat16", max_num_seqs=16), load, seed
    )
    measured = simulate(prepare_simulation(settings, Machine("cpu")), Silent())
    config = {**measured.result.config, "device": "cpu"}
    result = measured.result.model_copy(update={"simulation": None, "config": config})
    return StoredRun(Path(name), result, measured.requests, measured.steps)


@pytest.fixture(scope="module")
def run() -> StoredRun:
    return stored("seen", 1)


@pytest.mark.parametrize("engine", ["paged", "trtllm", "vllm-v1"])
def test_a_machine_without_noise_is_predicted(run: StoredRun, engine: str) -> None:
    """A roofline is the larger of two lines in each part, the calibration a sum of a few: they
    agree where both are lines, and nearly so in between."""
    held = hold_against(
        calibrate_runs([run, stored("mixed", 3, "trtllm")]), stored("unseen", 2, engine), Silent()
    )
    assert [one.quantity for one in held] == list(CHECKED)
    assert max(abs(one.error) for one in held) < 0.05


def test_requests_are_sent_again_as_they_were(run: StoredRun) -> None:
    plan = plan_of(run)
    assert [len(one.prompt_token_ids) for one in plan.requests] == list(
        run.requests["input_tokens"]
    )
    assert [one.output_tokens for one in plan.requests] == list(run.requests["output_tokens"])
    assert [one.t_due_s for one in plan.requests] == list(run.requests["t_due_s"])
    firsts = {one.prompt_token_ids[0] for one in plan.requests}
    assert len(firsts) == len(plan.requests)


def test_a_closed_loop_and_samples_and_a_prefix_come_back() -> None:
    load = LoadConfig(workload="fixed", num_requests=6, samples=2, shared_prefix_tokens=32)
    plan = plan_of(stored("closed", 1, "trtllm", load))
    assert {one.t_due_s for one in plan.requests} == {None}
    assert plan.max_concurrency == 8
    assert {one.samples for one in plan.requests} == {2}
    assert len({tuple(one.prompt_token_ids[:32]) for one in plan.requests}) == 1
    assert len({one.prompt_token_ids[32] for one in plan.requests}) == 6


WORKLOAD = """
name: several
num_requests: 40
arrivals: {arrivals}
lengths:
  kind: sampled
  input: {{kind: uniform, min_tokens: 4, max_tokens: 90}}
  output: {{kind: fixed, tokens: 4}}
prompts:
  {{kind: {kind}, shared_prefix_tokens: 32, shared_prefix_count: 3, shared_prefix_ratio: 0.7}}
{sessions}
"""
SESSIONS = """sessions:
  turns: {kind: uniform, min_turns: 1, max_turns: 4}
  think_s: {kind: uniform, min_s: 0.1, max_s: 0.3}
"""


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that both begin with."""
    same = (a == b for a, b in zip(one, other, strict=False))
    return sum(1 for _ in takewhile(bool, same))


@pytest.mark.parametrize(
    "arrivals",
    ["{kind: poisson, rate_per_s: 2}", "{kind: closed_loop, max_concurrency: 4}"],
    ids=["rate", "closed loop"],
)
@pytest.mark.parametrize("sessions", ["", SESSIONS], ids=["alone", "sessions"])
@pytest.mark.parametrize("kind", ["random", "corpus"])
def test_prompts_share_what_they_shared(
    kind: str, sessions: str, arrivals: str, tmp_path: Path
) -> None:
    """Any two of them, held against the plan that was sent."""
    spec = tmp_path / "several.yaml"
    spec.write_text(WORKLOAD.format(kind=kind, sessions=sessions, arrivals=arrivals))
    engine = engine_config("vllm-v1", dtype="bfloat16")
    # Of seed 5, two random prompts of one prefix go on with the same token, by chance.
    settings = RunConfig("smollm2-135m", engine, LoadConfig(workload=str(spec)), 6)
    prepared = prepare_simulation(settings, Machine("cpu"))
    measured = simulate(prepared, Silent())
    run = StoredRun(Path("several"), measured.result, measured.requests, measured.steps)
    sent, twin = prepared.plan.requests, plan_of(run).requests
    assert [(one.after, one.think_s, one.samples) for one in twin] == [
        (one.after, one.think_s, one.samples) for one in sent
    ]
    assert [one.t_due_s for one in twin] == pytest.approx([one.t_due_s for one in sent])
    shared = 0
    for one, other in combinations(range(len(sent)), 2):
        common = _common(sent[one].prompt_token_ids, sent[other].prompt_token_ids)
        assert common == _common(twin[one].prompt_token_ids, twin[other].prompt_token_ids)
        shared += common > 0
    assert shared > 20
    assert unknown_of(run) == ()


def test_what_cannot_be_made_again_is_said(run: StoredRun) -> None:
    before = run.requests.assign(prefix_blocks=None)

    def said(prefix_cache: bool, **told: object) -> tuple[str, ...]:
        workload = run.result.workload
        workload = workload.model_copy(update={"description": {**workload.description, **told}})
        config = {**run.result.config, "prefix_cache": prefix_cache}
        result = run.result.model_copy(update={"workload": workload, "config": config})
        return unknown_of(replace(run, result=result, requests=before))

    texts = {"prompts": {"kind": "sharegpt", "path": "x.json"}}
    assert said(False, **texts) == ()
    (one,) = said(True, **texts)
    assert one.startswith("what its prompts (sharegpt) have in common is not stored")
    (one,) = said(True, lengths={"kind": "trace"})
    assert one.startswith("which prompts of its trace begin alike")
    (one,) = said(False, num_sessions=40)
    assert one.startswith("which of its requests are turns of one session")


TRACE = """
{"t_due_s": 0, "input_tokens": 100, "output_tokens": 4, "session": "a"}
{"t_due_s": 1, "input_tokens": 40, "output_tokens": 4}
{"t_due_s": null, "input_tokens": 150, "output_tokens": 4, "session": "a", "think_s": 0.5}
{"t_due_s": 3, "input_tokens": 170, "output_tokens": 4, "session": "a"}
"""


def test_what_a_trace_sent_comes_back_from_the_table(tmp_path: Path) -> None:
    """Who waited for whom, and which prompts began alike in whole blocks, though no seed says so.
    Known wrong here: each turn was sent when it had been due, and shared nothing."""
    trace = tmp_path / "sent.jsonl"
    trace.write_text(TRACE.lstrip())
    settings = RunConfig("smollm2-135m", engine_config("vllm-v1"), LoadConfig(trace=trace))
    prepared = prepare_simulation(settings, Machine("cpu"))
    measured = simulate(prepared, Silent())
    run = StoredRun(Path("traced"), measured.result, measured.requests, measured.steps)
    sent, twin = prepared.plan.requests, plan_of(run).requests
    assert [one.after for one in sent] == [None, None, 0, None]
    assert [(one.after, one.think_s) for one in twin] == [(one.after, one.think_s) for one in sent]
    for one, other in combinations(range(len(sent)), 2):
        common = _common(sent[one].prompt_token_ids, sent[other].prompt_token_ids)
        again = _common(twin[one].prompt_token_ids, twin[other].prompt_token_ids)
        assert again == common // 16 * 16
    assert unknown_of(run) == ()


@pytest.mark.parametrize("name", ["paged", "inflight", "orca", "vllm-v1"])
def test_an_engine_comes_back_from_its_result(name: str) -> None:
    settings = RunConfig("smollm2-135m", engine_config(name), replace(LOAD, num_requests=2))
    prepared = prepare_simulation(settings, Machine("h100"))
    config = simulate(prepared, Silent()).result.config
    assert asdict(engine_of({**config, "device": "auto"})) == asdict(prepared.engine)


def test_a_run_that_was_fitted_proves_nothing(run: StoredRun) -> None:
    with pytest.raises(ConfigError, match=r"check: 'seen' is not allowed; .*not fitted to"):
        hold_against(calibrate_runs([run]), run, Silent())


def test_a_run_is_known_by_what_it_is_and_not_by_its_directory(run: StoredRun) -> None:
    """Known wrong here: `new/run` was refused beside `old/run`, and a copy elsewhere was not."""
    made = calibrate_runs([run])
    assert made.settings["runs"] == ["seen"]
    unseen = replace(stored("unseen", 2), directory=Path("elsewhere") / run.directory.name)
    assert hold_against(made, unseen, Silent())
    with pytest.raises(ConfigError, match=r"check: 'copy' is not allowed; .*not fitted to"):
        hold_against(made, replace(run, directory=Path("copy")), Silent())


def test_a_run_whose_steps_nobody_saw_is_refused(run: StoredRun) -> None:
    """Known wrong of a server's: KeyError: 'block_size'."""
    unseen = replace(stored("unseen", 2), steps=run.steps[:0])
    with pytest.raises(ConfigError, match=r"check: 'unseen' is not allowed; .* are not seen"):
        hold_against(calibrate_runs([run]), unseen, Silent())
    with pytest.raises(ConfigError, match=r"run: 'unseen' is not allowed; .* are not seen"):
        calibrate_runs([unseen])


def test_only_what_was_measured_and_is_valid_proves_anything(run: StoredRun) -> None:
    calibration, unseen = calibrate_runs([run]), stored("unseen", 2)
    simulation = Simulation(hardware="h100", devices=1, cost_model="roofline", error="25 %")
    for change, said in (
        ({"simulation": simulation}, "a run that was measured; this was simulated"),
        ({"status": "partial"}, "a valid run; of this one: it was interrupted"),
    ):
        other = replace(unseen, result=unseen.result.model_copy(update=change))
        with pytest.raises(ConfigError, match=f"check: 'unseen' is not allowed; expected {said}"):
            hold_against(calibration, other, Silent())
