from __future__ import annotations

import numpy as np
from llmbench.harness.memory import peak_rss_bytes, start_peak


def test_the_peak_counts_memory_that_was_given_back() -> None:
    start_peak()
    before = peak_rss_bytes()
    np.ones(64 * 2**20, dtype=np.uint8).sum()  # touched, then freed
    assert peak_rss_bytes() - before > 48 * 2**20
