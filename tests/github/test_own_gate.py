"""What this repository's own exact gate finds: faults planted in policies, one at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .trees import ONE_REQUEST_FEWER, Change, plant, repository

GATE = "from llmbench.harness.cli.app import main; main()"
FAULTS: dict[str, tuple[str, Change, int]] = {
    "a block fewer is shared": (
        "prefix-tight",
        (
            "engines/kv/paged.py",
            "full = tokens // self.block_size\n",
            "full = tokens // self.block_size - 1\n",
        ),
        1,
    ),
    "hits are not counted": (
        "prefix-tight",
        (
            "engines/batching/base.py",
            "head.hit_tokens = max(0, cached - head.most_computed_tokens)",
            "head.hit_tokens = 0",
        ),
        3,
    ),
    "a reservation leaves a unit free": (
        "reserve-tight",
        (
            "engines/admission/reserve.py",
            "needed + kv.promised_units(running) <= free",
            "needed + kv.promised_units(running) < free",
        ),
        1,
    ),
    "nobody is swapped": (
        "swap-tight",
        ("engines/batching/base.py", "swap = swap and all(", "swap = False and all("),
        1,
    ),
    "a request fewer": ("separate-tight", ONE_REQUEST_FEWER, 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_run_is_there_for_what_it_finds(fault: str, tmp_path: Path) -> None:
    """The gate had four runs, and passed the first four of these: none cached, reserved to the
    last block, or swapped."""
    run, change, code = FAULTS[fault]
    tree = tmp_path / "tree"
    repository(tree)
    plant(tree, change)
    (tmp_path / "types").mkdir()
    (tmp_path / "types" / "llmbench").symlink_to(tree)
    done = subprocess.run(
        [sys.executable, "-c", GATE, "gate", "--baseline", ".github/gate.yaml", "--run", run],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "types")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert run in done.stdout
