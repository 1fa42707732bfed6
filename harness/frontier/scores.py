"""Task scores of every method, stored method by method, so that the same command goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..storage.json_text import as_json
from ..tasks.evaluate import Score, evaluate, find_tasks
from . import kept

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
    path = out / TASKS_FILE
    stored = kept.read(path, SCHEMA_VERSION, _scores_from, again="score") or {}
    found: dict[str, tuple[Score, ...]] = {}
    for method, settings in by_method.items():
        identity = _identity(asked, settings)
        one = stored.get(method)
        if one is None or one["settings"] != identity:
            tasks = find_tasks(
                asked.names, settings.load.corpus, seed=settings.seed, limit=asked.limit
            )
            result = evaluate(settings, tasks, lambda text, m=method: report(f"tasks: {m}, {text}"))
            one = {"settings": identity, "scores": [asdict(score) for score in result.scores]}
            stored[method] = one
            kept.write(path, SCHEMA_VERSION, {"methods": stored})
        found[method] = tuple(Score(**score) for score in one["scores"])
    return found


def _identity(asked: AskedTasks, settings: RunConfig) -> dict[str, Any]:
    """What decides the scores, as JSON; a file counts by what is in it."""
    files = [name.strip() for name in asked.names.split(",") if Path(name.strip()).is_file()]
    corpus = settings.load.corpus
    return as_json(
        {
            **asdict(asked),
            "model": settings.model,
            "engine": asdict(settings.engine),
            "seed": settings.seed,
            "files": {name: sha256(Path(name).read_bytes()).hexdigest() for name in files},
            "corpus": sha256(corpus.read_bytes()).hexdigest() if corpus else None,
        }
    )


def _scores_from(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        method: {"settings": one["settings"], "scores": list(one["scores"])}
        for method, one in data["methods"].items()
    }
