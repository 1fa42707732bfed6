"""Two processes that write runs of their own into one baseline file, as pytest-xdist's do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from llmbench.harness.gate.baseline import BaselineRun, put_run, read_baseline

RUNS = 16
WRITER = f"""
import sys
from pathlib import Path
from llmbench.harness.gate.baseline import BaselineRun, put_run

print("ready", flush=True)
sys.stdin.readline()
for at in range({RUNS}):
    run = BaselineRun({{"engine": "paged"}}, {{}}, "f" * 64, {{"counters.steps": float(at)}})
    put_run(Path(sys.argv[1]), f"{{sys.argv[2]}}-{{at}}", run, "0.1.0")
"""


def test_no_update_is_lost_between_two_processes(tmp_path: Path) -> None:
    path = tmp_path / "llmbench-gate.yaml"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in "ab"
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert set(read_baseline(path).runs) == {f"{name}-{at}" for name in "ab" for at in range(RUNS)}
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_what_a_run_may_do_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    put_run(path, "chat", BaselineRun({}, {"ttft.p99": "2%"}, "f", {"counters.steps": 1}), "0")
    put_run(path, "chat", BaselineRun({}, {}, "f", {"counters.steps": 2}), "0")
    assert read_baseline(path).runs["chat"].allowed == {"ttft.p99": "2%"}
    assert read_baseline(path).runs["chat"].quantities == {"counters.steps": 2}
