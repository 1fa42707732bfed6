"""Task scores of every method, stored method by method, so that the same command goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..storage.store import StoreError
from ..storage.whole_file import write_whole, writing
from ..tasks.evaluate import Score, evaluate, find_tasks

if TYPE_CHECKING:
    from ..config import RunConfig

TASKS_FILE = "tasks.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class AskedTasks:
    """names: as `find_tasks` takes them. limit: documents of each at most; None: all."""

    names: str
    limit: int | None = None


def check_tasks(asked: AskedTasks, settings: RunConfig) -> None:
    """Find out before anything runs whether the tasks can. Raises ConfigError."""
    find_tasks(asked.names, settings.load.corpus, seed=settings.seed, limit=asked.limit)


def run_tasks(
    by_method: Mapping[str, RunConfig],
    asked: AskedTasks,
    out: Path,
    report: Callable[[str], None],
) -> dict[str, tuple[Score, ...]]:
    """The scores of every method: those stored in `out` are found, the others measured.

    Raises StoreError where stored scores cannot be read; scores of other settings are replaced one
    by one.
    """
    stored = _load(out)
    found: dict[str, tuple[Score, ...]] = {}
    for method, settings in by_method.items():
        identity = _identity(asked, settings)
        kept = stored.get(method)
        if kept is None or kept["settings"] != identity:
            tasks = find_tasks(
                asked.names, settings.load.corpus, seed=settings.seed, limit=asked.limit
            )
            result = evaluate(settings, tasks, lambda text, m=method: report(f"tasks: {m}, {text}"))
            kept = {"settings": identity, "scores": [asdict(one) for one in result.scores]}
            stored[method] = kept
            _store(out, stored)
        found[method] = tuple(Score(**one) for one in kept["scores"])
    return found


def _identity(asked: AskedTasks, settings: RunConfig) -> dict[str, Any]:
    """What decides the scores, as JSON; a file counts by what is in it."""
    files = [name.strip() for name in asked.names.split(",") if Path(name.strip()).is_file()]
    corpus = settings.load.corpus
    identity = {
        **asdict(asked),
        "model": settings.model,
        "engine": asdict(settings.engine),
        "seed": settings.seed,
        "files": {name: sha256(Path(name).read_bytes()).hexdigest() for name in files},
        "corpus": sha256(corpus.read_bytes()).hexdigest() if corpus else None,
    }
    return json.loads(json.dumps(identity, default=str))


def _load(out: Path) -> dict[str, Any]:
    path = out / TASKS_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version {data['schema_version']!r}")
        return {
            method: {"settings": one["settings"], "scores": list(one["scores"])}
            for method, one in data["methods"].items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"cannot be read ({' '.join(str(error).split())}); remove it to score again"
        raise StoreError("out", path, problem) from error


def _store(out: Path, methods: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    path = out / TASKS_FILE
    with writing("out", path):
        text = json.dumps(
            {"schema_version": SCHEMA_VERSION, "methods": methods}, indent=1, allow_nan=False
        )
        write_whole(path, text)
