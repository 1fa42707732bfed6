"""What a peer is: rows of a table that it can fill, and a way to start it for one of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...engines.models.catalogue import ModelFiles
from .figures import RequestTimes
from .workload import Job

PRECISIONS = ("bf16", "int8", "int4")
"""What a weight of a linear map is stored in; each format's name stands beside it."""


class PeerError(Exception):
    """A peer that cannot be measured: not installed, or it failed. `str()` is one line."""


@dataclass(frozen=True)
class Variant:
    """One row: an engine with weights of one precision. weights: the format's own name."""

    engine: str
    precision: str
    weights: str

    @property
    def name(self) -> str:
        return f"{self.engine} {self.weights}"


@dataclass(frozen=True)
class ServedModel:
    """The model that everyone serves. directory: its Hugging Face directory. name: as asked for.
    identity: hex digits that change with its files. scratch: where what peers make of it (another
    file format) is kept."""

    name: str
    directory: Path
    identity: str
    scratch: Path

    @classmethod
    def of(cls, files: ModelFiles, scratch: Path) -> ServedModel:
        from ...engines.quantization.identity import files_identity

        return cls(files.name, files.directory, files_identity(files.directory), scratch)

    def made(self, weights: str) -> Path:
        """Where the model is kept in another format. Directories of different models often have one
        name (a hub's snapshots, the outputs of a training), and one may get other weights."""
        return self.scratch / f"{self.directory.name}-{self.identity}-{weights}"


@dataclass(frozen=True)
class Started:
    """What a peer said of itself. settings: in words. command: how it was started."""

    versions: Mapping[str, str]
    settings: str
    command: str

    @property
    def said_versions(self) -> str:
        return ", ".join(f"{name} {number}" for name, number in self.versions.items())


class Serving(Protocol):
    """An engine that is up and idle between jobs."""

    @property
    def started(self) -> Started: ...

    def run(self, job: Job) -> tuple[RequestTimes, ...]:
        """Send the requests together, wait for all; times in the prompts' order. Raises PeerError
        where the engine fails."""
        ...


class Peer(Protocol):
    """An engine that can be measured beside others."""

    @property
    def name(self) -> str: ...

    def variants(self) -> tuple[Variant, ...]:
        """The rows it can fill, on a machine where it is installed."""
        ...

    def missing(self) -> str | None:
        """Why it cannot be measured here, in one line; None if it can."""
        ...

    def serve(
        self, variant: Variant, model: ServedModel, log: Path
    ) -> AbstractContextManager[Serving]:
        """The engine, ready; stopped at the end. What it prints goes to `log`. Raises PeerError,
        and ConfigError where the model cannot be had in this variant."""
        ...
