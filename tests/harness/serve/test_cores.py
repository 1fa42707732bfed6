"""Which cores the engine keeps to, and how that is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.serve import cores
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
    ("sibling_of", "threads", "parted"),
    [
        # Of eight processors on four cores, siblings side by side, or four apart.
        (lambda core: core // 2, 2, Cores((0, 2), (4, 5, 6, 7))),
        (lambda core: core % 4, 3, Cores((0, 1, 2), (3, 7))),
        (lambda core: core % 4, 4, None),
    ],
)
def test_a_physical_core_is_not_shared(
    sibling_of: Callable[[int], object], threads: int, parted: Cores | None
) -> None:
    assert part(range(8), threads, sibling_of) == parted


def test_what_cannot_be_parted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: frozenset({0, 1, 2}))
    monkeypatch.setattr(cores, "physical_core", str)
    cores.check_own_cores(2)
    for threads in (None, 3):
        with pytest.raises(ConfigError, match="expected 1 to 2 with --own-cores: the server"):
            cores.check_own_cores(threads)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [((0,), "core 0"), ((2, 3), "cores 2-3"), ((0, 1, 2, 5, 8, 9), "cores 0-2, 5, 8-9")],
)
def test_said(numbers: tuple[int, ...], said: str) -> None:
    assert counted(numbers) == said
