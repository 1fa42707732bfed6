"""What Linux says of the memory that a tensor lies in."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

SMAPS = Path("/proc/self/smaps")

linux_with_huge_pages = pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="Linux without huge pages"
)


def flags_of(tensor: Tensor) -> list[str]:
    """What is noted of the mapping that a tensor begins in (proc(5), VmFlags)."""
    inside = False
    for line in SMAPS.read_text().splitlines():
        head, *rest = line.split()
        if not head.endswith(":"):
            first, end = (int(one, 16) for one in head.split("-"))
            inside = first <= tensor.data_ptr() < end
        elif inside and head == "VmFlags:":
            return rest
    raise AssertionError("the tensor lies in no mapping")


def pages_given(work: Callable[[], object]) -> int:
    """How many times this process waited for memory meanwhile (getrusage(2), minor faults)."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
