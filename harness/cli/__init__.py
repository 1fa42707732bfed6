"""The command line: one file a command. Nothing heavy is imported until a command runs."""

from __future__ import annotations

from .app import main

__all__ = ["main"]
