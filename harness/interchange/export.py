"""Which formats there are, and a run in one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ...engines.errors import ConfigError, unknown_name
from ..comparison.admissible import objections
from ..errors import InvalidRun
from ..storage.store import StoredRun
from .aiperf_export import to_aiperf
from .github_action import to_github_action
from .perfetto import trace_lines
from .table import to_csv
from .vllm_export import TextOf, to_vllm

FORMATS = {
    "vllm": "vllm bench serve --save-detailed",
    "aiperf": "aiperf's profile_export_aiperf.json",
    "github-action": "github-action-benchmark, customSmallerIsBetter",
    "github-action-bigger": "github-action-benchmark, customBiggerIsBetter",
    "perfetto": "steps and requests over time, for ui.perfetto.dev",
    "csv": "a row a number, for a spreadsheet",
}


def export(
    run: StoredRun, form: str, *, text_of: TextOf | None = None, allow_invalid: bool = False
) -> str:
    """The text of the file. text_of: token ids to text, where the format has a place for it.

    Raises ConfigError for an unknown format, and InvalidRun, unless allowed, for a run that proves
    nothing: no other format can say that it does not. A trace proves nothing either way.
    """
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    if form == "perfetto":
        return "".join(trace_lines(run))
    reasons = objections(run)
    if reasons and not allow_invalid:
        raise InvalidRun(f"{run.directory}: not valid, so not exported: {reasons[0]}")
    if form in ("vllm", "aiperf") and not len(run.requests):
        raise ConfigError("run", str(run.directory), f"a run with requests, for {form}")
    writers: dict[str, Callable[[], Any]] = {
        "vllm": lambda: to_vllm(run, text_of),
        "aiperf": lambda: to_aiperf(run),
        "github-action": lambda: to_github_action(run, "lower"),
        "github-action-bigger": lambda: to_github_action(run, "higher"),
    }
    if form == "csv":
        return to_csv(run)
    # NaN is not JSON, and no reader of these formats expects it.
    return json.dumps(writers[form](), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
