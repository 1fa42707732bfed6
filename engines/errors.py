"""What an engine refuses, in one line: the field, the value, what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class _Portable(Exception):  # noqa: N818 -- not an error, a trait of some
    """Can be sent to another process, though it is not made from its message."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived, (type(self), self.args), self.__dict__


def _revived(kind: type[Exception], args: tuple[Any, ...]) -> Exception:
    error = kind.__new__(kind)
    error.args = args
    return error


class ConfigError(_Portable, ValueError):
    """A setting, or a request, that cannot work.

    `str()` is one line: ``field: value is not allowed; expected ALLOWED (did you mean X?)``.
    """

    def __init__(self, field: str, value: object, allowed: str, hint: str = "") -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        self.hint = hint
        super().__init__(f"{field}: {value!r} is not allowed; expected {allowed}{hint}")


class MissingError(ConfigError):
    """What cannot do without was not given. `str()`: ``field: missing; expected ALLOWED``."""

    def __init__(self, field: str, allowed: str) -> None:
        super().__init__(field, None, allowed)
        self.args = (f"{field}: missing; expected {allowed}",)


class NotInstalledError(ConfigError):
    """A package that a command cannot do without. `str()`: ``field: 'x' is not installed: pip
    install 'extra'``."""

    def __init__(self, field: str, package: str, extra: str) -> None:
        super().__init__(field, package, f"pip install {extra!r}")
        self.args = (f"{field}: {package!r} is not installed: pip install {extra!r}",)


class ModelError(ConfigError):
    """A model that cannot be loaded: not supported, not found, corrupt or truncated."""

    def __init__(self, field: str, value: object, problem: str) -> None:
        super().__init__(field, value, problem)
        self.args = (f"{field}: {value!r} {problem}",)


class RefusedError(ConfigError):
    """A request that an engine can never serve, or a value in a text of options. `str()`:
    ``field: why``."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(field, None, why)
        self.args = (f"{field}: {why}",)


class OutOfMemory(_Portable, RuntimeError):  # noqa: N818 -- as torch calls it, but for its tail
    """A device that has no memory left. `str()` is one line that says what to lower."""

    def __init__(self, doing: str, device: str, lower: str) -> None:
        """doing: what there was no room for. lower: the settings that take less of it."""
        super().__init__(f"{device} has no memory left {doing}; lower {lower}")


# More names than these make a line that nobody reads.
_LISTED = 16
_SUGGESTED = 4


def unknown_name(field: str, value: object, known: Iterable[str], listing: str = "") -> ConfigError:
    """The error for a name outside a closed set, with the nearest spelling. Of a large set the
    nearest come first and stand for the rest; listing: how to see them all."""
    names = sorted(known)
    near = get_close_matches(str(value).lower(), names, n=_SUGGESTED, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    if len(names) <= _LISTED:
        return ConfigError(field, value, "one of " + ", ".join(names), hint)
    some = ", ".join(near or names[:_SUGGESTED])
    allowed = f"one of {len(names)} names, such as {some}" + (f"; {listing}" if listing else "")
    error = ConfigError(field, value, allowed, hint)
    error.args = (f"{field}: {value!r} is not allowed{hint}; expected {allowed}",)
    return error
