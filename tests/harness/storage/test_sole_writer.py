"""One command at a time stores its runs in a directory of many, and no run of any is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from llmbench.harness.cli import main
from llmbench.harness.storage.sole_writer import sole_writer
from llmbench.harness.storage.store import StoreError, write_run

from ..observed import serve_in_turn
from ..stored import stored_run

# Says that it is in, and waits for the end of its input.
WRITER = """
import sys
from pathlib import Path
from llmbench.harness.storage.sole_writer import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


def start_writer(out: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    return process


def test_a_second_process_is_refused_till_the_first_has_ended(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    first = start_writer(out)
    with (
        pytest.raises(StoreError, match=r"out: .* is being written by another") as caught,
        sole_writer(out),
    ):
        pytest.fail("two at once")
    assert "\n" not in str(caught.value)
    first.communicate(timeout=60)
    with sole_writer(out):
        pass
    assert os.listdir(tmp_path) == []


def test_a_writer_that_was_killed_is_in_nobodys_way(tmp_path: Path) -> None:
    first = start_writer(tmp_path / "out")
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    with sole_writer(tmp_path / "out"):
        (tmp_path / "out" / "kept").touch()
    assert os.listdir(tmp_path / "out") == ["kept"]


def test_what_is_made_goes_again_if_nothing_is_stored_there(tmp_path: Path) -> None:
    with sole_writer(tmp_path / "a" / "b" / "c"):
        (tmp_path / "a" / "kept").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "kept"]


def test_a_place_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = {
        "file": "is a file; expected",
        "file/out": "cannot be written",
        "\udcff": "is not UTF-8",
    }
    for out, said in refused.items():
        with pytest.raises(StoreError, match=said), sole_writer(tmp_path / out):
            pytest.fail("it is no directory")


def test_a_single_run_does_not_take_the_place(tmp_path: Path) -> None:
    stored = stored_run(*serve_in_turn(3))
    with sole_writer(tmp_path / "out"), pytest.raises(StoreError, match="holds other files"):
        write_run(tmp_path / "out", stored.result, stored.requests, stored.steps, {})


@pytest.mark.parametrize(
    "command",
    [
        ("simulate", "--repeats", "2"),
        ("ablate", "--simulate", "--axes", "batching"),
        ("run", "--repeats", "2"),
        ("run", "--quant", "none,int8"),
        ("sweep", "--vary", "engine=paged", "--", "simulate"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_command_of_many_runs_leaves_the_place_to_who_is_there(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    name, *options = command
    with sole_writer(out):
        before = os.listdir(out)
        with pytest.raises(SystemExit) as left:
            main([name, "--out", str(out), *options])
        assert os.listdir(out) == before
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out: ")
