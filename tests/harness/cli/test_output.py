"""What a command prints of a run that is done."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from llmbench.harness.cli import main

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
