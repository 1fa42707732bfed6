"""Fixtures every room's tests share."""

from __future__ import annotations

import os
import random
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from zlib import crc32

import pytest

# Two cores are shared with everything else; one thread keeps small tests quick and repeatable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# pytest-xdist's workers are told to be 80 wide; a command's output is as wide as in a pipe.
os.environ.pop("COLUMNS", None)
# A shell has what it starts in the background ignore Ctrl-C, and so would the commands that tests
# send it to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What tests draw from `random` differs from one session to the next, and comes again where this
# seed and the test's name are the same. Processes that pytest-xdist starts inherit it.
SEED_VARIABLE = "LLMBENCH_TEST_SEED"
SEED = os.environ.setdefault(SEED_VARIABLE, str(random.SystemRandom().randrange(2**32)))

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real traces and text kept beside the checkout; a clone without them skips."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no shared/data beside the checkout")
    return SHARED_DATA


def pytest_report_header() -> str:
    return f"draws: {SEED_VARIABLE}={SEED}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before its fixtures draw, too. torch draws the same in each session, whatever ran before, but
    for a test that imports it first: it must seed it itself."""
    random.seed(f"{SEED} {item.nodeid}")
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(crc32(item.nodeid.encode()))
    # Beside a failure's own output: a quiet session has no header.
    item.add_report_section("setup", "draws", f"{SEED_VARIABLE}={SEED}")
    skip_without_libraries(item)


def skip_without_libraries(item: pytest.Item) -> None:
    """Without the library that a test holds us against, or the extra that it needs, it is skipped;
    `make test-reference` and `make test-lm-eval` have them all."""
    if item.get_closest_marker("lm_eval") is not None and find_spec("lm_eval") is None:
        pytest.skip("needs lm_eval: make test-lm-eval")
    for mark in item.iter_markers("reference"):
        for library in mark.args:
            if find_spec(library) is None:
                pytest.skip(f"needs {library}: make test-reference")
