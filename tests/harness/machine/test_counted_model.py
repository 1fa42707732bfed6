"""What the steps of a model that is loaded read."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from llmbench.engines.cost.shapes import resolve_shape
from llmbench.engines.cost.work import model_work
from llmbench.engines.models.decoder import Decoder
from llmbench.harness.machine.counted_model import as_it_runs

WORK = model_work(replace(resolve_shape("smollm2-135m"), dtype="bfloat16"))
HEAD = 49152 * 576


class Reads:
    """A model that reads less of its output projection for up to `rows` greedy rows."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def head_bytes(self, rows: int, argmax_only: bool = False) -> int:
        return HEAD + 1000 * rows if argmax_only and rows <= self._rows else 2 * HEAD


def test_what_greedy_steps_read_is_the_models_to_say() -> None:
    screened = as_it_runs(WORK, cast("Decoder", Reads(rows=3)))
    assert screened == replace(
        WORK, greedy_head_bytes=(HEAD + 1000.0, HEAD + 2000.0, HEAD + 3000.0)
    )
    assert as_it_runs(WORK, cast("Decoder", Reads(rows=0))) == WORK
