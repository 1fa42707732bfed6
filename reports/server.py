"""What is said of a run against a server that is not ours: what was not seen, and by how much what
was seen may be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .facts import counted_as, may_end_early, served
from .format import count, percent, plural, quantity, seconds
from .glossary import label_of
from .model import Note, Run, Table
from .tables import table

ERROR_OF = ("ttft", "itl", "e2el")


def note(run: Run, target: Mapping[str, Any]) -> Note:
    """What is known of it, and how well. target: the result's."""
    text = "Measured over HTTP: steps, KV cache and memory are the server's own and not seen. "
    error = run.result.get("client_error")
    split = target["counted"].get("split", 0)
    unknown = target["counted"].get("total", 0) + split
    if error is None:
        text += "The client's own error on this machine is not known: llmbench calibrate-client."
    else:
        parts = [f"{label_of(one)} ± {seconds(error[one]['p99_s'])}" for one in ERROR_OF]
        since = str(error["measured_at"])[:10]
        text += f"The client's own error at about this load (p99, calibrated {since}): "
        text += f"{', '.join(parts)}."
        if error.get("widened"):
            text += " Its loop lagged by more than that in this run: ± is the lag where it is more."
        if error["beyond"]:
            text += " The load was larger than any that was calibrated."
    if unknown:
        text += (
            f" {plural(unknown, 'reply', 'replies')} told only the total of tokens, and so have no "
            "ITL."
        )
    if split:
        text += (
            f" {count(split)} of them came in more chunks than tokens: theirs are spread over "
            "them, from the first to the last."
        )
    is_known = error is not None and not error["beyond"] and not unknown
    return Note(text, "plain" if is_known else "caution")


def lengths(run: Run, target: Mapping[str, Any]) -> Note | None:
    """That replies could be shorter than asked, and how much they were; None where they had to be
    as long. target: the result's."""
    if not may_end_early(run):
        return None
    replies = run.result["counters"]["requests_ok"]
    return Note(
        f"Replies could end early (output_lengths: at-most): {count(target['ended_early'])} of "
        f"{count(replies)} did, and {tokens_text(run, target)} asked for came. Throughput and E2EL "
        "are of these lengths: they compare with those of a run whose replies were as long.",
        "caution",
    )


def tokens_text(run: Run, target: Mapping[str, Any]) -> str:
    """`180 of 288 tokens`, of the served requests."""
    came = int(served(run)["output_tokens"].sum())
    return f"{count(came)} of {plural(target['asked_output_tokens'], 'token')}"


def errors(run: Run) -> Table | None:
    """Requests that a server failed, by label; None where none did."""
    target = run.result.get("target")
    if target is None or not target["errors"]:
        return None
    rows = [(name.replace("_", " "), count(failed)) for name, failed in target["errors"].items()]
    many = counted_as(run.result["config"])[1]
    return table("errors", f"Failed {many} by cause", ("Cause", many.capitalize()), rows)


def client(run: Run) -> Table | None:
    """How busy the client was, and how wrong it may be; None of a run without one."""
    found = run.result.get("client")
    if found is None:
        return None
    rows = [
        ("Processes", count(found["processes"])),
        ("Connections", count(found["connections"])),
        ("Event loop's lag, p50", seconds(found["loop_lag_p50_s"])),
        ("Event loop's lag, p99", seconds(found["loop_lag_p99_s"])),
        ("Send lag, p99", seconds(found["send_lag_p99_s"])),
        ("Share of a core", percent(found["cpu_share"])),
    ]
    error = run.result.get("client_error")
    text = "The client has not been calibrated on this machine."
    if error is not None:
        rows += [
            (f"Error in {label_of(one)}: p50, p99, bias", _error(error[one])) for one in ERROR_OF
        ]
        text = (
            f"Error: |seen − true| against a server of known truth, at "
            f"{count(error['chunks_per_s'])} chunks/s over {count(error['streams'])} streams, "
            f"calibrated {str(error['measured_at'])[:10]}."
        )
    return table("client", "The client", ("What", "Value"), rows, note=text)


def _error(of: Mapping[str, Any]) -> str:
    return " / ".join(quantity(of[name], "s") for name in ("p50_s", "p99_s", "bias_s"))
