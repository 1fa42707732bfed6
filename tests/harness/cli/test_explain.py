"""`llmbench explain` on a stored run, in this process."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from llmbench.harness.attribution.explain import SlowestParts
from llmbench.harness.cli import main
from llmbench.harness.cli.console import TerminalConsole
from llmbench.harness.cli.parts_tables import print_slowest
from llmbench.harness.result import Parts, SlowRequest, SlowToken
from llmbench.harness.run.record import RequestStatus
from llmbench.harness.storage.store import load_run, write_run

from ..attribution.schedule import request, step
from ..stored import stored_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """a decodes every 10 ms; b's prompt takes 25 ms between its tokens 4 and 5. c was refused."""
    steps = [step(0, ("a", "prefill", 0, 4), linear=9)]
    steps += [step(10 * at, ("a", "decode", 3 + at, 1), linear=9) for at in range(1, 5)]
    steps.append(step(50, ("b", "prefill", 0, 9), linear=24))
    steps += [step(75 + 10 * at, ("a", "decode", 8 + at, 1), linear=9) for at in range(3)]
    records = [
        request("a", 0, 10, 20, 30, 40, 50, 85, 95, 105),
        request("b", 40, 75),
        request("c", 0, status=RequestStatus.REFUSED),
    ]
    stored = stored_run(records, steps)
    return write_run(tmp_path / "run", stored.result, stored.requests, stored.steps, {})


def explain(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["explain", *words])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(str(run)) == 0
    lines = capsys.readouterr().out.splitlines()
    slow = next(line for line in lines if line.startswith("itl slow "))
    # Count, measured, queue, own prefill, others' prefill, decode, preemption, host, residual.
    count, measured, unit, *parts = slow.split()[2:]
    assert int(count) == 1
    assert (float(measured), unit) == (35, "ms")
    assert [float(part) for part in parts] == [0, 0, 25, 10, 0, 0, 0]


def test_a_request(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(str(run), "--request", "b", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    # Due at 40, first computed at 50, done at 75.
    assert found["ttft"]["queue_s"] == pytest.approx(0.010)
    assert found["ttft"]["own_prefill_s"] == pytest.approx(0.025)
    assert found["tpot"] is None
    assert found["slow_tokens"] == []

    assert explain(str(run), "--request", "a") == 0
    shown = capsys.readouterr().out
    assert re.search(r"^token 5 +0\.0850 s ", shown, re.MULTILINE)
    assert re.search(r"1 of its tokens came later than 20(\.0)? ms", shown)


def test_the_slowest(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(str(run), "--slowest", "1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["request_id"] for one in found["slowest_requests"]] == ["b"]
    assert [(one["request_id"], one["token"]) for one in found["slowest_tokens"]] == [("a", 5)]
    assert explain(str(run), "--slowest", "5") == 0
    assert "a token 5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--request", "z"), "request: 'z' is not allowed; expected one of a, b, c"),
        (("--request", "c"), "request: 'c' is not allowed; expected one that was served"),
        (("--slowest", "0"), "slowest: '0'"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    run: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], problem: str
) -> None:
    assert explain(str(run), *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line


@pytest.mark.parametrize("words", [(), ("--slowest", "5"), ("--request", "a")], ids=str)
def test_a_run_whose_steps_nobody_saw_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Known wrong of another library's: the request's whole latency was called host."""
    stored = load_run(run)
    write_run(run, stored.result, stored.requests, stored.steps[:0], {})
    assert explain(str(run), *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the steps of a server or a library are not seen" in line


def test_a_run_from_before_preemptions_were_named_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pandas as pd

    table = run / "steps.parquet"
    pd.read_parquet(table).drop(columns="preempted_ids").to_parquet(table)
    assert explain(str(run)) == 2
    assert "lacks the columns preempted_ids" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("--slowest", "5"), ("--request", "a")], ids=str)
def test_eighty_columns_break_no_name(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    console = "llmbench.harness.cli.parts_tables.TerminalConsole"
    monkeypatch.setattr(console, lambda: TerminalConsole(width=80))
    assert explain(str(run), *words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    first = {
        (): ("itl slowest 1 %", "ttft slowest 1 %"),
        ("--slowest", "5"): ("a token 5",),
        ("--request", "a"): ("tpot mean",),
    }
    for name in first[words]:
        assert any(line.startswith(f"{name} ") for line in lines), name
    # What was left out for want of room is named.
    (left_out,) = {line.rstrip() for line in lines if line.startswith("0 in every row: ")}
    assert "residual" in left_out


def test_a_part_that_is_somewhere_has_its_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    console = "llmbench.harness.cli.parts_tables.TerminalConsole"
    monkeypatch.setattr(console, lambda: TerminalConsole(width=80))
    names = ("queue_s", "own_prefill_s", "others_prefill_s", "decode_s", "preemption_s", "host_s")
    every = dict.fromkeys((*names, "residual_s"), 0.0123)
    parts = Parts(**every)
    slow = SlowToken(request_id="r" * 30, token=1234, time_s=12.3, parts=parts)
    request = SlowRequest(request_id="r1", t_due_s=0.0, parts=parts)
    print_slowest(SlowestParts(slowest_requests=(request,), slowest_tokens=(slow,)))
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    # Only the name gives way, and not a number.
    assert [line.count("12.3") for line in lines if "86.1 ms" in line] == [7, 8]
    assert "0 in every row" not in printed
