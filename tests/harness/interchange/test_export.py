"""A run by hand in other tools' formats: every number worked out here, from their definitions."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.cli import main
from llmbench.harness.comparison.quantities import QUANTITIES
from llmbench.harness.errors import InvalidRun
from llmbench.harness.interchange import FORMATS, export
from llmbench.harness.interchange.github_action import SHOWN
from llmbench.harness.rendering import run_reports
from llmbench.harness.result import Target, Window
from llmbench.harness.run.record import RequestRecord, RequestStatus
from llmbench.harness.storage.store import StoredRun, write_run

from ..stored import stored_run

DATA = Path(__file__).parent / "data"


def request(
    index: int,
    due_s: float,
    send_s: float,
    token_times_s: tuple[float, ...],
    status: RequestStatus = RequestStatus.OK,
    detail: str = "",
) -> RequestRecord:
    return RequestRecord(
        request_id=f"r{index}",
        index=index,
        status=status,
        t_due_s=due_s,
        t_send_s=send_s,
        t_scheduled_s=None,
        token_times_s=token_times_s,
        input_tokens=10 * (index + 1),
        output_token_ids=tuple(range(5, 5 + len(token_times_s))),
        detail=detail,
    )


# Sent 0.5 s late; one token; four tokens, two of them at once.
REQUESTS = (
    request(0, 0.0, 0.5, (1.0, 1.25, 1.5)),
    request(1, 1.0, 1.0, (1.75,)),
    request(2, 2.0, 2.0, (2.25, 2.75, 2.75, 4.0)),
)


def hand_run(requests: tuple[RequestRecord, ...] = REQUESTS, **more: Any) -> StoredRun:
    return stored_run(requests, (), **more)


def exported(form: str, run: StoredRun | None = None, **options: Any) -> Any:
    options = {"allow_invalid": True, **options}
    return json.loads(export(run or hand_run(), form, **options))


def test_vllms_keys_and_definitions() -> None:
    # Limits that only the reply of one token meets: to vLLM its TPOT is 0.
    slo = {"ttft": 1.0, "tpot": 0.2}
    data = exported("vllm", hand_run(slo=slo, config={"request_rate": 2.0, "seed": 1}))
    theirs = json.loads((DATA / "vllm-detailed.json").read_text())
    unlike = {"generated_texts", "max_output_tokens_per_s", "max_concurrent_requests", "rtfx"}
    assert set(theirs) - unlike <= set(data)
    assert data["date"] == "20260101-000000"
    assert (data["request_rate"], data["num_prompts"], data["completed"]) == (2.0, 3, 3)
    assert (data["duration"], data["total_input_tokens"], data["total_output_tokens"]) == (4, 60, 8)
    assert data["request_throughput"] == 3 / 4
    assert data["output_throughput"] == 2.0
    assert data["total_token_throughput"] == 17.0
    assert data["request_goodput"] == 1 / 4
    # From the send: 0.5, 0.75 and 0.25 s.
    assert data["ttfts"] == [0.5, 0.75, 0.25]
    assert data["mean_ttft_ms"] == pytest.approx(500)
    assert data["std_ttft_ms"] == pytest.approx(1e3 * (0.125 / 3) ** 0.5)
    # (1.5 - 1) / 2 and (4 - 2.25) / 3; one token has none.
    assert data["mean_tpot_ms"] == pytest.approx(1e3 * (0.25 + 1.75 / 3) / 2)
    assert data["itls"] == [[0.25, 0.25], [], [0.5, 0.0, 1.25]]
    assert data["median_itl_ms"] == pytest.approx(250)
    assert data["mean_e2el_ms"] == pytest.approx(1e3 * (1.0 + 0.75 + 2.0) / 3)
    assert data["start_times"] == [0.5, 1.0, 2.0]
    assert data["queue_times"] == [0.5, 0.0, 0.0]
    assert "generated_texts" not in data


@pytest.mark.parametrize(
    ("cap", "ttfts", "starts"),
    [(None, [1.0, 0.75, 0.25], [0.0, 1.0, 2.0]), (8, [0.5, 0.75, 0.25], [0.5, 1.0, 2.0])],
    ids=["uncapped", "capped"],
)
def test_in_process_a_request_is_sent_when_a_client_would_have_sent_it(
    cap: int | None, ttfts: list[float], starts: list[float]
) -> None:
    """The first was due at 0 and reached the engine 0.5 s later, after a step: to a client over
    HTTP its TTFT is 1 s. Under a cap it would have waited itself."""
    run = hand_run(config={"max_concurrency": cap})
    vllm, aiperf = exported("vllm", run), exported("aiperf", run)
    assert vllm["ttfts"] == ttfts
    assert vllm["start_times"] == starts
    assert vllm["mean_ttft_ms"] == pytest.approx(1e3 * sum(ttfts) / 3)
    assert aiperf["time_to_first_token"]["avg"] == pytest.approx(1e3 * sum(ttfts) / 3)
    assert aiperf["request_latency"]["max"] == 2000


def test_vllm_has_texts_where_somebody_can_read_them_and_inf_is_a_word() -> None:
    data = exported("vllm", text_of=lambda ids: " ".join(map(str, ids)))
    assert data["generated_texts"] == ["5 6 7", "5", "5 6 7 8"]
    assert data["request_rate"] == "inf"
    assert data["request_goodput"] is None


@pytest.mark.parametrize(
    ("config", "sent", "rate"),
    [
        ({"request_rate": 2.0}, {"request_rate_per_s": 2.0, "offered_rate_per_s": 1.9}, 2.0),
        ({}, {"request_rate_per_s": 4, "offered_rate_per_s": 3.9}, 4.0),
        ({}, {"request_rate_per_s": None, "offered_rate_per_s": 0.75}, 0.75),
        ({}, {"request_rate_per_s": None, "offered_rate_per_s": None}, "inf"),
    ],
    ids=["asked for", "of the workload", "a replayed trace", "closed loop"],
)
def test_a_rate_is_what_was_offered(
    config: dict[str, Any], sent: dict[str, Any], rate: float | str
) -> None:
    run = hand_run(config=config)
    workload = run.result.workload.model_copy(update={"description": sent})
    run = replace(run, result=run.result.model_copy(update={"workload": workload}))
    assert exported("vllm", run)["request_rate"] == rate
    (phase,) = exported("aiperf", run)["input_config"]["phases"]
    assert phase.get("rate", "inf") == rate


@pytest.mark.parametrize(
    ("arrivals", "burstiness"),
    [
        ({"kind": "poisson", "rate_per_s": 2}, 1.0),
        ({"kind": "gamma", "rate_per_s": 2, "cv": 2.0}, 0.25),
        ({"kind": "gamma", "rate_per_s": 2, "cv": 0.5}, 4.0),
        ({"kind": "constant", "rate_per_s": 2}, None),
        ({"kind": "closed_loop", "max_concurrency": 4}, None),
    ],
    ids=["poisson", "bursty", "smooth", "constant", "closed loop"],
)
def test_burstiness_is_the_shape_of_the_gaps(
    arrivals: dict[str, Any], burstiness: float | None
) -> None:
    """vLLM draws gaps from a gamma distribution of that shape, whose CV is 1 / sqrt(shape)."""
    run = hand_run()
    workload = run.result.workload.model_copy(update={"description": {"arrivals": arrivals}})
    run = replace(run, result=run.result.model_copy(update={"workload": workload}))
    assert exported("vllm", run)["burstiness"] == burstiness


def test_a_failed_request_is_counted_and_named_and_not_measured() -> None:
    failed = request(3, 3.0, 3.0, (3.5,), RequestStatus.FAILED, "reset by peer")
    run = hand_run((*REQUESTS, failed))
    with pytest.raises(InvalidRun, match=r"not exported: .* reset by peer"):
        export(run, "vllm")
    data = exported("vllm", run)
    assert (data["completed"], data["failed"]) == (3, 1)
    assert data["errors"] == ["", "", "", "reset by peer"]
    assert data["ttfts"] == [0.5, 0.75, 0.25, 0.0]
    assert data["mean_ttft_ms"] == pytest.approx(500)
    blocks = exported("aiperf", run)
    assert blocks["request_count"]["avg"] == 3
    assert blocks["error_request_count"]["avg"] == 1
    (error,) = blocks["error_summary"]
    assert (error["error_details"]["message"], error["count"]) == ("reset by peer", 1)


def test_aiperfs_blocks_and_definitions() -> None:
    data = exported("aiperf")
    theirs = json.loads((DATA / "aiperf-profile_export_aiperf.json").read_text())
    assert data["schema_version"] == theirs["schema_version"]
    for name in ("time_to_first_token", "inter_token_latency", "request_latency"):
        assert set(data[name]) == set(theirs[name])
        assert data[name]["unit"] == theirs[name]["unit"] == "ms"
    ttft = data["time_to_first_token"]
    assert (ttft["avg"], ttft["min"], ttft["p50"], ttft["max"]) == (500, 250, 500, 750)
    assert ttft["p75"] == pytest.approx(625)
    assert (ttft["count"], ttft["sum"]) == (3, 1500)
    # Its inter token latency is a reply's mean, of replies with two tokens or more.
    assert data["inter_token_latency"]["count"] == 2
    assert data["inter_token_latency"]["max"] == pytest.approx(1750 / 3)
    assert data["inter_chunk_latency"]["count"] == 5
    assert data["time_to_second_token"]["avg"] == pytest.approx(1e3 * (0.25 + 0.5) / 2)
    # From the first send at 0.5 s to the last token at 4 s.
    assert data["benchmark_duration"] == {"unit": "sec", "avg": 3.5}
    assert data["output_token_throughput"]["avg"] == pytest.approx(8 / 3.5)
    per_user = data["output_token_throughput_per_user"]
    assert per_user["avg"] == pytest.approx((4 + 3 / 1.75) / 2)
    assert data["total_isl"]["avg"] == 60


def test_a_run_of_one_token_replies_has_no_blocks_of_what_it_has_not() -> None:
    data = exported("aiperf", hand_run((REQUESTS[1],)))
    assert "inter_token_latency" not in data
    assert "inter_chunk_latency" not in data
    assert data["time_to_first_token"]["std"] == 0


def test_github_action_has_a_file_for_each_direction() -> None:
    smaller, bigger = exported("github-action"), exported("github-action-bigger")
    by_name = {one["name"]: one for one in smaller}
    ttft = by_name["paged: ttft.mean"]
    # From when it was due: 1, 0.75 and 0.25 s.
    assert (ttft["value"], ttft["unit"]) == (pytest.approx(2 / 3), "s")
    assert ttft["range"].startswith("std ")
    assert by_name["paged: counters.preemptions"]["value"] == 0
    assert {"paged: output_throughput.window"} <= {one["name"] for one in bigger}
    assert not set(by_name) & {one["name"] for one in bigger}
    assert all(set(one) <= {"name", "unit", "value", "range", "extra"} for one in smaller + bigger)


def test_github_action_is_told_of_a_rate_that_has_no_steady_window() -> None:
    """Known wrong here: one that ramp and drain lower stood beside steady ones, alike."""
    run = hand_run()
    steady = replace(
        run,
        result=run.result.model_copy(
            update={"window": Window(start_s=1.0, end_s=2.0, method="MSER-5", steady=True)}
        ),
    )
    assert not run.result.window.steady
    said = ", over the whole run, since fewer than 10 requests ended"
    for form, some in (("github-action", set()), ("github-action-bigger", {"window"})):
        of_whole = {one["name"] for one in exported(form, run) if said in one["extra"]}
        assert {name.rpartition(".")[2] for name in of_whole} == some
        assert all("whole run" not in one["extra"] for one in exported(form, steady))
    assert len(of_whole) > 2


def test_csv_has_a_row_a_number_and_no_formulas() -> None:
    run = hand_run(config={"model": "=HYPERLINK(1)"}, label='two, "words"')
    rows = list(csv.DictReader(io.StringIO(export(run, "csv", allow_invalid=True))))
    ttft = next(row for row in rows if (row["metric"], row["stat"]) == ("ttft", "mean"))
    assert float(ttft["value"]) == pytest.approx(2 / 3)
    assert (ttft["unit"], ttft["better"], ttft["label"]) == ("s", "lower", 'two, "words"')
    assert ttft["model"] == "'=HYPERLINK(1)"


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_through_the_command(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = hand_run()
    directory = write_run(tmp_path / "run", run.result, run.requests, run.steps, {})
    out = tmp_path / "deep" / "file"
    with pytest.raises(SystemExit) as ended:
        main(["export", str(directory), "--format", form, "--allow-invalid"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["export", str(directory), "--format", form, "--allow-invalid", "--out", str(out)])
    assert ended.value.code == 0
    assert out.read_text() == printed


def exported_to(out: Path, form: str, directory: Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["export", str(directory), "--format", form, "--allow-invalid", "--out", str(out)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("form", FORMATS)
def test_a_name_that_says_gzip_is_of_a_file_that_is(form: str, tmp_path: Path) -> None:
    """Known wrong here: a trace was compressed, and everything else plain text."""
    run = hand_run()
    directory = write_run(tmp_path / "run", run.result, run.requests, run.steps, {})
    for name in ("file", "file.gz"):
        assert exported_to(tmp_path / name, form, directory) == 0
    assert gzip.decompress((tmp_path / "file.gz").read_bytes()) == (tmp_path / "file").read_bytes()


@pytest.mark.parametrize("form", ["csv", "perfetto"])
@pytest.mark.parametrize("name", ["result.json", "steps.parquet", "report.html"])
def test_a_run_is_not_replaced_by_its_own_export(
    form: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = hand_run()
    reports = {"report.html": "<p>"}
    directory = write_run(tmp_path / "run", run.result, run.requests, run.steps, reports)
    before = (directory / name).read_bytes()
    assert exported_to(directory / name, form, directory) == 2
    assert "expected another file than those of the run" in capsys.readouterr().err
    assert (directory / name).read_bytes() == before


def test_a_format_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"format: 'vlm' is not allowed.*did you mean 'vllm'"):
        export(hand_run(), "vlm")


def test_several_replies_to_a_prompt_are_no_failures() -> None:
    second = replace(REQUESTS[0], request_id="r0#1", sample=1)
    run = hand_run((*REQUESTS, second))
    workload = run.result.workload.model_copy(update={"num_requests": 3})
    run = replace(run, result=run.result.model_copy(update={"workload": workload}))
    data = exported("vllm", run)
    assert (data["num_prompts"], data["completed"], data["failed"]) == (4, 4, 0)
    # The prompt was sent once, and our own throughput counts it once.
    assert data["total_input_tokens"] == 60
    assert data["input_lens"] == [10, 20, 30, 0]
    assert data["total_token_throughput"] == run.result.metrics["total_throughput"].stats["run"]
    blocks = exported("aiperf", run)
    assert blocks["total_isl"]["avg"] == 60
    assert blocks["input_sequence_length"]["count"] == 3
    assert blocks["input_config"]["phases"][0]["requests"] == 4
    report = run_reports("sampled", run.result, run.requests, run.steps)["report.md"]
    assert "served 4 of 4 requests" in report
    assert "of 3" not in report


def served(endpoint: Literal["completions", "chat"], **config: Any) -> StoredRun:
    """The same run, of a server."""
    run = hand_run(config=config)
    target = Target(
        server="vllm",
        owner="",
        base_url="http://box:80",
        endpoint=endpoint,
        prompt_as="text",
        counted={},
        errors={},
    )
    return replace(run, result=run.result.model_copy(update={"target": target}))


def test_a_served_models_tokenizer_is_the_one_that_was_used() -> None:
    assert exported("vllm", served("chat", tokenizer="mine"))["tokenizer_id"] == "mine"
    assert exported("vllm", served("chat"))["tokenizer_id"] == "bundled"


@pytest.mark.parametrize(
    ("said", "name"), [(None, "bundled"), ("the model's", "bundled"), ("bytes, a stand-in", None)]
)
def test_what_a_run_in_process_says_of_its_tokenizer_is_no_name(
    said: str | None, name: str | None
) -> None:
    assert exported("vllm", hand_run(config={"tokenizer": said}))["tokenizer_id"] == name


def test_the_backend_is_vllms_name_of_the_endpoint() -> None:
    chat, completions = exported("vllm", served("chat")), exported("vllm", served("completions"))
    assert chat["backend"] == chat["endpoint_type"] == "openai-chat"
    assert completions["backend"] == completions["endpoint_type"] == "openai"
    assert exported("vllm")["backend"] == "llmbench-paged"


@pytest.mark.parametrize(
    ("config", "sent"),
    [
        (
            {"request_rate": None, "session_rate": 0.5},
            {"request_rate_per_s": None, "session_rate_per_s": 0.5},
        ),
        ({"request_rate": 0.5}, {"request_rate_per_s": 0.5, "offered_rate_per_s": 0.49}),
    ],
    ids=["now", "stored before they were told apart"],
)
def test_a_rate_of_sessions_is_not_exported_as_one_of_requests(
    config: dict[str, Any], sent: dict[str, Any]
) -> None:
    """Known wrong here: request_rate 0.5 beside a request_throughput of 2."""
    run = hand_run(config=config)
    description = {**sent, "num_requests": 200, "num_sessions": 40}
    workload = run.result.workload.model_copy(update={"description": description})
    run = replace(run, result=run.result.model_copy(update={"workload": workload}))
    assert exported("vllm", run)["request_rate"] is None
    (phase,) = exported("aiperf", run)["input_config"]["phases"]
    assert "rate" not in phase


def test_all_that_is_shown_to_github_action_has_a_better_direction() -> None:
    """Each of its files has one; what has none stands in neither."""
    assert [name for name in SHOWN if QUANTITIES[name].better == "none"] == []
