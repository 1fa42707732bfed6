"""A run on disk: a directory that is there whole or not at all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ..errors import PlaceTaken, StoreError
from ..result import SCHEMA_VERSION, Result
from ..tables.requests import REQUEST_COLUMNS
from ..tables.steps import STEP_COLUMNS
from .directories import check_directory
from .drafts import draft, is_draft, remove_abandoned, turn_in
from .json_text import not_finite, read_json
from .placing import numbered_places, put_beside, put_in_place
from .whole_file import check_utf8, nearest_existing, text_file, write_whole, writing

if TYPE_CHECKING:
    import pandas as pd

RESULT_FILE = "result.json"
REQUESTS_FILE = "requests.parquet"
STEPS_FILE = "steps.parquet"
REPORT_FILES = ("report.md", "report.html")
# A run that was repeated is a directory of runs, which are called so and numbered from 1.
REPEAT_PREFIX = "repeat-"
# Beside a run at capacity, how that was found; goes with the run. Alone where no rate holds.
ANSWER_FILE = "capacity.json"
CAPACITY_FILES = (ANSWER_FILE, "capacity.html", "capacity.md")
RUN_FILES = {RESULT_FILE, REQUESTS_FILE, STEPS_FILE, *REPORT_FILES, *CAPACITY_FILES}


@dataclass(frozen=True)
class Standing:
    """What stood at a run's place at one time. result: the file and when it was written, by device,
    inode and nanoseconds; of the answer where no rate holds; None where there was neither."""

    result: tuple[int, int, int] | None


@dataclass(frozen=True)
class StoredRun:
    """A run as read back. requests, steps: as `tables/` makes them."""

    directory: Path
    result: Result
    requests: pd.DataFrame
    steps: pd.DataFrame


@dataclass(frozen=True)
class RunOnDisk:
    """A stored run of which only the result is in memory: many of them need little."""

    directory: Path
    result: Result

    def load(self, without: Collection[str] = ()) -> StoredRun:
        """With its tables, read anew each time. without: columns to leave out. Raises StoreError
        as `load_run` does."""
        return StoredRun(
            self.directory,
            self.result,
            _read_table(self.directory / REQUESTS_FILE, REQUEST_COLUMNS, without),
            _read_table(self.directory / STEPS_FILE, STEP_COLUMNS, without),
        )


def check_out(directory: Path) -> None:
    """Find out before a run whether its result can be written; leaves nothing behind.

    Allowed: a path that does not exist yet under a writable directory, an empty directory, or one
    that holds a run and nothing else, or the answer that no rate holds, which `write_run` then
    replaces. Raises StoreError for `out`.
    """
    directory = directory.resolve()
    check_utf8(directory)
    check_directory(directory)
    if directory.is_dir():
        found = {entry.name for entry in directory.iterdir()}
        others = sorted(found - _ours(found, RUN_FILES))
        is_run = RESULT_FILE in found or found == _ours(found, CAPACITY_FILES)
        if others or not is_run:
            raise StoreError(
                "out",
                directory,
                f"holds other files ({(others or sorted(found))[0]}); "
                "expected a new or empty directory, or one that holds a run",
            )
    parent = nearest_existing(directory.parent)
    try:
        Path(tempfile.mkdtemp(prefix=".llmbench.", dir=parent)).rmdir()
    except OSError as error:
        problem = f"cannot be made in {str(parent)!r}: {error.strerror}"
        raise StoreError("out", directory, problem) from error


def is_answer(directory: Path) -> bool:
    """Whether there is no run, but the answer that no rate holds."""
    return (directory / ANSWER_FILE).exists() and not (directory / RESULT_FILE).exists()


def _ours(found: Collection[str], files: Collection[str]) -> set[str]:
    """Those that are such files. A report's draft, whose writer was killed, goes with what it is
    of."""
    places = [Path(file) for file in files]
    return {one for one in found if one in files or any(is_draft(one, at) for at in places)}


def standing(directory: Path) -> Standing:
    """What stands there now."""
    for name in (RESULT_FILE, ANSWER_FILE):
        with suppress(FileNotFoundError, NotADirectoryError):
            found = (directory / name).stat()
            return Standing((found.st_dev, found.st_ino, found.st_mtime_ns))
    return Standing(None)


def write_run(
    directory: Path,
    result: Result,
    requests: pd.DataFrame,
    steps: pd.DataFrame,
    reports: Mapping[str, str],
    stood: Standing | None = None,
) -> Path:
    """Write a run beside its place and move it there whole; an earlier run there is replaced, and
    what a writer that was killed left beside it is removed.

    reports: text by file name. stood: what may be replaced, by what is no less of a result: one
    that was cut short is kept beside one that is whole, numbered, in place of the part that the
    same command left so before, and so is one that is not valid beside a valid one, in place of
    nothing; None: whatever run stands there, by any. Returns where it is. Raises
    StoreError for `out`, leaving what was there as it was, and PlaceTaken if anything but `stood`
    is there, with the run beside it.
    """
    if stood is None:
        check_out(directory)
    directory = directory.resolve()
    text = _text_of(directory, result)
    with writing("out", directory):
        with draft(directory, is_directory=True) as fresh:
            _write_files(fresh, text, requests, steps, reports)
            with turn_in(directory.parent):
                if stood is not None and not is_as_it_stood(directory, stood):
                    raise PlaceTaken(directory, put_beside(fresh, directory))
                if stood is not None and _worth(result) < _worth_there(directory):
                    stored = _put_beside(fresh, directory, result)
                else:
                    put_in_place(fresh, directory, replaces=holds_files(directory))
                    stored = directory
        remove_abandoned(directory)
    return stored


def write_reports(directory: Path, reports: Mapping[str, str]) -> None:
    """Replace the reports of a stored run, each file whole. Raises StoreError for `run`."""
    with writing("run", directory):
        for name, text in reports.items():
            write_whole(directory / name, text)


def load_run(path: Path) -> StoredRun:
    """Read a run from its directory, or from the path of its `result.json`.

    Raises StoreError: nothing there, a file missing or corrupt, a schema this version cannot read.
    """
    return find_run(path).load()


def find_run(path: Path) -> RunOnDisk:
    """The same, with the tables left on disk. Raises StoreError as `load_run` does for them."""
    directory = path.parent if path.name == RESULT_FILE else path
    if not directory.is_dir():
        raise StoreError("run", path, f"{missing(directory)}; expected the directory of a run")
    if repeats := repeat_directories(directory):
        raise StoreError(
            "run",
            path,
            f"holds {len(repeats)} repeats of a run; expected one of them, such as {repeats[0]}",
        )
    if runs := _runs_within(directory):
        many = f"{len(runs)} runs" if len(runs) > 1 else "a run"
        raise StoreError(
            "run", path, f"holds {many} and is none; expected one of them, such as {runs[0]}"
        )
    return RunOnDisk(directory.resolve(), read_result(directory / RESULT_FILE))


def missing(directory: Path) -> str:
    """Why it is no directory."""
    return "is a file" if directory.exists() else "does not exist"


def _runs_within(path: Path) -> list[Path]:
    """Those of a frontier or of a sweep; none of a run."""
    if (path / RESULT_FILE).exists():
        return []
    found = [*path.glob(f"*/{RESULT_FILE}"), *path.glob(f"cells/*/{RESULT_FILE}")]
    return sorted(one.parent for one in found)


def repeat_directories(path: Path) -> tuple[Path, ...]:
    """The runs that a repeated run's directory holds, in their order; none of any other."""
    if not path.is_dir() or (path / RESULT_FILE).exists():
        return ()
    numbered = {
        int(number): entry
        for entry in path.iterdir()
        if (number := entry.name.removeprefix(REPEAT_PREFIX)) != entry.name
        and number.isdecimal()
        and (entry / RESULT_FILE).is_file()
    }
    return tuple(numbered[number] for number in sorted(numbered))


def read_result(path: Path) -> Result:
    """Read one `result.json`. Raises StoreError naming the field that is wrong."""
    try:
        data = read_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError("run", path, "does not exist; expected a run's result file") from None
    except OSError as error:
        raise StoreError("run", path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StoreError("run", path, f"is not JSON: {error}") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise StoreError(
            "run",
            path,
            f"has schema_version {version!r}; this version of llmbench reads {SCHEMA_VERSION}",
        )
    try:
        return Result.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise StoreError("run", path, f"{field}: {first['msg']}{more}") from error


def _text_of(directory: Path, result: Result) -> str:
    """NaN is not JSON; a result that has one must fail here and not in its reader."""
    data = result.model_dump()
    if found := not_finite(data):
        name, value = found
        raise StoreError(
            "out", directory, f"cannot be written: {name} is {value}, no finite number"
        )
    return json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)


def _write_files(
    directory: Path,
    text: str,
    requests: pd.DataFrame,
    steps: pd.DataFrame,
    reports: Mapping[str, str],
) -> None:
    texts = {RESULT_FILE: text + "\n", **reports}
    for name, content in texts.items():
        with text_file(directory / name, name) as file:
            file.write(content)
    requests.to_parquet(directory / REQUESTS_FILE, index=False)
    steps.to_parquet(directory / STEPS_FILE, index=False)


def is_as_it_stood(directory: Path, stood: Standing) -> bool:
    """Whether nothing came since: no run, and no files that are no run's."""
    try:
        check_out(directory)
    except StoreError:
        return False
    return standing(directory) == stood


def holds_files(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())


def _put_beside(fresh: Path, directory: Path, result: Result) -> Path:
    """Numbered; in the place of an earlier part, if this is one, too. Raises OSError."""
    for part in numbered_places(directory):
        if not part.exists():
            break
        if _is_earlier_part(part, result):
            put_in_place(fresh, part, replaces=True)
            return part
    return put_beside(fresh, directory)


def _is_earlier_part(directory: Path, result: Result) -> bool:
    """Whether a run that the command of this one left there and both were cut short, with nothing
    of anybody else's in its directory."""
    try:
        check_out(directory)
        there = read_result(directory / RESULT_FILE)
    except StoreError:
        return False
    command = result.config.get("command")
    same = bool(command) and there.config.get("command") == command
    return same and there.status == result.status == "partial"


def _worth(result: Result) -> int:
    """How much of a result it is: cut short, whole, or whole and valid."""
    return 0 if result.status == "partial" else 1 + result.validity.valid


def _worth_there(directory: Path) -> int:
    """Of the run that stands there; as little as can be of none, and of one that cannot be read. An
    answer that no rate holds is whole."""
    if is_answer(directory):
        return 1
    try:
        return _worth(read_result(directory / RESULT_FILE))
    except StoreError:
        return 0


def _read_table(path: Path, columns: tuple[str, ...], without: Collection[str]) -> pd.DataFrame:
    import pandas as pd

    wanted = [name for name in columns if name not in without]
    try:
        frame = pd.read_parquet(path, columns=wanted if without else None)
    except FileNotFoundError:
        raise StoreError("run", path, "does not exist; expected a run's table") from None
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from these
        raise StoreError("run", path, f"is not a readable Parquet file: {_line(error)}") from error
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise StoreError("run", path, "lacks the columns " + ", ".join(missing))
    return frame


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
