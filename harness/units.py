"""Sizes and shares as people write them."""

from __future__ import annotations

import re
from decimal import Decimal

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
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


def parse_bytes(field: str, text: str) -> int:
    """'512MiB', '2 GiB', '1.5gb' or a plain count of bytes. Raises ConfigError."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].lower() not in _FACTORS:
        raise ConfigError(field, text, "a size such as 512MiB, 2GiB or a number of bytes")
    size_bytes = int(float(match[1]) * _FACTORS[match[2].lower()])
    if size_bytes < 1:
        raise ConfigError(field, text, "more than nothing, such as 512MiB")
    return size_bytes


def parse_share(field: str, text: str) -> float:
    """'2%' or '0.02': the float nearest to what was written, so that 999 of 1000 are '99.9%'.

    Raises ConfigError; whether the share makes sense is the caller's to say.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", text)
    if match is None:
        raise ConfigError(field, text, "a share such as 2% or 0.02")
    return float(Decimal(match[1]) / (100 if match[2] else 1))
