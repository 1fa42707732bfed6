"""Which cores the engine keeps to, and how that is said."""

from __future__ import annotations

import pytest
from llmbench.harness.serve.cores import Cores, counted, part


@pytest.mark.parametrize(
    ("usable", "threads", "parted"),
    [
        ((0, 1), 1, Cores((0,), (1,))),
        # As a container hands them out: in no order, with gaps.
        ((9, 4, 6, 2), 3, Cores((2, 4, 6), (9,))),
        # All of them for the engine, or as many as torch likes: nothing to part.
        ((0, 1), 2, None),
        ((0, 1), 3, None),
        ((0, 1), None, None),
        ((0,), 1, None),
        ((), 1, None),
    ],
)
def test_parting(usable: tuple[int, ...], threads: int | None, parted: Cores | None) -> None:
    assert part(usable, threads) == parted


@pytest.mark.parametrize(
    ("cores", "said"),
    [((0,), "core 0"), ((2, 3), "cores 2-3"), ((0, 1, 2, 5, 8, 9), "cores 0-2, 5, 8-9")],
)
def test_said(cores: tuple[int, ...], said: str) -> None:
    assert counted(cores) == said
