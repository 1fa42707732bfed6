"""Step times as measured steps had them: a few coefficients a part, and how well they held.

Made by `fit.py` from the steps of stored runs; see docs/calibration.md. It prices the engine, model
and machine it was measured on, and nothing else.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..finite import is_finite_number
from ..models.config import DTYPE_BYTES
from ..trace import PhaseTimes
from .features import DEVICE_PART_FEATURES, PART_FEATURES, labels
from .work import StepWork

VERSION = 1
_KIND = "llmbench-calibration"
# What `Calibration.seen` records the largest of.
RANGES = (
    "tokens",
    "prefill_pairs",
    "prefill_context_tokens",
    "decode_tokens",
    "decode_context_tokens",
)


@dataclass(frozen=True)
class FitError:
    """How predictions of held-out steps of one phase differ from what was measured.

    median, p90: of |predicted / measured - 1|. bias: sum of predicted over sum of measured, less
    one, so 0.02 is 2 % too slow. steps: how many were held out.
    """

    steps: int
    median: float
    p90: float
    bias: float


@dataclass(frozen=True)
class Calibration:
    """What is stored. model, machine, settings: what was measured, for whoever reads the file.

    steps: that the fit used, of all phases. knots: see `features.py`. coefficients: seconds a unit,
    by part and feature. errors: by phase (prefill, decode, mixed, all), on steps left out of the
    fit that they judge. seen: the largest of each quantity that was measured. run_error: predicted
    / measured - 1 of a whole run's means that the fit has not seen, by metric; empty: not checked.
    """

    model: str
    machine: str
    settings: dict[str, Any]
    steps: int
    knots: tuple[int, ...]
    coefficients: dict[str, dict[str, float]]
    errors: dict[str, FitError]
    seen: dict[str, float]
    window: int | None = None
    run_error: dict[str, float] = field(default_factory=dict)
    version: int = field(default=VERSION)

    def beyond(self, work: StepWork) -> list[str]:
        """The quantities of a step that are larger than any measured: its price extrapolates."""
        return [name for name in RANGES if getattr(work, name) > self.seen[name]]


class CalibratedCost:
    """Prices steps as the calibration's measured steps took; a `CostModel`."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        table = calibration.coefficients
        self._knots = calibration.knots
        self._schedule = _plain(table, "schedule_s")
        self._prepare = _plain(table, "prepare_s")
        self._attention = _plain(table, "attention_s")
        self._linear = _plain(table, "linear_s")
        self._sample = _plain(table, "sample_s")
        self._host = _plain(table, "host_s")
        slopes = [table["linear_s"][f"tokens>{knot}"] for knot in self._knots]
        # Time at each knot and the slope from there on.
        at_knot = [0.0]
        for index in range(1, len(self._knots)):
            width = self._knots[index] - self._knots[index - 1]
            at_knot.append(at_knot[-1] + width * slopes[index - 1])
        self._pieces = list(zip(self._knots, at_knot, slopes, strict=True))

    def price(self, work: StepWork) -> PhaseTimes:
        """Predicted times of one step; an empty one takes what choosing it takes.

        Raises ConfigError for a step that swaps: calibration has measured none.
        """
        if work.swap_tokens:
            raise ConfigError(
                "swap_tokens",
                work.swap_tokens,
                "0: a calibration has measured no swap; preempt by recomputing, or use a roofline",
            )
        tokens = work.prefill_tokens + work.decode_tokens
        if not tokens:
            return PhaseTimes(schedule_s=_dot(self._schedule, work))
        knot, at_knot_s, slope = self._pieces[bisect_right(self._knots, tokens) - 1]
        return PhaseTimes(
            schedule_s=_dot(self._schedule, work),
            prepare_s=_dot(self._prepare, work),
            attention_s=_dot(self._attention, work),
            linear_s=at_knot_s + (tokens - knot) * slope + _dot(self._linear, work),
            sample_s=_dot(self._sample, work),
            host_s=_dot(self._host, work),
        )


# A constant, and the coefficient of each field of StepWork by its place.
_Plain = tuple[float, tuple[tuple[int, float], ...]]


def _plain(table: Mapping[str, Mapping[str, float]], part: str) -> _Plain:
    row = table.get(part, {})
    places = {name: place for place, name in enumerate(StepWork._fields)}
    terms = tuple((places[name], value) for name, value in row.items() if name in places and value)
    return row.get("constant", 0.0), terms


def _dot(plain: _Plain, work: StepWork) -> float:
    total, terms = plain
    for place, coefficient in terms:
        total += coefficient * work[place]
    return total


def calibration_text(calibration: Calibration) -> str:
    """Of its file, which `load_calibration` reads: JSON."""
    return json.dumps({"kind": _KIND, **asdict(calibration)}, indent=2, allow_nan=False) + "\n"


def load_calibration(path: Path) -> Calibration:
    """Read a file of `calibration_text`. Raises ConfigError for `calibration`."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problem = f"a file that can be read ({error.strerror})"
        raise ConfigError("calibration", str(path), problem) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError("calibration", str(path), f"a JSON file ({error})") from error
    if not isinstance(data, dict) or data.pop("kind", None) != _KIND:
        raise ConfigError("calibration", str(path), "a file that `llmbench calibrate` wrote")
    if data.get("version") != VERSION:
        raise ConfigError("calibration version", data.get("version"), f"{VERSION}; calibrate again")
    try:
        data["knots"] = _knots(data["knots"])
        data["errors"] = {name: FitError(**row) for name, row in data["errors"].items()}
        calibration = Calibration(**data)
        _check(calibration)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError("calibration", str(path), f"a whole file ({error!r})") from error
    return calibration


def _knots(found: list[Any]) -> tuple[int, ...]:
    """In order, for steps are looked up between them; the first is one token."""
    if not all(type(one) is int for one in found) or found != sorted({1, *found}):
        raise _wrong("knots", found, "whole numbers from 1 on, in order")
    return tuple(found)


def _check(calibration: Calibration) -> None:
    """Every number that is read is there and is one; every coefficient that `price` reads, too, and
    is a time."""
    device = "attention_s" not in calibration.coefficients
    for part, features in (DEVICE_PART_FEATURES if device else PART_FEATURES).items():
        row = calibration.coefficients[part]
        for name in labels(features, calibration.knots):
            if not (is_finite_number(row[name]) and row[name] >= 0):
                raise _wrong(f"{part}.{name}", row[name], "a number of at least 0")
    numbers = {f"seen.{name}": calibration.seen[name] for name in RANGES}
    numbers |= {f"run_error.{name}": value for name, value in calibration.run_error.items()}
    for phase, error in {"all": calibration.errors["all"], **calibration.errors}.items():
        numbers |= {f"errors.{phase}.{name}": value for name, value in asdict(error).items()}
        if type(error.steps) is not int:
            raise _wrong(f"errors.{phase}.steps", error.steps, "a whole number")
    for name, value in numbers.items():
        if not is_finite_number(value):
            raise _wrong(name, value, "a finite number")
    _check_settings(calibration.settings)


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Those that a simulation takes over."""
    if settings["dtype"] not in DTYPE_BYTES:
        raise _wrong("settings.dtype", settings["dtype"], ", ".join(DTYPE_BYTES))
    group_size = settings.get("group_size")
    if group_size is not None and type(group_size) is not int:
        raise _wrong("settings.group_size", group_size, "a whole number or null")
    for name in ("device", "model_impl"):
        if not isinstance(settings.get(name), str | None):
            raise _wrong(f"settings.{name}", settings[name], "a text or null")
    for name in ("force_kernels", "run_ids"):
        texts = settings.get(name, [])
        if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
            raise _wrong(f"settings.{name}", texts, "a list of texts")


def _wrong(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"calibration {name}", value, allowed)
