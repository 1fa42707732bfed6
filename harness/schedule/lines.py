"""A step as one line: for tests, and for bug reports that quote a few steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .result import Step


def line(step: Step) -> str:
    """`P a0+8 b0+4 | D c | preempt d`: chunks of prompts by start and length, decodes, and who
    lost or regained a place. `idle` when nothing was computed and nobody moved."""
    parts = (
        _part("P", (f"{one.request_id}{one.start}+{one.length}" for one in step.prefills)),
        _part("D", (one.request_id for one in step.decodes)),
        *events(step),
    )
    return " | ".join(part for part in parts if part) or "idle"


def events(step: Step) -> list[str]:
    """Who lost or regained a place, or was refused or taken back: a phrase a kind."""
    parts = (
        _part("preempt", step.preempted),
        _part("out", step.swapped_out),
        _part("in", step.swapped_in),
        _part("refuse", (one.request_id for one in step.refused)),
        _part("abort", step.aborted),
    )
    return [part for part in parts if part]


def _part(word: str, names: Iterable[str]) -> str:
    found = " ".join(names)
    return f"{word} {found}" if found else ""
