"""Peers that measure nothing: they say when they are started, stopped and asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmbench.harness.peers.base import PeerError, ServedModel, Started, Variant
from llmbench.harness.peers.figures import RequestTimes
from llmbench.harness.peers.workload import Job

STARTED = Started({"fake": "1"}, "no settings", "fake --serve")


@dataclass
class FakePeer:
    """step_s: between two tokens. fails: what it says instead of starting. breaks_at: the job,
    counted from 1, at which it fails. told: what happened, in order."""

    name: str
    told: list[str]
    step_s: float = 0.5
    fails: str = ""
    breaks_at: int = 0
    jobs: int = 0
    weights: tuple[str, ...] = ("W16",)
    precisions: dict[str, str] = field(default_factory=lambda: {"W16": "bf16"})
    versions: dict[str, str] = field(default_factory=lambda: dict(STARTED.versions))

    def variants(self) -> tuple[Variant, ...]:
        return tuple(Variant(self.name, self.precisions[one], one) for one in self.weights)

    def missing(self) -> str | None:
        return None

    @contextmanager
    def serve(self, variant: Variant, model: ServedModel, log: Path) -> Iterator[FakePeer]:  # noqa: ARG002
        if self.fails:
            raise PeerError(self.fails)
        self.told.append(f"start {variant.name}")
        yield self
        self.told.append(f"stop {variant.name}")

    @property
    def started(self) -> Started:
        return replace(STARTED, versions=self.versions)

    def run(self, job: Job) -> tuple[RequestTimes, ...]:
        self.jobs += 1
        self.told.append(self.name)
        if self.jobs == self.breaks_at:
            raise PeerError("out of memory")
        times = tuple(1.0 + self.step_s * n for n in range(job.output_tokens))
        return tuple(RequestTimes(0.0, len(prompt), times) for prompt in job.prompts)
