"""What a comparison was asked, and where it ran: what its trials alone do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..machine.environment import capture, git_state
from .side import SideOptions


@dataclass(frozen=True)
class AskedSide:
    """options: words of `llmbench run`. tree: the source tree that ran; empty: the llmbench that
    asked. commit: of that tree, with `+` if it held changes; empty if it is no checkout."""

    options: tuple[str, ...]
    tree: str
    commit: str


@dataclass(frozen=True)
class Asked:
    """command: that asked. created_at: when, ISO 8601. seed: of the requests. environment: as
    `machine/environment.py` captures it."""

    command: str
    created_at: str
    seed: int
    a: AskedSide
    b: AskedSide
    environment: Mapping[str, Any]


def asked_now(command: str, a: SideOptions, b: SideOptions, seed: int) -> Asked:
    """What is asked here and now."""
    environment = capture(seed=seed)
    return Asked(
        command,
        datetime.now(UTC).isoformat(timespec="seconds"),
        seed,
        _side(a, environment),
        _side(b, environment),
        environment,
    )


def _side(asked: SideOptions, environment: Mapping[str, Any]) -> AskedSide:
    git = environment["git"] if asked.tree is None else git_state(asked.tree)
    commit = f"{git['commit'][:10]}{'+' if git['dirty'] else ''}" if git else ""
    tree = "" if asked.tree is None else str(asked.tree)
    return AskedSide(tuple(asked.options), tree, commit)
