"""The options of a load: what is sent is said once."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.cli import main
from llmbench.harness.options.words import run_settings

WORKLOAD = "--workload=quick"  # as it is by default


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "t.jsonl"
    path.write_text('{"t_due_s": 0, "input_tokens": 3, "output_tokens": 4}\n' * 30)
    return f"--trace={path}"


def test_either_is_taken_alone(trace: str) -> None:
    assert run_settings([WORKLOAD], "base").load.workload == "quick"
    assert run_settings([trace], "base").load.trace == Path(trace.partition("=")[2])


@pytest.mark.parametrize("trace_first", [False, True])
def test_a_workload_beside_a_trace_is_refused_in_either_order(
    trace: str, *, trace_first: bool
) -> None:
    words = [trace, WORKLOAD] if trace_first else [WORKLOAD, trace]
    with pytest.raises(ConfigError, match=r"^workload: 'quick' .* expected unset: --trace says"):
        run_settings(words, "base")


@pytest.mark.parametrize(
    "command",
    [
        ("run",),
        ("simulate",),
        ("capacity", "--slo=ttft:1s"),
        ("ablate", "--axes=kv", "--simulate"),
        ("sweep", "--out=out", "--", "run"),
        ("sweep", "--out=out", "--saturate", "--", "simulate"),
        ("sweep", "--out=out", "--vary=workload=quick,fixed", "--", "simulate"),
    ],
)
def test_no_command_passes_over_a_workload_beside_a_trace(
    trace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    """Known wrong here: the trace alone was sent, and a sweep of workloads was of one trace."""
    monkeypatch.chdir(tmp_path)
    is_varied = any("workload" in word for word in command)
    with pytest.raises(SystemExit) as left:
        main([*command, trace, *(() if is_varied else (WORKLOAD,))])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "workload: 'quick' is not allowed; expected unset: --trace says what is sent" in line
    assert [one.name for one in tmp_path.iterdir()] == ["t.jsonl"]
