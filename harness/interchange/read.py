"""Any result file as a run: ours, vLLM's, aiperf's, guidellm's, told apart by what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..storage.store import RESULT_FILE, StoredRun, StoreError, load_run
from .aiperf_import import SUMMARY_FILE, from_aiperf, is_aiperf
from .guidellm_import import from_guidellm, is_guidellm
from .vllm_import import from_vllm, is_vllm


def read_run(path: Path) -> StoredRun:
    """A run of ours from its directory or `result.json`; another tool's from its file, or of aiperf
    from the directory of its artifacts. `FILE#2` is the third benchmark of a guidellm report.

    Raises StoreError for `run`, with the reason in one line.
    """
    file, place = _place(path)
    if file.is_dir():
        if place is not None:
            raise _unnumbered(file, place)
        if not (file / RESULT_FILE).exists() and (file / SUMMARY_FILE).is_file():
            return read_run(file / SUMMARY_FILE)
        return load_run(file)
    if not file.exists():
        return load_run(file)
    content = _read(file)
    data = _json(file, content)
    if place is not None and not is_guidellm(data):
        raise _unnumbered(file, place)
    try:
        if is_vllm(data):
            return from_vllm(data, file, content)
        if is_aiperf(data):
            return from_aiperf(data, file, content)
        if is_guidellm(data):
            return from_guidellm(data, path, content, place)
    except KeyError as error:
        raise StoreError("run", file, f"lacks {error}, which such a file has") from error
    except (
        *(TypeError, ValueError, IndexError, AttributeError),
        *(OverflowError, RecursionError),
    ) as error:
        raise StoreError("run", file, f"cannot be used: {' '.join(str(error).split())}") from error
    if file.name == RESULT_FILE:
        return load_run(file)
    raise StoreError("run", file, "is no result of llmbench, vLLM, aiperf or guidellm")


def _unnumbered(file: Path, place: int) -> StoreError:
    problem = f"holds no benchmarks of guidellm's, so none has the number {place}"
    return StoreError("run", file, f"{problem}; expected it without #{place}")


def _place(path: Path) -> tuple[Path, int | None]:
    """The file, and the number behind `#`."""
    name, mark, place = path.name.rpartition("#")
    if mark and place.isdecimal() and not path.exists():
        return path.with_name(name), int(place)
    return path, None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError("run", path, f"cannot be read: {error.strerror}") from error


def _json(path: Path, content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise StoreError("run", path, f"is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise StoreError("run", path, "is no result of llmbench, vLLM, aiperf or guidellm")
    return data
