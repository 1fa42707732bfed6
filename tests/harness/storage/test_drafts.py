"""What a writer that was killed leaves is removed by the next one; a live writer's is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from llmbench.harness.ablation.run import check_directory
from llmbench.harness.storage import drafts
from llmbench.harness.storage.drafts import draft, is_draft, remove_abandoned
from llmbench.harness.storage.store import StoreError, check_out, load_run, write_run
from llmbench.harness.storage.whole_file import write_whole

from ..observed import serve_in_turn
from ..stored import stored_run

# Writes half of a directory and half of a file, and is killed, with no time for anything.
KILLED = """
import os, signal, sys
from pathlib import Path
from llmbench.harness.storage.drafts import draft
out = Path(sys.argv[1])
with draft(out / "run", is_directory=True) as run, draft(out / "told.json", is_directory=False) as told:
    (run / "result.json").write_text("{")
    told.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""  # noqa: E501


def write_a_run(directory: Path) -> None:
    stored = stored_run(*serve_in_turn(3))
    write_run(directory, stored.result, stored.requests, stored.steps, {})


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    left = sorted(os.listdir(tmp_path))
    assert [is_draft(*one) for one in zip(left, (Path("run"), Path("told.json")), strict=True)] == [
        True,
        True,
    ]
    write_a_run(tmp_path / "other")
    assert sorted(os.listdir(tmp_path)) == [*left, "other"]
    write_a_run(tmp_path / "run")
    write_whole(tmp_path / "told.json", "{}")
    assert sorted(os.listdir(tmp_path)) == ["other", "run", "told.json"]


def test_what_is_being_written_is_left_alone(tmp_path: Path) -> None:
    with draft(tmp_path / "run", is_directory=True) as run:
        write_a_run(tmp_path / "run")
        assert run.is_dir()
    with draft(tmp_path / "told.json", is_directory=False) as told:
        write_whole(tmp_path / "told.json", "{}")
        assert told.is_file()
    assert sorted(os.listdir(tmp_path)) == ["run", "told.json"]
    assert load_run(tmp_path / "run").result.counters.requests_ok == 3


def test_only_drafts_of_that_place_are_removed(tmp_path: Path) -> None:
    kept = [
        ".run",
        ".run.notes",
        ".run.0123abcd.old",
        ".runs.0123abcd",
        "run.0123abcd",
        ".run.0123ABCD",
    ]
    for name in (*kept, ".run.0123abcd"):
        (tmp_path / name).mkdir()
    (tmp_path / ".run.aaaaaaaa").symlink_to(tmp_path / ".run")
    remove_abandoned(tmp_path / "run")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, ".run.aaaaaaaa"])


def test_a_draft_that_is_removed_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, met = drafts._lock, []

    def cleaned_first(descriptor: int, *, or_none: bool = False) -> bool:
        if not met:
            met.extend(os.listdir(tmp_path))
            (tmp_path / met[0]).rmdir()
        return lock(descriptor, or_none=or_none)

    monkeypatch.setattr(drafts, "_lock", cleaned_first)
    with draft(tmp_path / "run", is_directory=True) as run:
        assert run.is_dir()
        assert run.name not in met


def test_a_half_written_report_is_no_other_persons_file(tmp_path: Path) -> None:
    write_a_run(tmp_path / "run")
    (tmp_path / "run" / ".report.0123abcd.html").write_text("<p>ha")
    check_out(tmp_path / "run")
    (tmp_path / "run" / ".thesis.0123abcd.tex").write_text("mine")
    with pytest.raises(StoreError, match="thesis"):
        check_out(tmp_path / "run")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".ablation.0123abcd.json").write_text("{")
    check_directory(tmp_path / "a", None)


def test_a_draft_that_was_removed_before_it_is_held_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer's `remove_abandoned` comes between the making and the opening."""
    opened = os.open
    removed: list[Path] = []

    def open_late(path: Path, *rest: int) -> int:
        if not removed:
            removed.append(path)
            path.rmdir()
        return opened(path, *rest)

    monkeypatch.setattr(drafts.os, "open", open_late)
    with draft(tmp_path / "run", is_directory=True) as made:
        assert made.is_dir()
        assert made not in removed
