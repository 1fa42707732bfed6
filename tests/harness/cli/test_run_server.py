"""`llmbench run --target openai`, as typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from llmbench.harness.cli import main
from llmbench.harness.cli.exits import Exit
from llmbench.harness.mock.rule import Rule
from llmbench.harness.mock.script import Chunk, Plain, Script
from llmbench.harness.mock.server import MockServer
from llmbench.harness.storage.store import load_run

from ..mock.in_thread import in_thread

WITHIN_S = 60.0
# What lies in a socket is read by then, however busy the machine is.
SEEN_WITHIN_S = 0.5


def run(arguments: Sequence[str]) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        main(["run", *arguments])
    return left.value.code


def wait_until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_a_server_is_measured_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with in_thread(MockServer(Rule(0.002, 0.001).script)) as url:
        asked = ["--target", "openai", "--base-url", url, "--num-requests", "20", "--json"]
        asked += ["--max-output-len", "8", "--slo", "ttft:10s", "--extra", "top_k=1"]
        code = run([*asked, "--out", str(out)])
    result = json.loads(capsys.readouterr().out)
    # A busy machine may make the client late, and then it says so.
    assert code == (Exit.OK if result["validity"]["valid"] else Exit.INVALID)
    assert result["target"]["base_url"] == url
    assert result["config"]["extra"] == {"top_k": 1}
    assert result["counters"]["requests_ok"] == 20
    assert {one.name for one in out.iterdir()} >= {"result.json", "report.html", "report.md"}
    with pytest.raises(SystemExit) as left:
        main(["explain", str(out)])
    assert left.value.code == Exit.USAGE
    assert "steps of a server" in capsys.readouterr().err


def test_a_gateway_that_lists_no_models_is_measured_where_all_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Gateway(MockServer):
        def answer(self, method: bytes, path: bytes) -> Plain:
            return Plain(404) if path == b"/v1/models" else super().answer(method, path)

    with in_thread(Gateway(Rule(0.002, 0.001).script)) as url:
        asked = ["--target", "openai", "--base-url", url, "--num-requests", "8", "--quiet"]
        asked += ["--model", "some/model", "--tokenizer", "bundled", "--max-output-len", "8"]
        assert run([*asked, "--out", str(tmp_path / "no")]) == Exit.USAGE
        assert "needs --model, --tokenizer and --server" in capsys.readouterr().err
        code = run([*asked, "--server", "openai", "--out", str(tmp_path / "run")])
    result = load_run(tmp_path / "run").result
    assert code == (Exit.OK if result.validity.valid else Exit.INVALID)
    assert result.counters.requests_ok == 8
    assert result.config["model"] == "some/model"


def test_a_model_that_ends_its_replies_is_measured_where_it_may(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with in_thread(MockServer(Rule(0.002, 0.001, ends_early=0.5).script)) as url:
        asked = ["--target", "openai", "--base-url", url, "--num-requests", "20"]
        asked += ["--output-lengths", "at-most", "--max-output-len", "8", "--quiet"]
        code = run([*asked, "--out", str(tmp_path / "run")])
    result = load_run(tmp_path / "run").result
    assert code == (Exit.OK if result.validity.valid else Exit.INVALID)
    assert result.target is not None
    assert 0 < result.target.ended_early < 20
    told = f"{result.target.ended_early} replies ended early"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "openai"], "base_url: missing; expected --base-url http://HOST:PORT"),
        (["--base-url", "http://h"], "base_url: 'http://h' is not allowed; expected --target open"),
        (
            ["--output-lengths", "at-most"],
            "output_lengths: 'at-most' is not allowed; expected --target openai beside it: in "
            "process every reply is as long as planned",
        ),
        (
            ["--target", "openai", "--base-url", "http://h", "--output-lengths", "natural"],
            "output_lengths: 'natural' is not allowed; expected one of at-most, exact",
        ),
        (["--processes", "2"], "processes: 2 is not allowed; expected --target openai"),
        (["--insecure"], "insecure: '--insecure' is not allowed; expected --target openai"),
        (
            ["--no-batch-steps"],
            "batch_steps: '--no-batch-steps' is not allowed; expected only with several methods",
        ),
        (["--extra", "a=1", "--extra", "b=2"], "extra: 'a=1 b=2' is not allowed"),
        (["--client-calibration", "c.json"], "client_calibration: 'c.json' is not allowed"),
        (["--endpoint", "chat"], "--target openai"),
        (["--target", "tritonn"], "target"),
        (["--target", "openai", "--base-url", "http://127.0.0.1:1"], "does not answer"),
        (["--target", "openai", "--base-url", "http://h", "--engine", "paged"], "engine"),
        (
            ["--target", "openai", "--base-url", "http://127.0.0.1:1", "--server", "foo"],
            "server: 'f",
        ),
        (["--target", "openai", "--base-url", "http://h", "--threads", "1"], "threads"),
        (["--target", "openai", "--base-url", "http://h", "--api-key-env", "NO_SUCH"], "NO_SUCH"),
        (["--target", "openai", "--base-url", "http://h", "--timeout", "x:1s"], "timeout"),
        (
            ["--target", "openai", "--base-url", "http://h", "--header", "api-key=NO_SUCH"],
            "header: 'NO_SUCH' is not allowed; expected an environment variable that is set",
        ),
        (["--header", "api-key=KEY"], "header: 'api-key=KEY' is not allowed; expected --target"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, "--out", str(tmp_path / "run"), "--quiet"]) == Exit.USAGE
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_keeps_what_was_measured(processes: int, tmp_path: Path) -> None:
    """Some requests are served, the others hang; then the user has enough."""

    def scripted(_body: object, name: str) -> Script:
        served = name in ("r0", "r1", "r2")
        return Script((Chunk(0.001, 2), Chunk(0.001 if served else 600.0, 2)))

    out = tmp_path / "run"
    server = MockServer(scripted)
    command = f"import sys; sys.argv[0] = 'llmbench'; {MAIN}"
    with in_thread(server) as url:
        arguments = ["run", "--target", "openai", "--base-url", url, "--out", str(out)]
        arguments += ["--workload", "fixed", "--max-output-len", "4", "--num-requests", "8"]
        arguments += ["--max-concurrency", "4", "--warmup-requests", "0"]
        process = subprocess.Popen(
            [sys.executable, "-c", command, *arguments, "--processes", str(processes)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        # Four slots and three that end: seven are sent, and each has had its first tokens.
        wait_until(lambda: len(server.log) >= 7 and all(one.tokens for one in server.log))
        time.sleep(SEEN_WITHIN_S)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=WITHIN_S)
    assert process.returncode == Exit.INTERRUPTED, said
    assert "partial" in said
    stored = load_run(out)
    assert stored.result.status == "partial"
    statuses = list(stored.requests["status"])
    assert statuses.count("ok") == 3
    assert statuses.count("unfinished") == 4
    assert stored.requests["output_tokens"].min() == 2


# A child that is spawned runs this module's __main__ again, and must not run the command again.
MAIN = "from llmbench.harness.cli import main; main() if __name__ == '__main__' else None"
