"""Where 4 bits stop winning, and why, in words."""

from __future__ import annotations

from collections.abc import Sequence

from ...reports.format import batch_size, rounded_percent
from ...reports.frontier_model import Crossing
from .methods import PLAIN, says
from .turning import Curve


def sentence(
    method: str,
    against: str,
    batches: Sequence[int],
    speed_ups: Sequence[float],
    measured: Crossing,
) -> str:
    """The measured turning point."""
    other = _name(against)
    ends = f"{speed_ups[0]:.2f}× at batch {batches[0]}, {speed_ups[-1]:.2f}× at {batches[-1]}"
    if measured.kind == "never":
        return f"{method} never wins against {other}: {ends}."
    since = ""
    if measured.wins_from is not None and measured.wins_from > batches[0]:
        since = f" from batch {measured.wins_from:.0f} on"
    if measured.lost_at:
        since += f" (but not at {', '.join(map(str, measured.lost_at))})"
    if measured.kind == "beyond":
        return (
            f"{method} wins against {other}{since} up to batch {batches[-1]}, the largest "
            f"measured: {ends}."
        )
    return (
        f"{method} wins against {other}{since} up to batch {batch_size(measured.batch)}, "
        f"interpolated: {ends}."
    )


def unsteady(method: Curve, other: Curve, most: float) -> str:
    """What is added where the passes of either differ by more than `most`; else nothing."""
    spread = max(*method.spreads, *other.spreads)
    if spread <= most:
        return ""
    differ = f"differ by up to {rounded_percent(spread)}"
    return f" Two passes over these steps {differ}: do not rely on it."


def why(
    method: tuple[str, Curve],
    other: tuple[str, Curve],
    floor: Crossing,
    reached: Crossing | None,
    bytes_per_s: float,
) -> str:
    """The reason by the roofline: bytes over bandwidth against operations over rate."""
    (name, ours), (against, theirs) = method, other
    batch = ours.batches[0]
    fewer = ours.bytes_moved.at(batch) / theirs.bytes_moved.at(batch)
    text = [
        f"At batch {batch}, {name} moves {fewer:.2f} times the bytes of {_name(against)} and takes "
        f"{theirs.speed_up[0] / ours.speed_up[0]:.2f} times as long; its shortest step reaches "
        f"{rounded_percent(ours.reached_bytes_per_s / bytes_per_s)} of the machine's bandwidth and "
        f"{_name(against)}'s {rounded_percent(theirs.reached_bytes_per_s / bytes_per_s)}."
    ]
    ours_flops, theirs_flops = ours.reached_flops_per_s, theirs.reached_flops_per_s
    if ours_flops is not None and theirs_flops is not None:
        text.append(
            f"Operations are as many either way, and on a prompt it computes them "
            f"{ours_flops / theirs_flops:.2f} times as fast."
        )
    arithmetic = f"{ours.flops_per_s / 1e9:.0f} GFLOP/s"
    # Of one arithmetic the two differ by the noise of measuring; of two, by half or more.
    if max(ours.flops_per_s, theirs.flops_per_s) > 1.3 * min(ours.flops_per_s, theirs.flops_per_s):
        arithmetic += f" ({_name(against)}: {theirs.flops_per_s / 1e9:.0f})"
    text.append(
        f"With both at the machine's {bytes_per_s / 1e9:.1f} GB/s and {arithmetic}, "
        f"{_predicted(floor, ours, bytes_per_s, ours.flops_per_s)}"
    )
    if reached is not None and ours_flops is not None:
        rates = (ours.reached_bytes_per_s, ours_flops)
        text.append(f"At the rates that each of them reached, {_predicted(reached, ours, *rates)}")
    return " ".join(text)


def _predicted(crossing: Crossing, method: Curve, bytes_per_s: float, flops_per_s: float) -> str:
    """Where the gain is used up, and by what."""
    if crossing.kind == "never":
        return "it never wins."
    batch = crossing.batch
    if crossing.kind == "beyond" or batch is None:
        return f"it wins at any batch up to {batch_size(batch)}."
    by = "keys and values are nearly all that is read"
    if method.flops.at(batch) / flops_per_s > method.bytes_moved.at(batch) / bytes_per_s:
        by = "its operations take longer than its bytes"
    return f"the gain is used up at batch {batch_size(batch)}, where {by}."


def _name(method: str) -> str:
    """ "none" is no name inside a sentence."""
    return says(method) if method == PLAIN else method
