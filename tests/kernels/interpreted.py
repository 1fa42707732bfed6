"""Triton's kernels in its interpreter, which needs a process of its own: Triton reads
TRITON_INTERPRET when it is imported, and other tests compile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).resolve().parents[2]
Case = TypeVar("Case")


def interpreted(module: str) -> dict[str, str]:
    """Run `python -m tests.kernels.MODULE`, which ends in `report`: what went wrong by case."""
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


def report(cases: Mapping[str, Case], check: Callable[[Case], None]) -> None:
    """Print each case's traceback, or "" where check passed."""
    print(json.dumps({name: _error(check, case) for name, case in cases.items()}))


def _error(check: Callable[[Case], None], case: Case) -> str:
    try:
        check(case)
    except Exception:  # noqa: BLE001 -- reported to the test that asked, whatever it is
        return traceback.format_exc()
    return ""
