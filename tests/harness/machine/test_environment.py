"""What is captured, against the system's own tools and hand-written system files."""

from __future__ import annotations

import getpass
import json
import platform
import shutil
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from llmbench.harness.machine import environment

CPUINFO = """processor\t: 0
model name\t: Some CPU @ 2.00GHz
flags\t\t: fpu avx2 fma avx512f avx512_bf16 amx_tile amx_bf16

processor\t: 1
model name\t: Some CPU @ 2.00GHz
flags\t\t: fpu
"""


def test_cpuinfo() -> None:
    assert environment.read_cpuinfo(CPUINFO) == (
        "Some CPU @ 2.00GHz",
        ["avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16"],
    )


def test_cpuinfo_of_arm() -> None:
    assert environment.read_cpuinfo("Features\t: fp asimd sve") == (None, ["asimd", "sve"])


def test_capture_is_json_and_names_what_ran() -> None:
    found = environment.capture(seed=42)

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["seed"] == 42
    assert found["python"] == platform.python_version()
    assert found["packages"]["numpy"] == metadata.version("numpy")
    assert found["memory_bytes"] > 2**20
    assert found["cpu"]["usable_cores"] >= 1


def test_no_host_or_user_name_is_recorded() -> None:
    text = json.dumps(environment.capture(seed=0))

    assert json.dumps(socket.gethostname()) not in text
    assert json.dumps(getpass.getuser()) not in text


def test_torch_is_not_imported_unless_asked() -> None:
    code = (
        "import sys; from llmbench.harness.machine.environment import capture; "
        "found = capture(seed=0); "
        "assert found['torch'] is None; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_state(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    assert environment.git_state(tmp_path) is None
    git("init", "-q")
    assert environment.git_state(tmp_path) is None  # no commit yet
    (tmp_path / "file").write_text("1")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert environment.git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "file").write_text("2")
    assert environment.git_state(tmp_path) == {"commit": commit, "dirty": True}


def test_gpus_are_read_from_the_drivers_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771, 570.1'\necho 'GB10, [N/A], 580.2'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert environment.gpus() == [
        {"name": "NVIDIA H200", "memory_bytes": 143771 * 2**20, "driver": "570.1"},
        {"name": "GB10", "memory_bytes": None, "driver": "580.2"},
    ]


def test_a_driver_that_fails_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert environment.gpus() == []
