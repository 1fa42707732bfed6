"""A YAML file as plain data, read as whoever wrote it would read it.

Beside the rules of YAML 1.1: a key that stands twice in a mapping is refused, for one of its values
would be lost in silence; `1e3` is a number, as in YAML 1.2; and what only looks like a number or a
date stays a text, so that the field it stands in can say what it takes. So do `010` and `1:30`,
which are 8 and 90 in YAML 1.1.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from .api import WorkloadError

_OCTAL_OR_SEXAGESIMAL = re.compile(r"[-+]?0[0-9_]+|.*:.*")
_EXPONENT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")


def read_yaml(path: Path) -> object:
    """What a file holds. Raises WorkloadError: unreadable, or no YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise WorkloadError("workload", path, "a YAML file", f"cannot be read: {reason}") from error
    try:
        return parse_yaml(text, exponents=True)
    except NotYamlError as error:
        raise WorkloadError("workload", path, "a YAML file", str(error)) from error


class NotYamlError(ValueError):
    """A text that is no YAML, or has a key twice in a mapping. `str()` is said of its file: `is not
    valid YAML at line 3: …`, `has a twice, …`."""


def parse_yaml(text: str, *, exponents: bool = False) -> object:
    """What a text holds. exponents: `1e3` is a number; to YAML 1.1 it is a text, and what that
    writes as a text would come back as another. Raises NotYamlError."""
    try:
        return yaml.load(text, _WithExponents if exponents else _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "bad syntax"
        raise NotYamlError(f"is not valid YAML{where}: {what}") from error
    except RecursionError:
        raise NotYamlError("is not valid YAML: it is nested too deeply") from None


class _Loader(yaml.SafeLoader):
    """See the file's docstring."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        # Here, and not where it is constructed: `<<` has put others' keys beside its own by then.
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line, name = key.start_mark.line + 1, (key.tag, key.value)
                if name in lines:
                    where = f"at line {lines[name]} and at line {line}"
                    raise NotYamlError(f"has {key.value} twice, {where}")
                lines[name] = line
        return node


def _or_text(name: str) -> None:
    """Construct a scalar as YAML does; one that is malformed, of too many digits, or another number
    than it looks like, as a text."""
    construct = yaml.SafeLoader.yaml_constructors[f"tag:yaml.org,2002:{name}"]
    is_number = name in ("int", "float")

    def constructed(loader: _Loader, node: yaml.ScalarNode) -> object:
        if is_number and _OCTAL_OR_SEXAGESIMAL.fullmatch(node.value):
            return node.value
        try:
            return construct(loader, node)
        except (KeyError, ValueError, OverflowError):
            return node.value

    _Loader.add_constructor(f"tag:yaml.org,2002:{name}", constructed)


for _name in ("bool", "int", "float", "timestamp"):
    _or_text(_name)


class _WithExponents(_Loader):
    """`1e3` is a number."""


_WithExponents.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
