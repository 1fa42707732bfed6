"""Instructions of loops, from NVIDIA's disassembler where Triton brings it; run as a module, it
prints those of the kernels that bind a decode step of Llama-3-8B, for an NVIDIA target. Nothing
runs on a GPU.

    python -m tests.kernels.sass sm_90
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

_LABEL = re.compile(r"^(\.L_x_\d+):")
_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(.*?);")
_PREDICATE = re.compile(r"^@!?U?P\w+\s+")
_REGISTERS = re.compile(r"\bREG:(\d+)")
_STACK = re.compile(r"\bSTACK:(\d+)")
_BRANCH = re.compile(r"\bBRA\b.*?(\.L_x_\d+)")


def loops(made: Any) -> list[Counter[str]]:
    """How often each instruction stands in each loop of a kernel compiled for an NVIDIA device, in
    their order: inner ones before those around them. What a loop may skip counts, too."""
    lines: list[str] = []
    labels: dict[str, int] = {}
    for line in _read(made, "nvdisasm", "-c").splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(lines)
        elif instruction := _INSTRUCTION.search(line):
            lines.append(_PREDICATE.sub("", instruction[1].strip()))
    return list(_loops(lines, labels))


def _loops(lines: list[str], labels: dict[str, int]) -> Iterator[Counter[str]]:
    for at, line in enumerate(lines):
        branch = _BRANCH.search(line)
        first = at if branch is None else labels.get(branch[1], at)
        # The end of a kernel is a branch to itself.
        if first < at:
            yield Counter(one.split()[0].split(".")[0] for one in lines[first : at + 1])


def registers(made: Any) -> int:
    """A thread's, of a kernel compiled for an NVIDIA device."""
    return _used(made, _REGISTERS)


def stack_bytes(made: Any) -> int:
    """A thread's: what registers were spilled to."""
    return _used(made, _STACK)


def _used(made: Any, what: re.Pattern[str]) -> int:
    found = what.search(_read(made, "cuobjdump", "-res-usage"))
    assert found
    return int(found[1])


def _read(made: Any, tool: str, option: str) -> str:
    """What NVIDIA's `tool` says of the kernel. Skips the test where Triton does not bring it."""
    triton = pytest.importorskip("triton")
    program = Path(triton.__file__).parent / "backends/nvidia/bin" / tool
    if not program.exists():
        pytest.skip(f"Triton brings no {tool}")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(made.asm["cubin"])
        command = [program, option, path]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    from .llama_launches import LAUNCHES, runs_on

    target = sys.argv[1]
    if not target.startswith("sm_"):
        sys.exit(f"target {target}: not NVIDIA's (sm_80, sm_89, sm_90, sm_100, sm_120)")
    for name, launch in LAUNCHES.items():
        if not runs_on(target, name):
            continue
        for one in launch():
            made = one.made(target)
            print(
                f"{name}: {one.kernel.__name__}, {made.metadata.num_warps} warps, "
                f"{registers(made)} registers, {stack_bytes(made)} bytes spilled, "
                f"{made.metadata.shared} bytes shared"
            )
            for loop in loops(made):
                parts = ", ".join(f"{count} {op}" for op, count in loop.most_common(8))
                print(f"  {loop.total()} instructions: {parts}")
