"""From a YAML file, or a mapping, to a `WorkloadSpec`; what is wrong with it in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .api import WorkloadError
from .spec import Arrivals, CorpusPrompts, Length, Lengths, Replay, TraceLengths, WorkloadSpec


def load_spec(path: Path) -> WorkloadSpec:
    """The workload in a YAML file. Trace paths in it are relative to the file."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise WorkloadError("workload", path, "a YAML file", f"cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "bad syntax"
        raise WorkloadError(
            "workload", path, "YAML", f"is not valid YAML{where}: {what}"
        ) from error
    if not isinstance(data, Mapping):
        raise WorkloadError(
            "workload", path, "a mapping with arrivals and lengths", "holds no workload"
        )
    return _beside(path.parent, parse_spec({"name": path.stem, **data}))


def parse_spec(data: Mapping[str, Any]) -> WorkloadSpec:
    """A checked spec. Raises WorkloadError for the first thing wrong, named by its path."""
    try:
        return WorkloadSpec.model_validate(data)
    except ValidationError as invalid:
        raise _explain(invalid.errors()[0], data) from None


def nearest(value: object, known: Iterable[str]) -> str:
    """' (did you mean X?)' when something in `known` is spelt nearly like `value`, else ''."""
    close = get_close_matches(str(value).lower(), list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _beside(folder: Path, spec: WorkloadSpec) -> WorkloadSpec:
    changed: dict[str, object] = {}
    for name, part in (("arrivals", spec.arrivals), ("lengths", spec.lengths)):
        if isinstance(part, Replay | TraceLengths):
            # Joining an absolute path leaves it as it is.
            changed[name] = part.model_copy(update={"path": folder / part.path})
    return spec.model_copy(update=changed)


def _explain(error: ErrorDetails, data: Mapping[str, Any]) -> WorkloadError:
    field = _field_path(error["loc"], data)
    value, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            known = sorted(_model_at(error["loc"][:-1]).model_fields)
            name = str(error["loc"][-1])
            parent = field.rpartition(".")[0] or "workload"
            expected = f"one of {', '.join(known)}{nearest(name, known)}"
            return WorkloadError(parent, name, expected, "is not a field here")
        case "missing":
            return WorkloadError(field, None, "a value", "is missing")
        case "union_tag_invalid":
            tag = context["tag"]
            kinds = context["expected_tags"].replace("'", "")
            expected = f"one of {kinds}{nearest(tag, kinds.split(', '))}"
            return WorkloadError(f"{field}.kind", tag, expected)
        case "union_tag_not_found":
            kinds = ", ".join(_kinds(_UNIONS[str(error["loc"][-1])]))
            return WorkloadError(f"{field}.kind", None, f"one of {kinds}", "is missing")
        case "value_error":
            return WorkloadError(field, None, str(context["error"]), "is not consistent")
        case "model_attributes_type" | "model_type":
            return WorkloadError(field, value, "a mapping with a kind, as {kind: ...}")
        case _:
            expected = error["msg"].removeprefix("Input should be ")
            return WorkloadError(field, value, expected[0].lower() + expected[1:])


# Where in the file a choice of kinds stands.
_UNIONS: dict[str, object] = {
    "arrivals": Arrivals,
    "lengths": Lengths,
    "input": Length,
    "output": Length,
}


def _kinds(union: object) -> dict[str, type[BaseModel]]:
    members: tuple[type[BaseModel], ...] = get_args(get_args(union)[0])
    return {get_args(member.model_fields["kind"].annotation)[0]: member for member in members}


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model whose fields stand at `loc`, which ends in a union's tag, a field, or is empty."""
    if not loc:
        return WorkloadSpec
    if len(loc) >= 2 and str(loc[-2]) in _UNIONS:
        return _kinds(_UNIONS[str(loc[-2])])[str(loc[-1])]
    return CorpusPrompts


def _field_path(loc: tuple[int | str, ...], data: object) -> str:
    """`arrivals.rate_per_s` for ('arrivals', 'poisson', 'rate_per_s'): the file has no tags."""
    path: list[str] = []
    for depth, part in enumerate(loc):
        if isinstance(data, Mapping):
            is_tag = part not in data and data.get("kind") == part and depth > 0
            if is_tag:
                continue
            data = data.get(part)
        path.append(str(part))
    return ".".join(path) or "workload"
