from __future__ import annotations

import subprocess
import sys

# In a small process of its own: the system may take pages of a large one while this one measures.
PROGRAM = """
import numpy as np
from llmbench.harness.machine.memory import peak_rss_bytes, start_peak

np.ones(2**30, dtype=np.uint8).sum()  # touched, then freed
whole = peak_rss_bytes()
start_peak()
small = peak_rss_bytes()
np.ones(2**29, dtype=np.uint8).sum()
print(whole, small, peak_rss_bytes())
"""


def test_the_peak_counts_memory_that_was_given_back_since_it_was_started() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole, small, later = map(int, done.stdout.split())
    assert whole > 2**30
    # What went before is forgotten; what numpy and Python hold stays.
    assert small < 2**29
    assert 2**29 < later < 2**30
