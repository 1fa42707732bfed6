"""`llmbench serve` as a user runs it: a line when it listens, the tokens, a clean end."""

from __future__ import annotations

import json
import math
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from llmbench.engines import LLM, SamplingParams
from llmbench.engines.errors import ConfigError
from llmbench.harness.cli import main
from llmbench.harness.serve.server import ServeConfig

COMMAND = [sys.executable, "-c", "from llmbench.harness.cli import main; main()", "serve"]


def test_the_command_serves_what_the_engine_says_and_ends_on_sigterm(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    command = [
        *COMMAND,
        "--port",
        "0",
        "--quiet",
        "--request-log",
        str(log),
        "--kv-memory",
        "16MiB",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        address, _, said = line.partition("  ")
        assert said.startswith("model bundled, engine paged, KV 16 MiB (")
        asked = {"prompt": "The king", "max_tokens": 12, "temperature": 0, "return_token_ids": True}
        request = urllib.request.Request(f"{address}/v1/completions", json.dumps(asked).encode())
        with urllib.request.urlopen(request, timeout=60) as response:
            reply = json.load(response)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    (output,) = LLM("bundled").generate(["The king"], SamplingParams(max_tokens=12))
    (choice,) = reply["choices"]
    assert tuple(choice["token_ids"]) == output.token_ids
    assert choice["text"] == output.text
    (logged,) = map(json.loads, log.read_text().splitlines())
    assert (logged["input_tokens"], logged["output_tokens"]) == (
        len(output.prompt_token_ids),
        len(output.token_ids),
    )
    assert logged["t_arrival_s"] <= logged["t_scheduled_s"] <= logged["t_first_s"]


def test_a_port_that_is_taken_is_one_line_before_any_weight_is_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main(["serve", "--model", "no-such-model", "--port", str(port)])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert f"port: {port} is not allowed; expected a port that is free" in " ".join(message.split())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("port", 65536),
        ("max_waiting", 0),
        ("max_waiting", -1),
        ("grace_s", -1.0),
        ("grace_s", math.inf),
        ("grace_s", math.nan),
    ],
)
def test_settings_that_cannot_work(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=setting.removesuffix("_s")):
        ServeConfig(**{setting: value})  # pyright: ignore[reportArgumentType]


def test_a_package_that_is_missing_is_said_to_be_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: "'uvicorn' is not allowed; expected installed packages"."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "llmbench.harness.serve.server", raising=False)
    with pytest.raises(SystemExit) as left:
        main(["serve"])
    assert left.value.code == 2
    assert capsys.readouterr().err == (
        "error: serve: 'uvicorn' is not installed: pip install 'llmbench[serve]'\n"
    )
