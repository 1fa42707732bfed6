"""`llmbench ablate` on the bundled model: a factorial, its reports, going on, bad input."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path

import pytest
import typer
from llmbench.harness.cli import main
from llmbench.harness.cli.app import app
from llmbench.harness.options.server import server_options

from .conftest import Run

SMALL = ("--num-requests", "5", "--max-output-len", "8", "--out", "ablation", "--threads", "1")


def test_a_factorial_leaves_runs_and_reports_and_goes_on(
    llmbench_here: Run, tmp_path: Path
) -> None:
    first = llmbench_here("ablate", "--axes", "batching,kv", *SMALL)
    assert first.returncode == 0, first.stderr
    assert "ablation/ablation.html" in first.stderr
    assert first.stderr.count("loading ") == 1, "weights stay while they are the same"
    assert "kv paged → contiguous" in first.stdout
    cells = tmp_path / "ablation" / "cells"
    names = {
        f"batching={batching},kv={kv}"
        for batching in ("separate", "mixed")
        for kv in ("paged", "contiguous")
    }
    assert {path.name for path in cells.iterdir()} == names
    for name in names:
        result = json.loads((cells / name / "result.json").read_text())
        # Weights are shared between cells; which attention ran is still each cell's own.
        assert f"{result['config']['kv']}_attention" in result["kernels"]
    page = (tmp_path / "ablation" / "ablation.html").read_text()
    assert "Main effects" in page

    times = {path: path.stat().st_mtime_ns for path in cells.rglob("result.json")}
    again = llmbench_here("ablate", "--axes", "batching,kv", *SMALL, "--json")
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    found = json.loads(again.stdout)
    assert {path: path.stat().st_mtime_ns for path in cells.rglob("result.json")} == times
    assert len(found["cells"]) == 4
    assert {len(effect["changes"]) for effect in found["effects"]} == {1, 2}
    # Five requests decide nothing, and the report says so.
    assert found["sentences"] == []
    assert any(note.endswith("effects with a ? decide nothing") for note in found["notes"])

    other = llmbench_here("ablate", "--axes", "batching,kv", *SMALL, "--seed", "1")
    assert other.returncode == 2
    assert "holds a run of other settings or requests" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--axes", "bathcing"), "did you mean 'batching'?"),
        (("--axes", "kv=paged:contigous"), "did you mean 'contiguous'?"),
        (("--axes", "kv", "--repeats", "0"), "repeats: 0 is not allowed"),
        (("--axes", "kv_memory=1KiB:24MiB"), "kv_memory_bytes=1024"),
        (("--axes", "max_model_len=64:256"), "sent the same requests"),
        ((), "Missing option '--axes'"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["ablate", *arguments])
    assert left.value.code == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_it_takes_every_option_of_run() -> None:
    """Declared once: an option of a run that `run` gains, `ablate` has."""
    commands = getattr(typer.main.get_command(app), "commands", {})
    options = {
        name: {option for one in commands[name].params for option in one.opts}
        for name in ("run", "ablate")
    }
    # What `run` measures of several methods beside their runs has no place in a factorial, nor a
    # reference: it has no distance to a model. Of a server there is nothing to vary.
    options["run"] -= {"--batch-steps", "--tasks", "--task-limit", "--quality-reference"}
    of_servers = signature(server_options).parameters
    options["run"] -= {f"--{name.replace('_', '-')}" for name in of_servers}
    assert options["run"] <= options["ablate"]
    assert options["ablate"] - options["run"] == {
        *("--axes", "--simulate", "--hardware", "--tensor-parallel"),
        *(
            "--calibration",
            "--free-memory-fraction",
            "--prefill-efficiency",
            "--decode-efficiency",
        ),
    }
    quality = next(one for one in commands["ablate"].params if one.name == "quality_tokens")
    assert quality.default == 0
