"""A usage error of the command line in the words of the tree's own errors."""

from __future__ import annotations

import re
from typing import Any

import typer

from ...engines.errors import ConfigError

# Click's UsageError, by the one name of it that is public in every typer: some carry click inside.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]

# What is allowed, by pydantic's name of what was wrong (newer typers convert with it) and by the
# words of click (older ones do).
_BY_TYPE = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
}
_BY_WORDS = {"integer": "a whole number", "float": "a number", "boolean": "true or false"}
_BOUNDS = {"ge": "{} or more", "gt": "more than {}", "le": "{} or less", "lt": "less than {}"}
# Of a choice both say the same words.
_CHOICE = re.compile(r"'(?P<value>.*)' is not one of (?P<allowed>'.*')\.?", re.DOTALL)
_CLICK = re.compile(r"'(?P<value>.*)' is not a valid (?P<kind>\w+)\.?", re.DOTALL)


def usage_problem(error: Exception) -> str:
    """One line: `field: value is not allowed; expected ALLOWED` for a value that is not of its
    option's type or range, and click's own words, which name the option, for all else."""
    found = _unconverted(error)
    if found is not None:
        return str(found)
    return error.format_message()  # pyright: ignore[reportAttributeAccessIssue]


def _unconverted(error: Exception) -> ConfigError | None:
    parameter = getattr(error, "param", None)
    if not isinstance(error, typer.BadParameter) or parameter is None:
        return None
    if (chosen := _CHOICE.search(error.message)) is not None:
        allowed = chosen["allowed"].replace("'", "")
        return ConfigError(_field(parameter), chosen["value"], f"one of {allowed}")
    details = getattr(error.__cause__, "errors", None)
    if details is not None:
        first: dict[str, Any] = details(include_url=False)[0]
        allowed = _allowed(first)
        return None if allowed is None else ConfigError(_field(parameter), first["input"], allowed)
    said = _CLICK.fullmatch(error.message)
    if said is None or said["kind"] not in _BY_WORDS:
        return None
    return ConfigError(_field(parameter), said["value"], _BY_WORDS[said["kind"]])


def _allowed(detail: dict[str, Any]) -> str | None:
    if detail["type"] in _BY_TYPE:
        return _BY_TYPE[detail["type"]]
    bounds = detail.get("ctx", {})
    return next((said.format(bounds[key]) for key, said in _BOUNDS.items() if key in bounds), None)


def _field(parameter: Any) -> str:
    """An option as it is typed, as settings are written: `max_num_seqs`."""
    longest = max(parameter.opts, key=len)
    return longest.lstrip("-").replace("-", "_")
