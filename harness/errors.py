"""What the harness refuses that is not a setting: those are `engines.errors.ConfigError`."""

from __future__ import annotations


class InvalidRun(Exception):  # noqa: N818 -- it names what was found, as the exit code does
    """A run that is not valid, or was interrupted, where only a valid one proves anything."""
