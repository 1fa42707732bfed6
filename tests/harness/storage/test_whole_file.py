"""A file of results is there whole or not at all, and nothing is left beside it."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path

import pytest
from llmbench.harness.errors import StoreError
from llmbench.harness.storage.whole_file import check_writable, whole_file, write_whole, writing

ROOT = Path(__file__).resolve().parents[3]
# What appends a line at a time, or is nobody's result: logs, locks, a switch of the kernel.
WRITES_ITSELF = {
    "harness/machine/memory.py",
    "harness/peers/install.py",
    "harness/sweep/cells.py",
}


def test_what_keeps_a_file_from_being_written_is_one_line(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        with writing("out", path):
            write_whole(path, "text")

    below_a_file = tmp_path / "file" / "result.json"
    write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "text"
    with pytest.raises(StoreError) as raised:
        write(below_a_file)
    file = f"{str(tmp_path / 'file')!r} is a file, and no directory"
    assert str(raised.value) == f"out: {str(below_a_file)!r} cannot be written: {file}"
    # Nor is there a file in the way of the directory that would be made.
    with pytest.raises(StoreError) as raised, writing("out", below_a_file):
        below_a_file.parent.mkdir(parents=True, exist_ok=True)
    assert file in str(raised.value)


def test_what_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    kept = tmp_path / "result.json"
    kept.write_text("kept", encoding="utf-8")
    for path in (kept, tmp_path / "new.json", tmp_path / "new" / "below" / "it.json"):
        check_writable("out", path)
    check_writable("out", Path("/dev/null"))
    for path, problem in ((kept / "below.json", ".* is a file.*"), (tmp_path, "Is a directory")):
        with pytest.raises(StoreError, match=f"^out: .* cannot be written: {problem}$"):
            check_writable("out", path)
    assert os.listdir(tmp_path) == ["result.json"]
    assert kept.read_text(encoding="utf-8") == "kept"


def test_what_was_there_stays_until_all_of_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_whole(path, "before")

    def cut_off(by: BaseException) -> None:
        with whole_file(path) as draft:
            draft.write_text("half")
            raise by

    for error in (OSError("no space left"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            cut_off(error)
        assert path.read_text() == "before"
    write_whole(path, "after µ")
    assert path.read_text(encoding="utf-8") == "after µ"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_draft_has_the_ending_of_its_file(tmp_path: Path) -> None:
    with whole_file(tmp_path / ("x" * 240 + ".svg")) as draft:
        assert draft.suffix == ".svg"
        draft.write_text("<svg/>")


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "elsewhere" / "there.json")
    write_whole(tmp_path / "link.json", "{}")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "elsewhere" / "there.json").read_text() == "{}"


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    write_whole(Path("/dev/null"), "text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, "text")


def test_every_writer_writes_whole_files() -> None:
    found = set()
    for room in ("harness", "workloads"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Attribute(attr="write_text" | "write_bytes")):
                        found.add(str(path.relative_to(ROOT)))
    assert found == WRITES_ITSELF
