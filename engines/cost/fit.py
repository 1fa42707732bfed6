"""Fits a calibration to measured steps: non-negative least squares, relative and robust.

Each part of a step's time is fitted by itself (so that a simulated step has phases) with residuals
relative to the whole step's time (so that a step of 2 ms weighs as one of 2 s, and errors of parts
add up). Coefficients are never negative: a step does not get faster by more work.

On a machine shared with others some steps take several times as long as the same work usually does.
Huber's loss (Huber, 1964), by reweighting, keeps them from bending the fit: residuals beyond 2.5
robust standard deviations (1.4826 x median absolute deviation) pull with a constant force. What is
predicted is therefore near the usual time; `bias` of the held-out steps says what that leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .calibrated import RANGES, CalibratedCost, Calibration, FitError
from .features import DEVICE_PART_FEATURES, PART_FEATURES, explain, labels, usable_knots
from .work import StepWork

if TYPE_CHECKING:
    import numpy as np

MIN_STEPS = 100
MIN_STEPS_A_PHASE = 20
MIN_STEPS_A_PIECE = 8
HELD_OUT = 5  # every fifth step
_HUBER = 2.5
_ROUNDS = 8


@dataclass(frozen=True)
class MeasuredStep:
    """A step's work and where its time went. parts: seconds by the names of `PART_FEATURES`;
    duration_s: the whole step, of which the parts are the sum."""

    work: StepWork
    duration_s: float
    parts: Mapping[str, float]

    @property
    def phase(self) -> str:
        if self.work.prefill_tokens and self.work.decode_tokens:
            return "mixed"
        return "prefill" if self.work.prefill_tokens else "decode"


def fit_calibration(
    steps: Sequence[MeasuredStep],
    *,
    model: str,
    machine: str,
    settings: Mapping[str, Any],
    window: int | None = None,
) -> Calibration:
    """The calibration of these steps; its errors are of a fit that left out every fifth of them.

    Raises ConfigError where there are too few steps, with the numbers.
    """
    steps = [step for step in steps if step.work.tokens and step.duration_s > 0]
    _check_enough(steps)
    judged = [step for index, step in enumerate(steps) if index % HELD_OUT == HELD_OUT - 1]
    kept = [step for index, step in enumerate(steps) if index % HELD_OUT != HELD_OUT - 1]

    def made_of(used: Sequence[MeasuredStep], errors: dict[str, FitError]) -> Calibration:
        knots = usable_knots([step.work.tokens for step in used], MIN_STEPS_A_PIECE)
        return Calibration(
            model=model,
            machine=machine,
            settings=dict(settings),
            steps=len(used),
            knots=knots,
            coefficients=_coefficients(used, knots),
            errors=errors,
            seen={name: max(getattr(step.work, name) for step in used) for name in RANGES},
            window=window,
        )

    errors = prediction_errors(made_of(kept, {}), judged)
    return made_of(steps, errors)


def prediction_errors(
    calibration: Calibration, steps: Sequence[MeasuredStep]
) -> dict[str, FitError]:
    """Errors of the predicted step time by phase and over `all`; a phase may be absent."""
    import numpy as np

    cost = CalibratedCost(calibration)
    by_phase: dict[str, list[tuple[float, float]]] = {}
    for step in steps:
        pair = (cost.price(step.work).total_s, step.duration_s)
        for phase in (step.phase, "all"):
            by_phase.setdefault(phase, []).append(pair)
    found = {}
    for phase in ("prefill", "decode", "mixed", "all"):
        if pairs := by_phase.get(phase):
            predicted, measured = np.array(pairs).T
            relative = np.abs(predicted / measured - 1)
            found[phase] = FitError(
                steps=len(pairs),
                median=float(np.median(relative)),
                p90=float(np.quantile(relative, 0.9)),
                bias=float(predicted.sum() / measured.sum() - 1),
            )
    return found


def _check_enough(steps: Sequence[MeasuredStep]) -> None:
    prefill = sum(step.work.prefill_tokens > 0 for step in steps)
    decode = sum(step.work.decode_tokens > 0 for step in steps)
    if len(steps) < MIN_STEPS or min(prefill, decode) < MIN_STEPS_A_PHASE:
        raise ConfigError(
            "calibration",
            f"{len(steps)} steps, {prefill} with prefill tokens, {decode} with decodes",
            f"at least {MIN_STEPS} steps, {MIN_STEPS_A_PHASE} with prefill tokens and "
            f"{MIN_STEPS_A_PHASE} with decodes; run more requests",
        )


def _coefficients(
    steps: Sequence[MeasuredStep], knots: Sequence[int]
) -> dict[str, dict[str, float]]:
    import numpy as np

    device = not any(step.parts["attention_s"] for step in steps)
    durations_s = np.array([step.duration_s for step in steps])
    found = {}
    for part, features in (DEVICE_PART_FEATURES if device else PART_FEATURES).items():
        times_s = np.array([step.parts[part] for step in steps])
        if device and part == "linear_s":
            # Launches return early: the device's time is waited for when its tokens are copied.
            times_s = times_s + np.array([step.parts["sample_s"] for step in steps])
        design = np.array([explain(step.work, features, knots) for step in steps])
        solved = _robust_nnls(design, times_s, durations_s)
        found[part] = dict(zip(labels(features, knots), map(float, solved), strict=True))
    return found


def _robust_nnls(design: np.ndarray, times_s: np.ndarray, durations_s: np.ndarray) -> np.ndarray:
    """Coefficients [features] >= 0 of design [steps, features] @ coefficients ~ times_s [steps]."""
    import numpy as np
    from scipy.optimize import nnls

    rows, target = design / durations_s[:, None], times_s / durations_s
    # Features differ by nine orders of magnitude; columns of like size keep the solver exact.
    size = np.linalg.norm(rows, axis=0)
    size[size == 0] = 1.0
    rows = rows / size
    root_weight = np.ones(len(rows))
    solved = np.zeros(rows.shape[1])
    for _ in range(_ROUNDS):
        solved, _norm = nnls(rows * root_weight[:, None], target * root_weight)
        residual = np.abs(rows @ solved - target)
        spread = 1.4826 * np.median(residual)
        if not spread:
            break
        root_weight = np.sqrt(np.minimum(1.0, _HUBER * spread / np.maximum(residual, 1e-300)))
    return solved / size
