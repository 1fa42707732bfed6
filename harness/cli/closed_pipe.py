"""Standard output and error whose reader may leave, as `head` does when it has seen enough, or
that cannot be written, as on a full disk."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

from .plain_text import HANDLER

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# What it opens streams with where PYTHONIOENCODING says nothing else.
_PYTHONS_OWN = ("strict", "surrogateescape", "backslashreplace")


class _Unread(io.FileIO):
    """Takes what it is given; what nobody reads any more goes nowhere. failure: the first reason
    why something could not be written that somebody may have wanted; empty for none."""

    failure = ""

    def write(self, data: ReadableBuffer, /) -> int | None:
        try:
            return super().write(data)
        except BrokenPipeError:
            pass
        except OSError as error:
            self.failure = self.failure or str(error.strerror or error)
        return memoryview(data).nbytes


def unwritten() -> str:
    """What of standard output could not be written, and why, in one line; empty if nothing. For the
    end: it flushes."""
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # unbuffered, it is the buffer itself
    if isinstance(raw, _Unread) and raw.failure:
        return f"standard output cannot be written: {raw.failure}"
    return ""


def outlive_readers() -> None:
    """A closed pipe ends no command: a run goes on and is stored, and the exit code is the
    command's own verdict, whoever stopped reading and when. A full disk does not either, and
    `unwritten` tells of it. Streams that were put in place of the process's own stay as they are.
    """
    if sys.stdout is sys.__stdout__:
        sys.stdout = _outliving(sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _outliving(sys.stderr)


def _outliving(stream: TextIO) -> io.TextIOWrapper:
    assert isinstance(stream, io.TextIOWrapper), "as Python opens them"
    stream.flush()
    raw = _Unread(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        # Unbuffered, as PYTHONUNBUFFERED has it, there is nothing in between.
        cast("BinaryIO", raw) if stream.write_through else io.BufferedWriter(raw),
        encoding=stream.encoding,
        # Where an encoding lacks a character, Python would end the command, or spell every µ.
        errors=HANDLER if stream.errors in _PYTHONS_OWN else stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
