"""What may get worse, and by how much: `ttft.p99=10%`, `tpot.mean=2ms`, `preemptions=exact`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...engines.errors import ConfigError
from ..comparison.quantities import Quantity, find_quantity
from ..units import UNITS_S, parse_seconds

FIELD = "max_regression"
FORM = "METRIC.STAT=ALLOWED such as ttft.p99=10%, tpot.mean=2ms or preemptions=exact"


@dataclass(frozen=True)
class Rule:
    """How much worse a quantity may get.

    allowed: a share of the baseline if relative, else an amount in the quantity's unit.
    both_ways: any change counts, whichever direction is better.
    """

    quantity: Quantity
    allowed: float
    relative: bool
    both_ways: bool
    text: str

    @property
    def exact(self) -> bool:
        """Whether no change at all is allowed."""
        return self.both_ways and not self.relative and self.allowed == 0


def parse_rule(text: str, field: str = FIELD) -> Rule:
    """`ttft.p99=10%`, `tpot.mean=2ms`, `kv.waste_share=0.05`, `preemptions=exact`.

    A percentage is of the baseline; a bare number is in the quantity's unit; `exact` lets nothing
    change at all, and is for what repeats exactly. Raises ConfigError for `field`.
    """
    name, equals, allowed = (part.strip() for part in text.partition("="))
    if not equals or not allowed:
        raise ConfigError(field, text, FORM)
    quantity = find_quantity(field, name)
    if allowed == "exact":
        if quantity.measured:
            raise ConfigError(
                field, text, f"a percentage or an amount: {quantity.name} is measured with noise"
            )
        return Rule(quantity, 0.0, relative=False, both_ways=True, text=text)
    both_ways = quantity.better == "none"
    if allowed.endswith("%"):
        share = _number(field, text, allowed[:-1]) / 100
        return Rule(quantity, share, relative=True, both_ways=both_ways, text=text)
    amount = _amount(field, text, allowed, quantity)
    return Rule(quantity, amount, relative=False, both_ways=both_ways, text=text)


def _amount(field: str, text: str, allowed: str, quantity: Quantity) -> float:
    if quantity.unit == "s":
        return 0.0 if allowed == "0" else _seconds(field, text, allowed)
    return _number(field, text, allowed.removesuffix(quantity.unit))


def _seconds(field: str, text: str, allowed: str) -> float:
    try:
        return parse_seconds(field, allowed)
    except ConfigError as error:
        forms = f"a percentage such as 10%, or a time such as 2ms; units {', '.join(UNITS_S)}"
        raise ConfigError(field, text, forms, error.hint) from error


def _number(field: str, text: str, number: str) -> float:
    if not re.fullmatch(r"\s*[0-9]*\.?[0-9]+\s*", number):
        raise ConfigError(field, text, FORM)
    return float(number)
