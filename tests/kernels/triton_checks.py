"""Runs checks of Triton's kernels in its interpreter.

Triton reads TRITON_INTERPRET when it is imported, so the interpreter needs a process of its own: a
test module runs itself as a program there, and asks here for what failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from llmbench.kernels.registry import Implementation, implementations

ROOT = Path(__file__).resolve().parents[2]
Checks = Mapping[str, Callable[[], None]]


def triton_of(op: str) -> Implementation:
    """The implementation that is registered, called here on tensors of the CPU."""
    return next(one for one in implementations(op) if one.name == "triton")


def failures(module: str) -> dict[str, str]:
    """Name -> traceback, empty if it passed, of the checks that `module` of this directory reports
    as a program. Skips the test where Triton is not installed."""
    pytest.importorskip("triton")
    run = subprocess.run(
        [sys.executable, "-m", f"tests.kernels.{module}"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def report(checks: Checks) -> None:
    """Makes the checks and prints what `failures` reads."""
    print(json.dumps({name: _failure(check) for name, check in checks.items()}))


def _failure(check: Callable[[], None]) -> str:
    try:
        check()
    except Exception:  # noqa: BLE001 -- reported to the test that asked, whatever it is
        return traceback.format_exc()
    return ""
