"""One side: a process that loads a model once and then serves a short plan whenever it is asked.

Started as ``python -m llmbench.harness.ab.worker`` with the tree to measure on its path. Between
trials it is blocked on its input. What the model's code prints goes to standard error.
"""

from __future__ import annotations

import math
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from ...engines.errors import ConfigError, OutOfMemory
from ...workloads.api import WorkloadError
from ..errors import InvalidRun
from .protocol import PROTOCOL, ErrorKind, SideIdentity, Trial, decode, encode

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..run.drive import Observation
    from ..run.experiment import Prepared


class _LostError(Exception):
    """The engine can serve no other trial."""


class Worker:
    """The side's engine, kept between trials."""

    def __init__(self, settings: RunConfig) -> None:
        from ...engines.assemble import build_engine
        from ...engines.clock import WallClock
        from ..run.drive import drive
        from ..run.experiment import load, prepare
        from ..run.watch import Silent

        prepared = prepare(settings, Silent())
        # A trial's requests are planned beside an engine that has taken its room: the default would
        # be what is left.
        room = prepared.engine.kv_memory_bytes
        self._settings = replace(settings, engine=replace(settings.engine, kv_memory_bytes=room))
        loaded = load(prepared, Silent())
        self._clock = WallClock()
        self._core = build_engine(loaded, prepared.engine, self._clock)
        if prepared.warmup.requests:
            drive(self._core, self._clock, prepared.warmup)
        self.identity = _who(prepared)

    def trial(self, seed: int, num_requests: int) -> Trial:
        """Serve the plan of that seed. Raises InvalidRun for one whose numbers prove nothing, and
        _LostError for one that was cut off: what it left in the engine would be the next one's."""
        from ..run.drive import drive
        from ..run.experiment import asked_of, prepare
        from ..run.validity import check_complete, check_errors, check_token_counts, check_trace
        from ..run.watch import Silent

        load = replace(self._settings.load, num_requests=num_requests)
        plan = prepare(replace(self._settings, seed=seed, load=load), Silent()).plan
        # Prompts of one corpus begin alike: a later trial would find more of its own in the cache.
        self._core.strategy.kv.forget_names()
        seen = drive(self._core, self._clock, plan)
        if seen.interrupted:
            raise _LostError(seen.failure or "interrupted")
        for check in (
            check_complete(seen.records, interrupted=False),
            check_errors(seen.records),
            check_token_counts(seen.records, asked_of(plan).output_tokens),
            check_trace(seen.records, seen.steps),
        ):
            if not check.ok:
                raise InvalidRun(check.detail)
        return Trial(plan.fingerprint(), seen.duration_s, _values(seen, self._settings.slo_s))


def _who(prepared: Prepared) -> SideIdentity:
    from ..machine.environment import package_version

    return SideIdentity(
        prepared.config.label,
        package_version("llmbench") or "not installed",
        len(prepared.plan.requests),
        {
            "model": prepared.files.name,
            "slo": dict(prepared.config.slo_s),
            **asdict(prepared.engine),
        },
    )


def _values(seen: Observation, slo: Mapping[str, float]) -> dict[str, float]:
    """Every quantity of a whole trial that is a number, by name."""
    from ..result import Window
    from ..run.replies import metrics_of

    whole = Window(start_s=0.0, end_s=seen.duration_s, method="the whole trial")
    metrics = metrics_of(seen.records, whole, seen.duration_s, slo)
    return {
        f"{name}.{stat}": value
        for name, metric in metrics.items()
        for stat, value in metric.stats.items()
        if math.isfinite(value)
    }


def replies(messages: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The reply to each message, until one says stop."""
    worker: Worker | None = None
    for line in messages:
        try:
            message = decode(line)
            match message.get("op"):
                case "stop":
                    return
                case "prepare":
                    worker = _prepare(message)
                    yield {"ok": True, "protocol": PROTOCOL, **asdict(worker.identity)}
                case "trial" if worker is not None:
                    trial = worker.trial(int(message["seed"]), int(message["num_requests"]))
                    yield {"ok": True, **asdict(trial)}
                case other:
                    raise ConfigError("op", other, "prepare, and then trial or stop")
        except (ConfigError, WorkloadError) as error:
            yield _failed("usage", error)
        except InvalidRun as error:
            yield _failed("invalid", error)
        except (OutOfMemory, _LostError) as error:
            yield _failed("lost", error)
        except Exception as error:  # noqa: BLE001 -- a process's last words: the host says them
            traceback.print_exc()
            yield _failed("crash", error)


def _prepare(message: Mapping[str, Any]) -> Worker:
    from ..options.words import run_settings

    if message.get("protocol") != PROTOCOL:
        raise ConfigError(
            "protocol", message.get("protocol"), f"{PROTOCOL}, which this tree speaks"
        )
    settings = run_settings([str(word) for word in message["options"]], str(message["field"]))
    return Worker(replace(settings, quality_tokens=0))


def _failed(kind: ErrorKind, error: Exception) -> dict[str, Any]:
    said = str(error) if kind != "crash" else f"{type(error).__name__}: {error}"
    return {"ok": False, "kind": kind, "error": " ".join(said.split())}


def serve(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Answer until the input ends."""
    for reply in replies(iter(incoming.readline, b"")):
        outgoing.write(encode(reply))
        outgoing.flush()


def main() -> None:
    # The replies have standard output for themselves; whatever else is printed must not be one.
    with os.fdopen(os.dup(1), "wb") as outgoing:
        os.dup2(2, 1)
        serve(sys.stdin.buffer, outgoing)


if __name__ == "__main__":
    main()
