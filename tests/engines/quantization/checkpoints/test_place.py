"""A directory's place: what is left by one that is killed, and two that write there at once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from llmbench.engines.quantization.checkpoints.place import place_for, put_right, replacing

# Writes "new" to argv[1], and is killed after its Nth renaming, while "writing" or "removing".
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from llmbench.engines.quantization.checkpoints.place import place_for, replacing

out, when = Path(sys.argv[1]), sys.argv[2]
rename, renamed = os.replace, []

def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def rename_and_die(source, target):
    rename(source, target)
    renamed.append(target)
    if when == str(len(renamed)):
        die()

os.replace = rename_and_die
if when == "removing":
    shutil.rmtree = lambda path, **_: path.name == ".out.old" and path.exists() and die()
with place_for(out), replacing(out) as fresh:
    (fresh / "config.json").write_text("new")
    if when == "writing":
        die()
"""


def write(out: Path, text: str) -> None:
    with place_for(out), replacing(out) as fresh:
        (fresh / "config.json").write_text(text)


def beside(out: Path) -> set[str]:
    return {path.name for path in out.parent.iterdir()}


@pytest.mark.parametrize(
    ("when", "there", "left", "found"),
    [
        ("writing", True, {".out.new"}, "old"),
        ("1", True, {".out.new", ".out.old"}, "old"),
        ("2", True, {".out.old"}, "new"),
        ("removing", True, {".out.old"}, "new"),
        ("writing", False, {".out.new"}, None),
        ("1", False, set(), "new"),
    ],
)
def test_what_a_killed_command_leaves_is_put_right(
    when: str, there: bool, left: set[str], found: str | None, tmp_path: Path
) -> None:
    """Killed while it writes, once the old model is aside, once the new one is in place, and while
    the old one is removed."""
    out = tmp_path / "out"
    if there:
        write(out, "old")
    code = subprocess.run([sys.executable, "-c", KILLED, str(out), when], check=False).returncode
    assert code == -signal.SIGKILL
    assert beside(out) - {"out"} == left | {".out.lock"}
    put_right(out)
    assert (out / "config.json").read_text() == found if found else not out.exists()
    write(out, "newer")
    assert (out / "config.json").read_text() == "newer"
    assert beside(out) == {"out"}


def test_two_at_once_wait_for_each_other(tmp_path: Path) -> None:
    """Each is alone from its first file to its last; both get there."""
    out = tmp_path / "deep" / "out"
    inside: list[int] = []
    most: list[int] = []

    def run(number: int) -> None:
        for _ in range(20):
            with place_for(out):
                inside.append(number)
                most.append(len(inside))
                with replacing(out) as fresh:
                    (fresh / "config.json").write_text(str(number))
                inside.remove(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 60
    assert beside(out) == {"out"}


def test_what_ends_badly_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "old")
    with pytest.raises(FileNotFoundError), place_for(out), replacing(out) as fresh:
        shutil.copyfile(fresh / "absent", fresh / "config.json")
    assert (out / "config.json").read_text() == "old"
    assert beside(out) == {"out"}
