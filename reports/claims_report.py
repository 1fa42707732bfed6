"""What is said about claims, in reading order: each verdict, then what it rests on."""

from __future__ import annotations

from .claims_model import VERDICTS, Claim, Claims
from .model import Badge, Cell, KeyFigure, Note, Report, Section, Table, Tone
from .tables import table

HELD: dict[bool | None, tuple[str, Tone]] = {
    True: ("✓ yes", "good"),
    False: ("✕ no", "bad"),
    None: ("? not decided", "quiet"),
}
HELD_ALL = Badge("Confirmed", "✓", "good")
NOT_ALL = Badge("Not all confirmed", "±", "caution")


def claims_report(claims: Claims) -> Report:
    """Everything a report says about claims."""
    confirmed = all(claim.verdict == "confirmed" for claim in claims.claims)
    where = f"measured with {claims.model}, and simulated" if claims.model else "simulated"
    return Report(
        title="What people say of serving",
        subtitle=f"Held against runs that change one thing: {where}",
        badge=HELD_ALL if confirmed else NOT_ALL,
        verdict=_verdict(claims),
        statements=(),
        figures=tuple(_figure(claim) for claim in claims.claims),
        notes=tuple(Note(text, "caution") for text in claims.notes),
        sections=(
            *(Section(one.name, one.title, (_evidence(one),)) for one in claims.claims),
            Section("again", "The commands", (_commands(claims),)),
        ),
        footer=claims.command,
    )


def _verdict(claims: Claims) -> str:
    """`Confirmed: “…”. In part: “…”; “…”.`"""
    by_word: dict[str, list[str]] = {}
    for claim in claims.claims:
        by_word.setdefault(_word(claim).capitalize(), []).append(f"“{claim.says}”")
    return " ".join(f"{word}: {'; '.join(said)}." for word, said in by_word.items())


def _word(claim: Claim) -> str:
    return VERDICTS[claim.verdict][0].partition(" ")[2]


def _figure(claim: Claim) -> KeyFigure:
    held, undecided = (sum(one.held is which for one in claim.evidence) for which in (True, None))
    detail = f"true of {held} of {len(claim.evidence)}"
    detail += f", {undecided} not decided" if undecided else ""
    return KeyFigure(claim.title, _word(claim), detail=detail)


def _evidence(claim: Claim) -> Table:
    columns = ("What was tried", "How", "What was found", "True of it")
    return table(
        f"evidence-{claim.name}",
        f"{claim.title}: the evidence",
        columns,
        [
            (
                one.setting,
                "simulated" if one.simulated else "measured",
                one.found,
                Cell(*HELD[one.held]),
            )
            for one in claim.evidence
        ],
        words=columns,
        note=f"“{claim.says}”: {_word(claim)}. It is true if {claim.judged}.",
    )


def _commands(claims: Claims) -> Table:
    made = {
        command: claim.title
        for claim in claims.claims
        for one in claim.evidence
        for command in one.commands
    }
    return table(
        "commands",
        "What makes the runs again",
        ("For", "Command"),
        [(title, command) for command, title in made.items()],
        words=("Command",),
        note="Each alone, without what holds it against another: llmbench compare does that.",
    )
