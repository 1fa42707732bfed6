"""Fixtures every room's tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Two cores are shared with everything else; one thread keeps small tests quick and repeatable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# pytest-xdist's workers are told to be 80 wide; a command's output is as wide as in a pipe.
os.environ.pop("COLUMNS", None)
# A shell has what it starts in the background ignore Ctrl-C, and so would the commands that tests
# send it to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real traces and text kept beside the checkout; a clone without them skips."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no shared/data beside the checkout")
    return SHARED_DATA
