"""`llmbench doctor`: what this machine can run, and what stands in the way."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import typer

from .console import TerminalConsole, foreign
from .exits import Exit
from .output import AsJson

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at. note: works, but slower or with something missing."""

    what: str
    level: Level
    detail: str


def doctor(as_json: AsJson = False) -> None:
    """Check this machine: Python, torch, CPU, GPU, native kernels, engines, memory, cache, models.

    Exit code 2 if something stands in the way of a run.
    """
    findings = [check() for check in CHECKS]
    if as_json:
        from ..storage.json_text import json_text

        print(json_text([asdict(finding) for finding in findings]))
    else:
        _print(findings)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(Exit.USAGE)


def _print(findings: list[Finding]) -> None:
    from rich.table import Table

    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[bold red]problem[/]"}
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        table.add_row(
            marks[finding.level], f"[bold]{foreign(finding.what)}[/]", foreign(finding.detail)
        )
    TerminalConsole().print(table)


def _python() -> Finding:
    version = sys.version.split()[0]
    return Finding("python", "ok", version)


def _torch() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("torch", "problem", f"cannot be imported: {error}")
    return Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")


def _cpu() -> Finding:
    from ..machine.environment import cpu

    found = cpu()
    name = f"{found['model']}, {found['logical_cores']} logical cores"
    if set(found["isa"]) & {"avx512_bf16", "amx_bf16", "bf16"}:
        return Finding("cpu", "ok", f"{name}; computes bfloat16")
    lacks = f"{name}; no bfloat16 arithmetic"
    try:
        import torch

        from ...engines.device import choose_dtype
    except ImportError:
        return Finding("cpu", "note", lacks)
    dtype = choose_dtype("auto", torch.device("cpu"), ("linear",))
    how = "bfloat16, widened for each product" if dtype == "bfloat16" else dtype
    return Finding("cpu", "note", f"{lacks}, models run in {how}")


def _gpu() -> Finding:
    try:
        import torch
    except ImportError:
        return Finding("gpu", "note", "torch is missing")
    if not torch.cuda.is_available():
        return Finding("gpu", "note", "none usable; everything runs on the CPU")
    properties = torch.cuda.get_device_properties(0)
    memory = properties.total_memory / 2**30
    return Finding("gpu", "ok", f"{properties.name}, {memory:.0f} GiB")


def _triton() -> Finding:
    from importlib.util import find_spec

    if find_spec("triton") is None:
        return Finding("triton", "note", "not installed; no Triton kernels")
    import triton

    return Finding("triton", "ok", triton.__version__)


def _native_kernels() -> Finding:
    """Builds them if need be: whether that works is the question."""
    try:
        from ...kernels.native.build import TARGETS, BuildError
        from ...kernels.native.library import load
    except ImportError:
        return Finding("native kernels", "note", "torch is missing")
    reason = ""
    for target in TARGETS:
        try:
            found = load(target)
        except (BuildError, OSError) as error:
            found = str(error)
            reason = reason or f"{target.name}: {found}"
        if not isinstance(found, str):
            more = f"; {reason}" if reason else ""
            return Finding("native kernels", "note" if more else "ok", f"{target.name}{more}")
        reason = reason or ("" if target.cpu_flags else f"{target.name}: {found}")
    return Finding("native kernels", "note", f"{reason}; PyTorch computes the same, but slower")


def _engines() -> Finding:
    """A plug-in that brings none stands in no other engine's way."""
    from .engines import engines_here

    usable, problems = engines_here()
    said = "; ".join((f"{len(usable)} to choose from", *map(str, problems)))
    return Finding("engines", "note" if problems else "ok", said)


def _memory() -> Finding:
    import psutil

    free = psutil.virtual_memory().available / 2**30
    level: Level = "ok" if free >= 3 else "note"
    hint = "" if free >= 3 else "; lower --kv-memory (1GiB by default)"
    return Finding("memory", level, f"{free:.1f} GiB available{hint}")


def _cache() -> Finding:
    from ...engines.models.catalogue import cache_directory

    directory = cache_directory()
    existing = directory
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK):
        return Finding("cache", "problem", f"{directory} cannot be written; set LLMBENCH_CACHE")
    free = shutil.disk_usage(existing).free / 2**30
    level: Level = "ok" if free >= 1 else "note"
    return Finding("cache", level, f"{directory}, {free:.0f} GiB free")


def _models() -> Finding:
    from ...engines.models.catalogue import list_models

    entries = list_models()
    missing = [entry.name for entry in entries if not entry.present]
    here = ", ".join(entry.name for entry in entries if entry.present) or "none"
    hint = f"; to fetch: {', '.join(missing)}" if missing else ""
    return Finding("models", "ok", f"here: {here}{hint}")


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _torch,
    _cpu,
    _gpu,
    _triton,
    _native_kernels,
    _engines,
    _memory,
    _cache,
    _models,
)
