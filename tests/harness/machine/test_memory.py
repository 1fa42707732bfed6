from __future__ import annotations

import numpy as np
from llmbench.harness.machine.memory import peak_rss_bytes, start_peak


def test_the_peak_counts_memory_that_was_given_back() -> None:
    start_peak()
    before = peak_rss_bytes()
    np.ones(2**29, dtype=np.uint8).sum()  # touched, then freed
    # Half of it: meanwhile the system may take pages of the rest of the process.
    assert peak_rss_bytes() - before > 2**28
