"""What a command prints of a run that is done."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from llmbench.harness.cells import runner
from llmbench.harness.cli import main
from llmbench.harness.errors import StoreError

WORKLOAD = """
name: four
num_requests: 4
arrivals: {kind: at_once}
lengths: {kind: sampled, input: {kind: fixed, tokens: 16}, output: {kind: fixed, tokens: 8}}
"""


def test_a_workload_whose_name_is_no_utf8_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a file from a system of Latin-1 has it: its name is in the result's command."""
    path, out = tmp_path / "caf\udce9.yaml", tmp_path / "out"
    path.write_text(WORKLOAD)
    words = ["simulate", "--workload", str(path), "--out", str(out), "--quiet", "--json"]
    monkeypatch.setattr(sys, "argv", ["llmbench", *words])

    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["config"]["command"].endswith("caf\udce9.yaml'")
    assert printed == json.loads((out / "result.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("as_json", [False, True])
def test_what_cannot_be_stored_is_printed(
    as_json: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Known wrong here: a disk that was full at the end of a run lost every number of it."""

    def full(directory: Path, *_: object) -> None:
        raise StoreError("out", directory, "cannot be written: No space left on device")

    monkeypatch.setattr(runner, "store_measured", full)
    words = ["simulate", "--num-requests", "3", "--out", str(tmp_path / "r")]
    with pytest.raises(SystemExit) as ended:
        main([*words, *(["--json"] if as_json else [])])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert ('"output_throughput"' if as_json else "3 of 3 requests served") in said.out
    assert "report.html" not in said.out
    assert "No space left on device" in said.err
