"""`llmbench report` in this process; what reports say is tested in tests/reports."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from llmbench.harness.ab.compare import Length, compare
from llmbench.harness.ab.questions import questions_of
from llmbench.harness.ab.stored import as_json
from llmbench.harness.cli import main
from llmbench.harness.storage.json_text import json_text
from llmbench.harness.storage.store import write_run

from ..ab.fakes import ASKED, FakeSide
from ..observed import serve_in_turn
from ..stored import stored_run


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that figures are drawn in; none is."""
    folders: list[Path] = []

    def save(_charts: object, folder: Path, _formats: object) -> list[Path]:
        folders.append(folder)
        return []

    monkeypatch.setattr("llmbench.reports.plots.save_charts", save)
    return folders


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
    drawn: list[Path],
) -> None:
    stored = stored_run(*serve_in_turn(8), config={"seed": 0})
    for run in ("runs/b", "other/a", "runs/a", "one/repeat-1", "one/repeat-2", "two/repeat-1"):
        (tmp_path / run).parent.mkdir(exist_ok=True)
        write_run(tmp_path / run, stored.result, stored.requests, stored.steps, {})
    figures = tmp_path / "figures"
    assert report(*(str(tmp_path / one) for one in given), "--figures", str(figures)) == 0
    assert sorted(drawn) == [figures / one for one in folders]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ab.json", "{}", "is no comparison; expected what 'llmbench ab --out' writes"),
        ("ab.json", '{"kind": "ab", "schema_version": 1}', "has schema_version 1; this version"),
        ("ab.json", "text", "is not JSON"),
        ("ab.html", "{}", "is not allowed; expected a name that does not end as that of its page"),
        ("missing.json", None, "does not exist"),
    ],
)
def test_a_file_that_is_no_comparison_is_refused_and_nothing_written(
    name: str, content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = stored_run(*serve_in_turn(8))
    write_run(tmp_path / "run", stored.result, stored.requests, stored.steps, {})
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    assert report(str(tmp_path / "run"), str(path)) == 2
    error = capsys.readouterr().err
    assert said in " ".join(error.split())
    assert "Traceback" not in error
    assert not (tmp_path / "run" / "report.html").exists()
    assert content is None or path.read_text() == content


def test_the_figures_of_a_run_and_of_turns_lie_apart(tmp_path: Path, drawn: list[Path]) -> None:
    stored = stored_run(*serve_in_turn(8))
    write_run(tmp_path / "same", stored.result, stored.requests, stored.steps, {})
    a, b = (FakeSide(lambda seed: 0.01 + 1e-6 * (seed % 7)) for _ in "ab")
    outcome = compare(a, b, questions_of(["tpot.mean=5%"]), Length(num_requests=10))
    turns = tmp_path / "turns" / "same.json"
    turns.parent.mkdir()
    turns.write_text(json_text(as_json(outcome, ASKED)))
    figures = tmp_path / "figures"
    assert report(str(tmp_path / "same"), str(turns), "--figures", str(figures)) == 0
    assert (tmp_path / "turns" / "same.html").exists()
    assert len(drawn) == len(set(drawn)) == 2
    assert all(figures in one.parents for one in drawn)


def test_without_a_run_one_line_says_what_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert report() == 2
    assert "runs: '' is not allowed" in " ".join(capsys.readouterr().err.split())
