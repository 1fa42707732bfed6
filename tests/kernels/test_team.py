"""Threads that share a step's phases (kernels/native/team.h), in a program of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from llmbench.kernels.native import build

SOURCE = Path(__file__).with_name("team_check.cpp")
FLAGS = ("-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{build.SOURCES}")


@pytest.fixture(scope="module", params=["as it is", "under ThreadSanitizer"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        compiler = build.find_compiler()
    except build.BuildError as error:
        pytest.skip(str(error))
    built = tmp_path_factory.mktemp("team") / "check"
    flags = [*FLAGS, "-fsanitize=thread"] if "Sanitizer" in request.param else [*FLAGS]
    command = [*compiler, *flags, str(SOURCE), "-o", str(built)]
    done = subprocess.run(command, capture_output=True, text=True)
    if "Sanitizer" in request.param and "tsan" in done.stderr:
        pytest.skip("the compiler has no ThreadSanitizer")
    assert done.returncode == 0, done.stderr
    return built


@pytest.mark.parametrize("seed", range(4))
def test_every_item_of_each_phase_is_done_once(program: Path, seed: int) -> None:
    done = subprocess.run([program, str(seed)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
