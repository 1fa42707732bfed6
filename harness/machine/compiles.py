"""Whether Triton compiled kernels while a run was measured: each takes a request seconds.

Triton tells a listener of every kernel that it compiles or fetches from its cache on disk, once a
process (`triton.knobs.compilation.listener`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..result import Check


class Compiles:
    """Kernels by name, and how often each was compiled anew."""

    def __init__(self) -> None:
        self.kernels: Counter[str] = Counter()
        self.seconds = 0.0

    def add(self, name: str, seconds: float) -> None:
        self.kernels[name] += 1
        self.seconds += seconds


@contextmanager
def counting_compiles() -> Iterator[Compiles | None]:
    """Of this process, while it is open; None where nothing has imported Triton."""
    if "triton" not in sys.modules:
        yield None
        return
    from triton import knobs

    found, before = Compiles(), knobs.compilation.listener

    def listen(*, src: Any, times: Any, cache_hit: bool, **told: Any) -> None:
        # From disk it takes milliseconds.
        if not cache_hit:
            found.add(str(src.name), times.total / 1e6)
        if before is not None:
            before(src=src, times=times, cache_hit=cache_hit, **told)

    knobs.compilation.listener = listen
    try:
        yield found
    finally:
        knobs.compilation.listener = before


def check_compiles(found: Compiles) -> Check:
    """Latencies that hold a compiler's time are not the engine's."""
    count = found.kernels.total()
    names = ", ".join(
        f"{name} ({times} times)" if times > 1 else name
        for name, times in sorted(found.kernels.items())
    )
    many = f"{count} kernels were" if count > 1 else "1 kernel was"
    detail = f"{many} compiled while requests were measured, for {found.seconds:.1f} s: {names}"
    return Check(
        id="compiles",
        ok=count == 0,
        fatal=False,
        value=count,
        limit=0,
        detail=detail if count else "no kernel was compiled while requests were measured",
        advice="run it again, for they are kept on disk, or give more --warmup-requests"
        if count
        else "",
    )
