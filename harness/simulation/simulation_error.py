"""How wrong a simulated run may be, in words that every report of one carries."""

from __future__ import annotations

from ...engines.cost.calibrated import Calibration
from ...engines.cost.published import Comparison, compare_with_published

# By what share of the measured ones the latencies of our own engine came out too short on an H100
# (docs/simulation.md).
LATENCIES_TOO_SHORT = (0.07, 0.23)


def roofline_error() -> str:
    """The roofline against throughput that others measured: computed anew, not remembered."""
    fitted, _, _, h200, llama_70b = compare_with_published()
    held_out = _errors(fitted)
    worst = max(abs(error) for error in held_out)
    least, most = (f"{100 * share:.0f}" for share in LATENCIES_TOO_SHORT)
    return (
        "a roofline, held against TensorRT-LLM's published FP8 throughput: of Llama-3.1-8B on an "
        f"H100 within {_percent(worst)} on the {len(held_out)} shapes it was not fitted to, on an "
        f"H200 {_range(h200)}; of Llama-3.3-70B on two H100 {_range(llama_70b)}. Other models, "
        "devices and engines were not checked; latencies were on an H100, of our own engine: "
        f"{least} to {most} % too short"
    )


def worst_factor() -> float:
    """How far a simulated rate or time may be from the measured one, as a factor above 1: the worst
    of the published figures that nothing was fitted to. Of what was not checked no less
    can be believed."""
    errors = [error for part in compare_with_published() for error in _errors(part)]
    return max(max(1 + error, 1 / (1 + error)) for error in errors)


def is_below(value: float, limit: float, factor: float) -> bool | None:
    """Whether a simulated value is at most a limit; None within the factor, where the model's error
    alone may be what parts them."""
    if limit / factor < value < limit * factor:
        return None
    return value <= limit


def _range(part: Comparison) -> str:
    errors = _errors(part)
    return f"{_signed(min(errors))} to {_signed(max(errors))}"


def _errors(part: Comparison) -> list[float]:
    """Of the shapes that its factors were not fitted to."""
    return [made.error for made in part.predictions if not made.fitted]


def calibrated_error(calibration: Calibration, extrapolated_steps: int) -> str:
    """A calibration against the steps it left out and, where one was held against it, a run."""
    found = calibration.errors["all"]
    text = (
        f"step times fitted on {calibration.machine}: median error {_percent(found.median)}, p90 "
        f"{_percent(found.p90)}, bias {_signed(found.bias)} on {found.steps} steps left out of the "
        "fit"
    )
    if calibration.run_error:
        errors = calibration.run_error.items()
        parts = ", ".join(f"{name} {_signed(error)}" for name, error in errors)
        text += f"; on a run it has not seen: {parts}"
    else:
        text += "; not held against a whole run (llmbench calibrate --check RUN)"
    if extrapolated_steps:
        text += f"; {extrapolated_steps} steps were larger than any measured"
    return text


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _signed(error: float) -> str:
    return f"{100 * error:+.1f} %".replace("-", "\u2212")
