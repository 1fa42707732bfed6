"""What a comparison is asked, from rules as they are typed."""

from __future__ import annotations

from collections.abc import Sequence

from ...engines.errors import ConfigError
from ..gate.rules import parse_rule
from .judge import Question

METRICS = ("output_throughput.run", "ttft.mean", "tpot.mean")


def questions_of(rules: Sequence[str], effect: str) -> list[Question]:
    """rules: `5%`, of each of `METRICS`, or `tpot.mean=3%`; a later one of a metric replaces an
    earlier. effect: the worsening to be found, `10%`. Raises ConfigError for what cannot be judged:
    a comparison knows ratios of wall times."""
    wanted = parse_rule(f"tpot.mean={effect}", field="effect")
    found: dict[str, Question] = {}
    for text in rules:
        for named in [text] if "=" in text else [f"{metric}={text}" for metric in METRICS]:
            rule = parse_rule(named)
            sampled = rule.quantity.sampled and rule.quantity.stat != "window"
            if not (rule.relative and sampled) or rule.both_ways:
                allowed = "a percentage of a latency or of a rate of the whole run"
                raise ConfigError("max_regression", text, allowed)
            if not wanted.relative or wanted.allowed <= rule.allowed:
                raise ConfigError("effect", effect, f"a percentage above {named}, which is allowed")
            if wanted.allowed >= 1 and rule.quantity.better == "higher":
                allowed = f"less than 100%: {rule.quantity.name} cannot fall by more"
                raise ConfigError("effect", effect, allowed)
            found[rule.quantity.name] = Question(rule.quantity, rule.allowed, wanted.allowed)
    return list(found.values())
