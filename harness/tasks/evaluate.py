"""Scores of tasks, through lm-eval: which tasks, run on which engine, what they scored."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...engines.errors import ConfigError
from . import continuation

if TYPE_CHECKING:
    from ..config import RunConfig

EXTRA = "lm-eval"
SCHEMA_VERSION = 1
Report = Callable[[str], None]


class MissingExtraError(ConfigError):
    """lm-eval is not installed; `str()` is one line that says how it is."""

    def __init__(self, field: str, value: object) -> None:
        super().__init__(field, value, "")
        self.args = (f"{field}: {value!r} needs lm-eval: pip install 'llmbench[{EXTRA}]'",)


@dataclass(frozen=True)
class Score:
    """One metric of one task. stderr: its standard error; None where lm-eval gives none. samples:
    how many documents. higher_is_better: None where the task does not say."""

    task: str
    metric: str
    value: float
    stderr: float | None
    samples: int
    higher_is_better: bool | None


@dataclass(frozen=True)
class Evaluation:
    """Tasks' scores of one engine. caveat: what the model's quality cannot show."""

    model: str
    settings: dict[str, Any]
    scores: tuple[Score, ...]
    lm_eval: str
    caveat: str
    environment: dict[str, Any]
    command: str

    def as_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}


@dataclass(frozen=True)
class Tasks:
    """Tasks found fit to run. loaded: what lm-eval made of them; names: as asked for."""

    names: tuple[str, ...]
    loaded: list[Any]
    limit: int | None


def find_tasks(names: str, corpus: Path | None, *, seed: int, limit: int | None) -> Tasks:
    """`continuation`, tasks of lm-eval by name and YAML files, after commas.

    corpus, seed: what `continuation` is made from. limit: documents of each task at most; None:
    all. Raises ConfigError before anything is loaded: lm-eval missing, a task that is not there or
    whose data cannot be read, a limit below 1.
    """
    if find_spec("lm_eval") is None:
        raise MissingExtraError("tasks", names)
    if limit is not None and limit < 1:
        raise ConfigError("limit", limit, "1 or more")
    asked = tuple(name.strip() for name in names.split(","))
    if "" in asked:
        raise ConfigError("tasks", names, "names or YAML files, after commas")
    loaded: list[Any] = []
    with _quiet():
        specs = [_spec(name, corpus, seed) for name in asked]
        manager = _manager(include_defaults=any(_is_theirs(spec) for spec in specs))
        for name, spec in zip(asked, specs, strict=True):
            loaded.extend(_load(manager, name, spec))
    return Tasks(asked, loaded, limit)


def _spec(name: str, corpus: Path | None, seed: int) -> Any:
    if name == continuation.NAME:
        from ..run.planning import corpus_text

        return continuation.task(corpus_text(corpus)[1], seed)
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser().resolve()
        if not path.is_file():
            raise ConfigError("tasks", name, "a file that exists")
        return str(path)
    return name


def _is_theirs(spec: Any) -> bool:
    """Whether lm-eval must look through its own tasks, which takes seconds."""
    return isinstance(spec, str) and not Path(spec).is_absolute()


def _manager(*, include_defaults: bool) -> Any:
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    return TaskManager(include_defaults=include_defaults)


def _load(manager: Any, name: str, spec: Any) -> list[Any]:
    """The tasks of one name; a group has several. Their data is read here."""
    try:
        return list(manager.load([spec])["tasks"].values())
    except ConfigError:
        raise
    except KeyError as error:
        known = f"{continuation.NAME}, a YAML file, or a task of lm-eval ('lm-eval ls tasks')"
        raise ConfigError("tasks", name, known) from error
    except Exception as error:  # a task runs code of its own, and reads data from anywhere
        problem = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError("tasks", name, f"a task that can be loaded ({problem})") from error


def evaluate(settings: RunConfig, tasks: Tasks, report: Report) -> Evaluation:
    """Load the engine and score it. Raises ConfigError and ModelError as a run does."""
    import torch

    from ...engines.llm import LLM
    from ..machine.environment import capture

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    report(f"loading {settings.model} ({settings.label})")
    llm = LLM.from_config(settings.model, settings.engine)
    scores, version = _score(llm, tasks, settings.seed, report)
    return Evaluation(
        model=llm.loaded.files.name,
        settings={**asdict(llm.config), "seed": settings.seed, "limit": tasks.limit},
        scores=scores,
        lm_eval=version,
        caveat=llm.loaded.files.caveat,
        environment=capture(seed=settings.seed, import_torch=True),
        command=settings.command,
    )


def _score(llm: Any, tasks: Tasks, seed: int, report: Report) -> tuple[tuple[Score, ...], str]:
    from importlib.metadata import version

    from lm_eval import simple_evaluate  # pyright: ignore[reportMissingImports]

    from .engine_lm import EngineLM

    with _quiet():
        found = simple_evaluate(
            EngineLM(llm, report),
            tasks=tasks.loaded,
            limit=tasks.limit,
            log_samples=False,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
            # Reuses what `find_tasks` has loaded; it need not look through its own tasks again.
            task_manager=_manager(include_defaults=False),
        )
    assert found is not None
    return scores_of(found), version("lm-eval")


def scores_of(found: Mapping[str, Any]) -> tuple[Score, ...]:
    """Every number of lm-eval's results, which names them `metric,filter`."""
    scores: list[Score] = []
    for task, values in found["results"].items():
        counted = found.get("n-samples", {}).get(task, {})
        for key, value in values.items():
            metric, comma, chosen = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            stderr = values.get(f"{metric}_stderr,{chosen}")
            scores.append(
                Score(
                    task,
                    metric if chosen == "none" else f"{metric} ({chosen})",
                    float(value),
                    float(stderr) if isinstance(stderr, int | float) else None,
                    int(counted.get("effective", 0)),
                    found.get("higher_is_better", {}).get(task, {}).get(metric),
                )
            )
    return tuple(scores)


@contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval says much and draws bars of its own beside ours; its errors are raised anyhow."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
