"""Sizes, shares and times as people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import Decimal
from difflib import get_close_matches

from ..engines.errors import ConfigError

_FACTORS = {
    "": 1,
    "b": 1,
    "k": 10**3,
    "kb": 10**3,
    "m": 10**6,
    "mb": 10**6,
    "g": 10**9,
    "gb": 10**9,
    "t": 10**12,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_LARGEST_BYTES = 10**18
UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_DURATION = re.compile(r"(?P<number>[0-9.eE+-]+?)\s*(?P<unit>[a-z]*)")


def parse_bytes(field: str, text: str) -> int:
    """'512MiB', '2 GiB', '1.5gb' or a plain count of bytes. Raises ConfigError."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].lower() not in _FACTORS:
        raise ConfigError(field, text, "a size such as 512MiB, 2GiB or a number of bytes")
    size_bytes = float(match[1]) * _FACTORS[match[2].lower()]
    if size_bytes < 1:
        raise ConfigError(field, text, "more than nothing, such as 512MiB")
    if size_bytes > _LARGEST_BYTES:
        raise ConfigError(field, text, f"at most {_LARGEST_BYTES:.0e} bytes, such as 512MiB")
    return int(size_bytes)


def parse_share(field: str, text: str) -> float:
    """'2%' or '0.02': the float nearest to what was written, so that 999 of 1000 are '99.9%'.

    Raises ConfigError; whether the share makes sense is the caller's to say.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", text)
    if match is None:
        raise ConfigError(field, text, "a share such as 2% or 0.02")
    return float(Decimal(match[1]) / (100 if match[2] else 1))


def parse_seconds(
    field: str, text: str, form: str = "a positive time such as 200ms or 0.2 (seconds)"
) -> float:
    """A positive duration in seconds, from `200ms`, `0.2` or `1.5s`. form: what is expected, for
    whoever wrote something else. Raises ConfigError."""
    allowed = f"{form}; units {', '.join(UNITS_S)}"
    match = _DURATION.fullmatch(text)
    unit = (match["unit"] or "s") if match else ""
    if match is None or unit not in UNITS_S:
        raise ConfigError(field, text, allowed, nearest(unit, UNITS_S) if unit else "")
    try:
        seconds = float(match["number"]) * UNITS_S[unit]
    except ValueError:
        raise ConfigError(field, text, allowed) from None
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ConfigError(field, text, allowed)
    return seconds


def nearest(value: str, known: Iterable[str]) -> str:
    """A hint at the nearest spelling, to end an error with; empty if none is near."""
    near = get_close_matches(value.lower(), list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
