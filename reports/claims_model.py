"""What the report about claims is given: what people say, and what was found of it, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .model import Tone

ClaimVerdict = Literal["confirmed", "refuted", "partly", "undecided"]
VERDICTS: dict[ClaimVerdict, tuple[str, Tone]] = {
    "confirmed": ("✓ confirmed", "good"),
    "refuted": ("✕ refuted", "bad"),
    "partly": ("± in part", "caution"),
    "undecided": ("? not decided", "quiet"),
}


@dataclass(frozen=True)
class Evidence:
    """One thing that was tried.

    setting: model, machine, load, and what was changed. found: the numbers, in words. held: whether
    the claim is true of them; None: they do not decide. simulated: else measured on this machine.
    commands: what makes the runs again.
    """

    setting: str
    found: str
    held: bool | None
    simulated: bool
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """name: as the command takes it. title: in two words. says: what people say. judged: what
    counts as true."""

    name: str
    title: str
    says: str
    judged: str
    verdict: ClaimVerdict
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Claims:
    """model: what was measured here. notes: what the numbers cannot carry. command: that made
    them."""

    claims: tuple[Claim, ...]
    model: str
    notes: tuple[str, ...]
    command: str


def verdict_of(held: Sequence[bool | None]) -> ClaimVerdict:
    """Of the parts that were decided; confirmed only if all were, and held."""
    decided = [one for one in held if one is not None]
    if not decided:
        return "undecided"
    if all(decided):
        return "confirmed" if len(decided) == len(held) else "partly"
    return "partly" if any(decided) else "refuted"
