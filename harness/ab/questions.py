"""What a comparison is asked, from rules as they are typed."""

from __future__ import annotations

from collections.abc import Sequence

from ...engines.errors import ConfigError
from ..gate.rules import Rule, parse_rule
from .judge import Question

METRICS = ("output_throughput.run", "ttft.mean", "tpot.mean")
DEFAULT_EFFECT = "10%"


def questions_of(rules: Sequence[str], effect: str | None = None) -> list[Question]:
    """rules: `5%`, of each of `METRICS`, or `tpot.mean=3%`; a later one of a metric replaces an
    earlier. effect: the worsening to be found; None: `DEFAULT_EFFECT`, which nobody typed, so what
    contradicts it is the rule's fault. Raises ConfigError for what cannot be judged: a comparison
    knows ratios of wall times."""
    wanted = _effect(effect)
    found: dict[str, Question] = {}
    for text in rules:
        for named in [text] if "=" in text else [f"{metric}={text}" for metric in METRICS]:
            rule = parse_rule(named)
            sampled = rule.quantity.sampled and rule.quantity.stat != "window"
            if not (rule.relative and sampled) or rule.both_ways:
                allowed = "a percentage of a latency or of a rate of the whole run"
                raise ConfigError("max_regression", text, allowed)
            if wanted.allowed <= rule.allowed:
                raise _nothing_between(text, named, effect)
            if wanted.allowed >= 1 and rule.quantity.better == "higher":
                allowed = f"less than 100%: {rule.quantity.name} cannot fall by more"
                raise ConfigError("effect", effect, allowed)
            found[rule.quantity.name] = Question(rule.quantity, rule.allowed, wanted.allowed)
    return list(found.values())


def _effect(text: str | None) -> Rule:
    """Raises ConfigError for what is no percentage."""
    try:
        wanted = parse_rule(f"tpot.mean={text or DEFAULT_EFFECT}", field="effect")
    except ConfigError:
        wanted = None
    if wanted is None or not wanted.relative:
        raise ConfigError("effect", text, "a percentage, such as 10%")
    return wanted


def _nothing_between(rule: str, named: str, effect: str | None) -> ConfigError:
    """The error for a rule that allows what is to be found."""
    if effect is not None:
        return ConfigError("effect", effect, f"a percentage above {named}, which is allowed")
    allowed = f"less than {DEFAULT_EFFECT}, the slowdown that is looked for, or a larger --effect"
    return ConfigError("max_regression", rule, allowed)
