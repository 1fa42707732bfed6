"""How numbers are written: three significant digits, thin grouping, "n/a" for what is absent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

ABSENT = "n/a"
THIN = "\u202f"  # narrow no-break space: groups digits, and no line breaks in a number
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class Scale:
    """A unit to show numbers in: what is stored times `factor`."""

    unit: str
    factor: float = 1.0

    def number(self, value: float | None) -> str:
        return number(None if value is None else value * self.factor)

    def quantity(self, value: float | None) -> str:
        return self.number(value) + (f" {self.unit}" if self.unit and is_present(value) else "")


def is_present(value: Any) -> bool:
    """Whether there is a finite number to show."""
    return isinstance(value, Real) and math.isfinite(value)


def number(value: float | None) -> str:
    """1430.2 -> "1 430" (thinly grouped), 14.32 -> "14.3", 0.01432 -> "0.0143", NaN -> "n/a"."""
    if value is None or not is_present(value):
        return ABSENT
    if value == 0:
        return "0"
    if abs(value) < 1e-4:
        return f"{value:.2e}".replace("-", "\u2212")
    # Rounded first: 9.996 has the digits of 10.0.
    magnitude = math.floor(math.log10(abs(float(f"{value:.3g}"))))
    digits = 0 if float(value).is_integer() else max(0, 2 - magnitude)
    return _grouped(f"{value:,.{digits}f}")


def seconds_in(time_s: float) -> str:
    """When in a run, in seconds, without the unit; what comes in its first half millisecond is
    "0", for of a start there is nothing more to say."""
    return number(0.0 if abs(time_s) < 5e-4 else time_s)


def addends(whole: float, parts: Iterable[float]) -> list[str]:
    """Parts of a whole, with the decimals that `number` gives the whole: 33.7 and 0.8 of 34.5.

    Nothing is "0"; what rounds to nothing is "0.0"."""
    digits = 0
    if is_present(whole) and whole:
        digits = max(0, 2 - math.floor(math.log10(abs(float(f"{whole:.3g}")))))
    return ["0" if part == 0 else _grouped(f"{part:,.{digits}f}") for part in parts]


def _grouped(text: str) -> str:
    return text.replace(",", THIN).replace("-", "\u2212")


def count(value: float | None) -> str:
    """A whole number, grouped."""
    if value is None or not is_present(value):
        return ABSENT
    return _grouped(f"{value:,.0f}")


def scale_of(unit: str, values: Iterable[float | None]) -> Scale:
    """One unit for all of `values`, so that a row of them can be compared by eye.

    unit: as stored: "s" becomes µs, ms or s; "bytes" a binary multiple; "share" a percentage.
    """
    largest = max((abs(v) for v in values if v is not None and is_present(v)), default=0.0)
    if unit == "s":
        if 0 < largest < 1e-3:
            return Scale("µs", 1e6)
        return Scale("ms", 1e3) if largest < 10 else Scale("s")
    if unit == "bytes":
        # 1000 and more would need a fourth digit: 1020 MiB is 0.996 GiB.
        fits = (power for power in range(len(_BYTES)) if largest < 1000 * 1024**power)
        power = next(fits, len(_BYTES) - 1)
        return Scale(_BYTES[power], 1024.0**-power)
    if unit == "share":
        return Scale("%", 100.0)
    return Scale(unit)


def scale_of_typical(
    unit: str, typical: Iterable[float | None], values: Iterable[float | None]
) -> Scale:
    """One unit for statistics of one metric: as suits its median, for one long stall would write
    every gap of milliseconds as a fraction of a second. typical: what to go by, or nothing: then
    all of `values`. µs only where all of them are below a millisecond."""
    every = [one for one in values if is_present(one)]
    known = [one for one in typical if is_present(one) and one]
    scale = scale_of(unit, known or every)
    longest = max((abs(one) for one in every if one is not None), default=0.0)
    return Scale("ms", 1e3) if scale.unit == "µs" and longest >= 1e-3 else scale


def quantity(value: float | None, unit: str) -> str:
    """A number with its unit, in the scale that suits it: (0.2104, "s") -> "210 ms"."""
    if unit == "s" and value is not None and is_present(value) and 1 <= abs(value) < 10:
        return Scale("s").quantity(value)  # alone, "1.24 s" reads better than "1 240 ms"
    scale = scale_of(unit, [value])
    if unit == "bytes" and value is not None and is_present(value) and value * scale.factor < 1000:
        # A pool of whole blocks is some bytes short of a round size: "1 GiB", as it was asked for.
        value = float(f"{value * scale.factor:.3g}") / scale.factor
    return scale.quantity(value)


def seconds(value: float | None) -> str:
    """A time: "210 ms", "1.24 s"."""
    return quantity(value, "s")


def size(value: float | None) -> str:
    """Bytes: "512 MiB"."""
    return quantity(value, "bytes")


def percent(share: float | None) -> str:
    """A share: 0.0321 -> "3.21 %". What is not all of it is not "100 %": 0.9998 -> "99.98 %"."""
    if share is not None and 0.9995 <= share < 1:
        return f"{min(100 * share, 99.99):.2f} %"
    return quantity(share, "share")


def rounded_percent(share: float, digits: int = 0, *, signed: bool = False) -> str:
    """A share to so many digits behind the point, in a sentence or a column of such: (0.0321, 1) ->
    "3.2 %", or signed "+3.2 %"."""
    value = round(100 * share, digits) + 0.0  # no "-0 %"
    return f"{value:{'+' if signed else ''}.{digits}f} %"


def duration(value: float | None) -> str:
    """A stretch of time a person waits: "48.2 s", "12 min 5 s"."""
    if value is None or not is_present(value) or value < 120:
        return seconds(value)
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(text: str | None) -> str:
    """An ISO 8601 time in UTC, to the minute: "2026-01-02 03:04"."""
    if text is None:
        return ABSENT
    return text[:16].replace("T", "\u00a0")


def batch_size(value: float | None) -> str:
    """Sequences in a step, also between two whole numbers: "2.7", "23"."""
    return ABSENT if value is None else f"{value:.2g}" if value < 10 else count(value)


def plural(amount: int, one: str, many: str = "") -> str:
    """ "1 request", "32 requests"."""
    return f"{count(amount)} {one if amount == 1 else many or one + 's'}"


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"; empty for none."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


# Of a longer list of settings the result holds the rest.
_LISTED = 30


def as_sentence(text: str, keeps: Callable[[str], bool] = lambda _: False) -> str:
    """A note, as a sentence: it begins large and has a full stop. keeps: whether its first word is
    a name, which keeps its spelling."""
    begun = text if keeps(text.partition(" ")[0]) else text[:1].upper() + text[1:]
    return begun if begun.endswith(".") else f"{begun}."


def setting(field: str, value: Any) -> str:
    """A configuration or environment value; the unit is in the field's name."""
    if value is None or value == "" or value == [] or value == {}:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        inner = (f"{key} {setting(f'{field}.{key}', item)}" for key, item in value.items())
        return ", ".join(inner)
    if isinstance(value, list | tuple):
        shown = ", ".join(setting(field, item) for item in value[:_LISTED])
        more = len(value) - _LISTED
        return f"{shown}, … and {more} more" if more > 0 else shown
    if isinstance(value, Real) and not isinstance(value, str):
        if field.endswith("_bytes"):
            return size(float(value))
        if field.endswith("_per_s"):
            return f"{float(value):g}/s"
        if field.endswith("_s"):
            return seconds(float(value))
        if field.endswith("seed"):
            return str(value)
        return count(float(value)) if float(value).is_integer() else f"{float(value):g}"
    return str(value)
