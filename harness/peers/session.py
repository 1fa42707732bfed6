"""One comparison: who is asked, on which cores, and the result of all their turns."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ...engines.errors import ConfigError, unknown_name
from ..storage.json_text import json_text
from ..storage.whole_file import write_whole, writing
from .base import PRECISIONS, Peer, ServedModel
from .install import converter_path, llama_cpp_directory
from .install import vllm_python as installed_python
from .llama_cpp import LlamaCpp
from .own import Own
from .record import Conditions, Record
from .rounds import Row, take_turns
from .table import PeersResult, markdown, measured_rows
from .transformers_cb import TransformersCb
from .vllm_cpu import VllmCpu
from .workload import Job, make_jobs

# Slower than Q4_0 on a CPU, and no other row needs it: measured where it is asked for.
NOT_BY_DEFAULT = frozenset({"Q4_1"})


@dataclass(frozen=True)
class Places:
    """Where the peers are, and the cores that everyone gets.

    directory: what `install` made. llama_cpp: its source tree. vllm_python: its interpreter.
    """

    directory: Path
    llama_cpp: Path
    vllm_python: Path
    cores: tuple[int, ...]


@dataclass(frozen=True)
class Session:
    """What to measure. rows: in the order of their turns. unavailable: why peers that were asked
    for have none, by name. cores: that everyone gets."""

    rows: tuple[Row, ...]
    unavailable: Mapping[str, str]
    model: str
    scratch: Path
    cores: tuple[int, ...]
    rounds: int
    seed: int
    out: Path
    lock: Path | None


def places(
    directory: Path, threads: int | None, llama_cpp: Path | None, vllm_python: Path | None
) -> Places:
    """Where everything is, absolute. threads: the first so many cores that this process may use;
    None is all of them. Raises ConfigError for more than there are."""
    cores = tuple(sorted(os.sched_getaffinity(0)))
    if threads is not None and not 1 <= threads <= len(cores):
        raise ConfigError("threads", threads, f"1 to {len(cores)}, the cores that may be used")
    directory = directory.expanduser().absolute()
    return Places(
        directory,
        (llama_cpp or llama_cpp_directory(directory)).expanduser().absolute(),
        (vllm_python or installed_python(directory)).expanduser().absolute(),
        cores[:threads],
    )


def known_peers(where: Places) -> tuple[Peer, ...]:
    """Everyone, ours first."""
    return (
        Own(where.cores),
        LlamaCpp(where.llama_cpp, converter_path(where.directory), where.cores),
        VllmCpu(where.vllm_python, where.cores),
        TransformersCb(where.cores),
    )


def session(
    where: Places,
    *,
    model: str,
    peers: Sequence[str],
    precisions: Sequence[str],
    weights: Sequence[str],
    rounds: int,
    seed: int,
    out: Path,
    lock: Path | None,
) -> Session:
    """The rows that were asked for; nothing named means all. Raises ConfigError for a name that
    nothing has, and for a negative seed."""
    if seed < 0:
        raise ConfigError("seed", seed, "0 or more")
    known = known_peers(where)
    _check_names("peer", peers, [peer.name for peer in known])
    _check_names("precision", precisions, PRECISIONS)
    formats = [variant.weights for peer in known for variant in peer.variants()]
    _check_names("weights", weights, formats)
    chosen = [peer for peer in known if not peers or peer.name in peers]
    unavailable = {peer.name: why for peer in chosen if (why := peer.missing()) is not None}
    rows = tuple(
        Row(peer, variant)
        for peer in chosen
        if peer.name not in unavailable
        for variant in peer.variants()
        if (not precisions or variant.precision in precisions)
        and (variant.weights in weights if weights else variant.weights not in NOT_BY_DEFAULT)
    )
    scratch = where.directory / "models"
    return Session(rows, unavailable, model, scratch, where.cores, rounds, seed, out, lock)


def measure(asked: Session, report: Callable[[str], None]) -> PeersResult:
    """Take the turns, write `peers.json` and `peers.md`, return the result."""
    from ...engines.models.catalogue import resolve_model
    from ..machine.environment import capture

    files = resolve_model(asked.model, report)
    model = ServedModel.of(files, asked.scratch)
    with writing("out", asked.out):
        asked.out.mkdir(parents=True, exist_ok=True)
    record = Record(asked.out, Conditions(model.name, model.identity, asked.cores, asked.seed))
    corpus = _corpus(files.directory)

    def jobs_of_round(number: int) -> Sequence[Job]:
        return make_jobs(corpus, asked.seed + number)

    failed = take_turns(asked.rows, model, jobs_of_round, asked.rounds, record, report, asked.lock)
    result = PeersResult(
        model=model.name,
        cores=asked.cores,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=measured_rows(record.turns()),
        not_measured={
            **asked.unavailable,
            **{variant.name: why for variant, why in failed.items()},
        },
        machine=capture(seed=asked.seed),
        command=shlex.join(["llmbench", *sys.argv[1:]]),
    )
    with writing("out", asked.out):
        write_whole(asked.out / "peers.json", json_text(result.as_json()))
        write_whole(asked.out / "peers.md", markdown(result))
    return result


def _corpus(directory: Path) -> list[int]:
    """The held-out text that ships, in the model's tokens."""
    from ...engines.models.bundled import heldout_text
    from ...engines.models.tokenizer import load_tokenizer

    return load_tokenizer(directory).encode(heldout_text(), add_special_tokens=False)


def _check_names(field: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise unknown_name(field, name, dict.fromkeys(known))
