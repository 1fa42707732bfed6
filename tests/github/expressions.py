"""The expressions of GitHub workflows that ours use: `${{ … }}` over a context of plain data.

Grammar and functions: "Evaluate expressions in workflows and actions" in GitHub's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<name>[A-Za-z_][\w\-]*(?:\.(?:[\w\-]+|\*))*)"
    r"|(?P<sign>==|!=|&&|\|\||[!(),]))"
)
_EMBEDDED = re.compile(r"\$\{\{(.*?)\}\}", flags=re.DOTALL)


def substitute(text: str, context: Mapping[str, Any]) -> str:
    """The text with each `${{ … }}` replaced by its value."""
    return _EMBEDDED.sub(lambda found: _shown(evaluate(found[1], context)), text)


def condition(text: str, context: Mapping[str, Any]) -> bool:
    """An `if:`, which runs only after success unless it asks how the job stands."""
    inner = _EMBEDDED.fullmatch(text.strip())
    expression = inner[1] if inner else text
    asks = re.search(r"\b(cancelled|always|failure|success)\(\)", expression)
    return bool(evaluate(expression, context)) and (bool(asks) or not context["failed"])


def evaluate(expression: str, context: Mapping[str, Any]) -> Any:
    """Raises ValueError for what this does not know: it must not guess."""
    tokens, at = [], 0
    expression = expression.strip()
    while at < len(expression):
        found = _TOKEN.match(expression, at)
        if found is None:
            raise ValueError(f"cannot read {expression[at:]!r}")
        tokens.append((found.lastgroup, found[found.lastgroup or ""]))
        at = found.end()
    value, rest = _either(tokens, context)
    if rest:
        raise ValueError(f"cannot read {rest} in {expression!r}")
    return value


def _either(tokens: list, context: Mapping[str, Any]) -> tuple[Any, list]:
    value, tokens = _both(tokens, context)
    while tokens[:1] == [("sign", "||")]:
        other, tokens = _both(tokens[1:], context)
        value = value or other
    return value, tokens


def _both(tokens: list, context: Mapping[str, Any]) -> tuple[Any, list]:
    value, tokens = _equal(tokens, context)
    while tokens[:1] == [("sign", "&&")]:
        other, tokens = _equal(tokens[1:], context)
        value = value and other
    return value, tokens


def _equal(tokens: list, context: Mapping[str, Any]) -> tuple[Any, list]:
    value, tokens = _single(tokens, context)
    while tokens and tokens[0] in (("sign", "=="), ("sign", "!=")):
        other, rest = _single(tokens[1:], context)
        value = (value == other) == (tokens[0][1] == "==")
        tokens = rest
    return value, tokens


def _single(tokens: list, context: Mapping[str, Any]) -> tuple[Any, list]:
    (kind, text), rest = tokens[0], tokens[1:]
    if kind == "text":
        return text[1:-1].replace("''", "'"), rest
    if text == "!":
        value, rest = _single(rest, context)
        return not value, rest
    if text == "(":
        value, rest = _either(rest, context)
        return value, rest[1:]
    if kind == "name" and rest[:1] == [("sign", "(")]:
        return _call(text, rest[1:], context)
    if kind == "name":
        return _look_up(text.split("."), context), rest
    raise ValueError(f"cannot read {text!r}")


def _call(name: str, tokens: list, context: Mapping[str, Any]) -> tuple[Any, list]:
    arguments = []
    while tokens[0] != ("sign", ")"):
        value, tokens = _either(tokens, context)
        arguments.append(value)
        if tokens[0] == ("sign", ","):
            tokens = tokens[1:]
    match name, arguments:
        case "contains", [whole, part]:
            return part in whole, tokens[1:]
        case "cancelled", []:
            return False, tokens[1:]
        case "always", []:
            return True, tokens[1:]
    raise ValueError(f"an unknown function: {name}")


def _look_up(path: list[str], value: Any) -> Any:
    for place, part in enumerate(path):
        if part == "*":
            return [_look_up(path[place + 1 :], one) for one in value]
        if part not in value:
            raise ValueError(f"an unknown value: {'.'.join(path)}")
        value = value[part]
    return value


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
