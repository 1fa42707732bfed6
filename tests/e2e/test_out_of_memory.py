"""A device without memory ends a run in one line that says what to lower; what was measured by then
is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from llmbench.engines import assemble
from llmbench.engines.executors.passes import EagerPass
from llmbench.harness.cli import main
from llmbench.harness.cli.exits import Exit

RUN = (
    "run", "--quiet", "--num-requests", "6", "--max-concurrency", "2", "--max-output-len", "4",
    "--max-input-len", "16", "--max-model-len", "64", "--warmup-requests", "0", "--device", "cpu",
    "--dtype", "float32", "--quality-tokens", "0",
)  # fmt: skip


def run(out: Path, *more: str) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        main([*RUN, "--out", str(out), *more])
    return left.value.code


@pytest.mark.parametrize("scheduling", ["--async-scheduling", "--no-async-scheduling"])
def test_in_a_step(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    scheduling: str,
) -> None:
    logits, passes = EagerPass.logits, []

    def run_out(one: EagerPass, *arguments):
        passes.append(None)
        if len(passes) == 9:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return logits(one, *arguments)

    monkeypatch.setattr(EagerPass, "logits", run_out)
    assert run(tmp_path / "out", scheduling) == Exit.OUT_OF_MEMORY
    said = " ".join(capsys.readouterr().err.split())
    assert "cpu has no memory left to compute a step; lower --kv-memory" in said
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["status"] == "partial"
    assert 0 < result["counters"]["requests_ok"] < 6
    assert result["counters"]["requests_unfinished"] > 0
    complete = next(check for check in result["validity"]["checks"] if check["id"] == "complete")
    assert "no memory left" in complete["detail"]


def test_while_weights_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_out(*_arguments, **_settings):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(assemble, "Llama", run_out)
    assert run(tmp_path / "out") == Exit.OUT_OF_MEMORY
    assert "no memory left for the weights; lower" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
