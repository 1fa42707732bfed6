"""How wrong the client is, by load: what `llmbench calibrate-client` measured on this machine, and
what of it belongs to a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engines.errors import ConfigError
from ...engines.models.catalogue import cache_directory
from ..result import ClientError, ErrorOf
from ..run.record import RequestRecord
from ..run.validity import served_of

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Load:
    """What a client is kept busy with."""

    streams: float
    chunks_per_s: float
    requests_per_s: float


@dataclass(frozen=True)
class CalibratedLoad:
    """One point of the grid: the load as it came about, and the errors of each latency as a
    mapping {p50_s, p99_s, bias_s}. valid: whether the client's own checks let a run of it pass."""

    load: Load
    ttft: dict[str, float]
    itl: dict[str, float]
    e2el: dict[str, float]
    loop_lag_p99_s: float
    cpu_share: float
    valid: bool
    why: str = ""


@dataclass(frozen=True)
class ClientCalibration:
    """All points, of one machine. cpu: its model; another machine's errors are others."""

    cpu: str
    measured_at: str
    processes: int
    points: tuple[CalibratedLoad, ...]

    def as_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}


def default_path() -> Path:
    """Where runs look for it."""
    return cache_directory() / "client-calibration.json"


def read_calibration(path: Path) -> ClientCalibration:
    """Raises ConfigError for `client_calibration`: no such file, or another's."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"another schema_version than {SCHEMA_VERSION}")
        points = tuple(
            CalibratedLoad(**{**point, "load": Load(**point["load"])})
            for point in data.pop("points")
        )
        if not points:
            raise ValueError("it holds no load")
        return ClientCalibration(points=points, **data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        allowed = f"a file that llmbench calibrate-client wrote ({error})"
        raise ConfigError("client_calibration", str(path), allowed) from error


def load_of(requests: Sequence[RequestRecord]) -> Load | None:
    """What a run kept its client busy with in the middle half of its time, where it neither fills
    nor drains; None where nothing was served."""
    served = served_of(requests)
    if not served:
        return None
    begins_s = np.array([one.t_send_s for one in served])
    ends_s = np.array([one.token_times_s[-1] for one in served])
    first_s, last_s = float(begins_s.min()), float(ends_s.max())
    quarter_s = max((last_s - first_s) / 4, 1e-9)
    low_s, high_s = first_s + quarter_s, last_s - quarter_s
    stays_s = np.clip(np.minimum(ends_s, high_s) - np.maximum(begins_s, low_s), 0.0, None)
    chunks_s = np.concatenate([np.asarray(one.chunk_times_s) for one in served])

    def rate(times_s: NDArray[np.float64]) -> float:
        return float(((times_s > low_s) & (times_s <= high_s)).sum() / (2 * quarter_s))

    return Load(float(stays_s.sum()) / (2 * quarter_s), rate(chunks_s), rate(begins_s))


def error_at(found: ClientCalibration, load: Load, processes: int) -> ClientError:
    """The errors at the smallest calibrated load that is as large in every respect, shared by the
    run's processes; of the largest, marked, where none is."""
    share = found.processes / processes
    here = Load(load.streams * share, load.chunks_per_s * share, load.requests_per_s * share)
    by_size = sorted(found.points, key=lambda point: point.load.chunks_per_s)
    enough = [point for point in by_size if _covers(point.load, here)]
    point = enough[0] if enough else by_size[-1]
    return ClientError(
        chunks_per_s=point.load.chunks_per_s,
        requests_per_s=point.load.requests_per_s,
        streams=round(point.load.streams),
        ttft=ErrorOf(**point.ttft),
        itl=ErrorOf(**point.itl),
        e2el=ErrorOf(**point.e2el),
        measured_at=found.measured_at,
        beyond=not enough,
    )


def widened(found: ClientError, loop_lag_p99_s: float) -> ClientError:
    """No surer than this run's own loop: what came while it was held was seen when it was free, and
    the calibration was made on another day, perhaps on a quieter machine."""
    errors = (found.ttft, found.itl, found.e2el)
    if all(loop_lag_p99_s <= one.p99_s for one in errors):
        return found
    ttft, itl, e2el = (
        one.model_copy(update={"p99_s": max(one.p99_s, loop_lag_p99_s)}) for one in errors
    )
    return found.model_copy(update={"ttft": ttft, "itl": itl, "e2el": e2el, "widened": True})


def _covers(point: Load, load: Load) -> bool:
    """A tenth more than was calibrated is about the same load."""
    return (
        load.chunks_per_s <= 1.1 * point.chunks_per_s
        and load.requests_per_s <= 1.1 * point.requests_per_s
        and load.streams <= 1.1 * point.streams
    )
