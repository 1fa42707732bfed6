"""What the harness refuses beside a setting: that is `engines.errors.ConfigError`."""

from __future__ import annotations

from pathlib import Path

from ..engines.errors import ConfigError


class InvalidRun(Exception):  # noqa: N818 -- it names what was found, as the exit code does
    """A run that is not valid, or was interrupted, where only a valid one proves anything."""


class StoreError(ConfigError):
    """A file that cannot be read or written; `str()` is one line: ``field: 'path' problem``."""

    def __init__(self, field: str, path: Path | str, problem: str) -> None:
        super().__init__(field, str(path), problem)
        self.args = (f"{field}: {str(path)!r} {problem}",)


def unreadable(
    field: str, path: Path | str, expected: str, error: OSError | UnicodeDecodeError
) -> StoreError:
    """The error for a file that was named and is not there, or is no text."""
    is_bytes = isinstance(error, UnicodeDecodeError)
    said = "is not UTF-8 text" if is_bytes else f"cannot be read: {_reason(error)}"
    return StoreError(field, path, f"{said}; expected {expected}")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


class PlaceTaken(StoreError):  # noqa: N818 -- it names what happened
    """Something came to `out` while this run was under way, and stays; this run is at `kept`."""

    def __init__(self, directory: Path, kept: Path) -> None:
        super().__init__(
            "out",
            directory,
            f"was taken while this run was under way: what is there stays, and this one is {kept}",
        )
        self.kept = kept
