"""Reports of several runs do not go among what another command keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.harness.cli import main
from llmbench.harness.storage.beside_runs import check_reports_directory
from llmbench.harness.storage.store import StoreError, check_out, write_run

from ..observed import serve_in_turn
from ..stored import stored_run


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("result.json", "holds a run; expected another directory"),
        ("repeat-1/result.json", "holds the repeats of a run;"),
        ("cells/batching=mixed/result.json", "holds the cells of an ablation or a sweep;"),
        ("frontier.json", "holds a frontier;"),
    ],
)
def test_a_directory_that_a_command_goes_on_with_is_refused(
    tmp_path: Path, file: str, said: str
) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(StoreError, match=said):
        check_reports_directory(tmp_path)


def test_one_that_holds_reports_or_directories_of_runs_is_not(tmp_path: Path) -> None:
    check_reports_directory(tmp_path / "new")
    (tmp_path / "comparison.html").touch()
    (tmp_path / "paged").mkdir()
    (tmp_path / "paged" / "result.json").touch()
    check_reports_directory(tmp_path)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(StoreError, match="is a file; expected a directory"):
        check_reports_directory(tmp_path / "out")


@pytest.mark.parametrize(
    "words", [("compare", "RUN", "RUN"), ("history", "RUN"), ("claims", "kv-waste", "--simulated")]
)
def test_no_command_writes_its_reports_into_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """The run's own command would refuse to replace it afterwards."""
    run = stored_run(*serve_in_turn(2))
    there = write_run(tmp_path / "run", run.result, run.requests, run.steps, {})
    with pytest.raises(SystemExit) as left:
        main([str(there) if word == "RUN" else word for word in words] + ["--out", str(there)])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds a run; expected another directory for reports" in line
    check_out(there)
