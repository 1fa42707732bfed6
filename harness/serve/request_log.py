"""A line of JSON for each choice of a request: the server's view, to hold a client's against."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from ...engines.clock import Clock
from ..storage.whole_file import writing
from .lives import TAKEN_BACK, Life, StepSeen


class RequestLog:
    """Appends to a file. Times are seconds since the epoch, so that another process' compare."""

    def __init__(self, path: Path, clock: Clock, warn: Callable[[str], None]) -> None:
        """warn: told one line if the file can no longer be written, after which nothing is. Raises
        StoreError for `request_log` where it cannot be opened."""
        with writing("request_log", path):
            # A line at a time: a server that is killed has said all that it knew.
            self._file: TextIO | None = path.open("a", encoding="utf-8", buffering=1)
        self._path = path
        self._warn = warn
        self._epoch_s = time.time() - clock.now()

    def step(self, seen: StepSeen, output_tokens: int) -> None:
        pass

    def scheduled(self, life: Life) -> None:
        pass

    def ended(self, life: Life) -> None:
        for choice, finish in enumerate(life.finish):
            tokens = life.tokens[choice]
            line = {
                "request_id": life.request_id,
                "client_request_id": life.client_name,
                "choice": choice,
                "finish": str(finish or TAKEN_BACK),
                "t_arrival_s": self._at(life.arrival_s),
                "t_scheduled_s": self._at(life.scheduled_s),
                "t_first_s": self._at(life.first_s[choice] if tokens else None),
                "t_end_s": self._at(life.last_s[choice] if tokens else None),
                "input_tokens": life.prompt_tokens,
                "output_tokens": tokens,
            }
            self._write(json.dumps(line, allow_nan=False) + "\n")

    def idle(self) -> None:
        pass

    def _write(self, line: str) -> None:
        """Replies go on where a disk is full: what cannot be logged is said once."""
        if self._file is None:
            return
        try:
            self._file.write(line)
        except OSError as error:
            with suppress(OSError):
                self._file.close()
            self._file = None
            why = error.strerror or error
            self._warn(f"request_log: {str(self._path)!r} cannot be written from now on: {why}")

    def _at(self, time_s: float | None) -> float | None:
        return None if time_s is None else round(self._epoch_s + time_s, 6)
