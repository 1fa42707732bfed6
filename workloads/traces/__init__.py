"""Request traces. One file a format; `read_trace` tells them apart by their first line.

ServeGen's senders are no requests; `workloads/servegen.py` makes a workload of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..api import RequestShape, WorkloadError, shown_value
from . import azure, burstgpt, mooncake, own, own_csv, servegen_offline, stored
from .servegen_chunks import CHUNK
from .servegen_folder import is_servegen

__all__ = ["FORMATS", "Format", "is_servegen", "is_trace_file", "read_trace", "supported"]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    needed: what its first line must name, each called a `part`. fields_of: what a first line names,
    read as this format. read: every row as a request.
    """

    name: str
    part: str
    needed: tuple[str, ...]
    fields_of: Callable[[str], tuple[str, ...]]
    read: Callable[[Path], tuple[RequestShape, ...]]

    def missing(self, first_line: str) -> list[str]:
        """What is needed and not there."""
        found = self.fields_of(first_line)
        return [name for name in self.needed if name not in found]


FORMATS = (
    Format("Azure LLM inference CSV", "column", azure.COLUMNS, azure.fields_of, azure.read),
    Format("BurstGPT CSV", "column", burstgpt.COLUMNS, burstgpt.fields_of, burstgpt.read),
    Format("Mooncake JSON lines", "field", mooncake.FIELDS, mooncake.fields_of, mooncake.read),
    Format(
        "ServeGen offline JSON lines",
        "field",
        servegen_offline.FIELDS,
        servegen_offline.fields_of,
        servegen_offline.read,
    ),
    Format("llmbench JSON lines", "field", own.FIELDS, own.fields_of, own.read),
    Format("llmbench CSV", "column", own_csv.COLUMNS, own_csv.fields_of, own_csv.read),
)


def read_trace(path: str | Path) -> tuple[RequestShape, ...]:
    """Every request of a trace, in order; times are seconds from its first row.

    Raises WorkloadError: no such file, a format not known, or a bad row (its line is named).
    """
    path = Path(path)
    if stored.is_stored(path):
        return stored.read(path)
    folder = path.parent if path.match(CHUNK) else path
    if is_servegen(folder):
        problem = "holds ServeGen's clients, and no requests"
        way = f"what 'llmbench workload fit {folder} --category CATEGORY' writes, as --workload"
        raise WorkloadError("trace", path, way, problem)
    try:
        with path.open(encoding="utf-8-sig") as lines:
            first_line = lines.readline()
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise WorkloadError("trace", path, "a trace file", f"cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        packed = path.suffix in (".gz", ".zst", ".bz2", ".xz", ".zip")
        problem = "is compressed: unpack it first" if packed else "is not UTF-8 text"
        raise WorkloadError("trace", path, supported(), problem) from error
    if not first_line.strip():
        problem = "begins with a blank line" if first_line else "is empty"
        raise WorkloadError("trace", path, supported(), problem)
    for one in FORMATS:
        if not one.missing(first_line):
            return one.read(path)
    raise WorkloadError("trace", path, supported(), _what_is_missing(first_line))


def is_trace_file(path: Path) -> bool:
    """Whether the first line of a file is one of a trace."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            first_line = lines.readline()
    except (OSError, UnicodeDecodeError):
        return False
    return any(not one.missing(first_line) for one in FORMATS)


def supported() -> str:
    """The formats that can be read, in words."""
    files = ", ".join(f"{one.name} ({', '.join(one.needed)})" for one in FORMATS)
    return f"{files}, or the directory of a stored run"


def _what_is_missing(first_line: str) -> str:
    """Names what is missing of the format that comes nearest, if any comes near."""
    nearest = min(FORMATS, key=lambda one: len(one.missing(first_line)) / len(one.needed))
    missing = nearest.missing(first_line)
    if len(missing) == len(nearest.needed):
        return f"has no header of a known format but {shown_value(first_line.strip(), 60)}"
    return f"has no {nearest.part} {', '.join(missing)}"
