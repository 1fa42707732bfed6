"""`llmbench report` in this process; what reports say is tested in tests/reports."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from llmbench.harness.cli import main
from llmbench.harness.storage.store import write_run

from ..observed import serve_in_turn
from ..stored import stored_run


def report(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["report", *words])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_the_schema_is_that_of_a_stored_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = stored_run(*serve_in_turn(8))
    write_run(tmp_path / "run", stored.result, stored.requests, stored.steps, {})
    assert report("--schema") == 0
    schema = json.loads(capsys.readouterr().out)
    data = json.loads((tmp_path / "run" / "result.json").read_text())
    jsonschema.validate(data, schema, cls=jsonschema.Draft202012Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**data, "metrics": 3}, schema)


def test_reports_are_rebuilt_from_what_is_stored(tmp_path: Path) -> None:
    stored = stored_run(*serve_in_turn(8))
    write_run(tmp_path / "run", stored.result, stored.requests, stored.steps, {})
    assert not (tmp_path / "run" / "report.html").exists()
    assert report(str(tmp_path / "run")) == 0
    assert "</html>" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("given", "folders"),
    [
        (("runs/b", "other/a", "runs/a"), ["b", "other/a", "runs/a"]),
        (("one", "two"), ["one/repeat-1", "one/repeat-2", "two/repeat-1"]),
        (("one", "runs/a"), ["a", "one/repeat-1", "one/repeat-2"]),
    ],
    ids=["single", "repeated", "both"],
)
def test_figures_of_runs_of_one_name_lie_apart(
    given: tuple[str, ...],
    folders: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[Path] = []

    def save(_charts: object, folder: Path, _formats: object) -> list[Path]:
        drawn.append(folder)
        return []

    monkeypatch.setattr("llmbench.reports.plots.save_charts", save)
    stored = stored_run(*serve_in_turn(8), config={"seed": 0})
    for run in ("runs/b", "other/a", "runs/a", "one/repeat-1", "one/repeat-2", "two/repeat-1"):
        (tmp_path / run).parent.mkdir(exist_ok=True)
        write_run(tmp_path / run, stored.result, stored.requests, stored.steps, {})
    figures = tmp_path / "figures"
    assert report(*(str(tmp_path / one) for one in given), "--figures", str(figures)) == 0
    assert sorted(drawn) == [figures / one for one in folders]


def test_without_a_run_one_line_says_what_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert report() == 2
    assert "runs: '' is not allowed" in " ".join(capsys.readouterr().err.split())
