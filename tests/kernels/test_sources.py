"""What names code."""

from __future__ import annotations

from pathlib import Path

from llmbench.kernels.sources import sources_digest


def digest_of(folder: Path) -> str:
    sources_digest.cache_clear()
    return sources_digest(folder)


def test_a_digest_changes_with_texts_and_names_of_python_files_alone(tmp_path: Path) -> None:
    one, other = tmp_path / "one.py", tmp_path / "below" / "other.py"
    other.parent.mkdir()
    one.write_text("x = 1")
    other.write_text("y = 2")
    first = digest_of(tmp_path)
    assert digest_of(tmp_path) == first
    (tmp_path / "notes.txt").write_text("not code")
    assert digest_of(tmp_path) == first
    other.write_text("y = 3")
    second = digest_of(tmp_path)
    other.rename(other.with_name("third.py"))
    third = digest_of(tmp_path)
    one.write_text("x = 1y = 3")
    other.with_name("third.py").write_text("")
    assert len({first, second, third, digest_of(tmp_path)}) == 4
    assert len(first) == 16
