"""What each colour means, the same in every chart, on a light and on a dark ground.

The hues stay apart for the common kinds of colour blindness (they start from Okabe and Ito's and
Paul Tol's sets), and each reaches a contrast of 3 : 1 with its ground, text 4.5 : 1 (WCAG 2.2 AA).
Colour never carries a meaning alone: series are named, verdicts have words and symbols.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hue:
    """One colour as `#rrggbb`, for each ground."""

    light: str
    dark: str


SURFACES: dict[str, Hue] = {
    "ground": Hue("#ffffff", "#15181c"),
    "raised": Hue("#f5f6f8", "#1d2127"),
    "rule": Hue("#d9dde3", "#353b44"),
    "grid": Hue("#e8ebef", "#2a3037"),
    "band": Hue("#eef1f5", "#20262d"),
    "zone": Hue("#dde3ec", "#323b47"),
}

TEXT: dict[str, Hue] = {
    "ink": Hue("#1a1d21", "#e9ebee"),
    "quiet": Hue("#59616c", "#a3acb8"),
    "link": Hue("#0b57a4", "#86b9f2"),
    "good": Hue("#0a6b4c", "#4ecb9c"),
    "caution": Hue("#85540a", "#e9b04c"),
    "bad": Hue("#b3261e", "#ff938a"),
}

ROLES: dict[str, Hue] = {
    # Phases of a request.
    "prefill": Hue("#cc5a00", "#f28c38"),
    "decode": Hue("#0868ac", "#5aa9e6"),
    "others_prefill": Hue("#9c3fb0", "#d48be4"),
    # What a latency is made of, beside prefill, decode and preemption.
    "queued": Hue("#5f7316", "#aac253"),
    "residual": Hue("#3d4148", "#c9ced6"),
    # States of KV memory.
    "kv_useful": Hue("#00855f", "#2fb58c"),
    "kv_reserved": Hue("#b98200", "#e3b341"),
    "kv_internal": Hue("#bb5f96", "#dd8bbb"),
    "kv_external": Hue("#7d8590", "#8e97a3"),
    # The queues.
    "running": Hue("#332288", "#a99ff0"),
    "waiting": Hue("#a8760c", "#d9b24a"),
    "preempted": Hue("#b3261e", "#ff938a"),
    # Where a step's time goes.
    "phase_schedule": Hue("#8f8210", "#cbbf4f"),
    "phase_prepare": Hue("#5f8a4e", "#93bf80"),
    "phase_attention": Hue("#882255", "#d977a8"),
    "phase_linear": Hue("#3b4cc0", "#8d9bf5"),
    "phase_sample": Hue("#1f8a99", "#52bccb"),
    "phase_communicate": Hue("#b5541c", "#f0945a"),
    "phase_swap": Hue("#9a6bd1", "#d3bcff"),
    "phase_host": Hue("#7d8590", "#8e97a3"),
    # Effects of a factorial: of one axis, of one axis on another's, and those that decide nothing.
    "effect_main": Hue("#3b4cc0", "#8d9bf5"),
    "effect_interaction": Hue("#aa2f6f", "#f07cb4"),
    "effect_unsure": Hue("#7d8590", "#8e97a3"),
    # Verdicts of a comparison by turns, and its pairs by whose turn was first.
    "verdict_good": Hue("#00855f", "#2fb58c"),
    "verdict_bad": Hue("#b3261e", "#ff938a"),
    "verdict_open": Hue("#59616c", "#a3acb8"),
    "a_first": Hue("#6b3fa0", "#b796ea"),
    "b_first": Hue("#b98200", "#e3b341"),
    "left_out": Hue("#7d8590", "#8e97a3"),
    # Methods that are a choice, and those that another beats in everything.
    "on_frontier": Hue("#0868ac", "#5aa9e6"),
    "dominated": Hue("#7d8590", "#8e97a3"),
    # A latency of one run, and a latency of each of several runs, the baseline first.
    "latency": Hue("#3f5b8c", "#8fb0e8"),
    "run_1": Hue("#59616c", "#b4bcc7"),
    "run_2": Hue("#aa2f6f", "#f07cb4"),
    "run_3": Hue("#0868ac", "#5aa9e6"),
    "run_4": Hue("#00855f", "#2fb58c"),
    "run_5": Hue("#b98200", "#e3b341"),
    "run_6": Hue("#6b3fa0", "#b796ea"),
}

RUN_ROLES = tuple(role for role in ROLES if role.startswith("run_"))
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")  # one for each run's line
# After six runs their hues come again, each with another's dash.
_RUNS = (*RUN_ROLES, *(f"{role}_again" for role in RUN_ROLES))
ROLES |= {f"{role}_again": ROLES[role] for role in RUN_ROLES}

_SYMBOLS = {"preempted": "diamond", "b_first": "diamond", "left_out": "x"}


def run_role(position: int) -> str:
    """The role of the run at `position`; more than six runs repeat colours, and more than twelve
    dashes, too: names tell them."""
    return _RUNS[position % len(_RUNS)]


def dash_of(role: str) -> str:
    """Runs are told apart by dashes too; every other line is solid."""
    if role not in _RUNS:
        return "solid"
    again, at = divmod(_RUNS.index(role), len(RUN_ROLES))
    return DASHES[(at + again) % len(DASHES)]


def symbol_of(role: str) -> str:
    """The shape of a role's points: those that stand beside others are told apart by it, too."""
    return _SYMBOLS.get(role, "circle")


def theme(ground: str) -> dict[str, str]:
    """Every colour by name on one ground, `light` or `dark`."""
    return {name: getattr(hue, ground) for name, hue in {**SURFACES, **TEXT, **ROLES}.items()}
