"""From a YAML file, or a mapping, to a `WorkloadSpec`; what is wrong with it in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .api import WorkloadError
from .spec import DatasetPrompts, WorkloadSpec
from .spec.base import DisagreementError
from .spec.bounds import Within
from .yaml_file import read_yaml

# More mistakes than these make a line that nobody reads.
_MOST_SAID = 5


def load_spec(path: Path) -> WorkloadSpec:
    """The workload in a YAML file. Trace paths in it are relative to the file."""
    data = read_yaml(path)
    if not isinstance(data, Mapping):
        raise WorkloadError(
            "workload", path, "a mapping with arrivals and lengths", "holds no workload"
        )
    return _beside(path.parent, parse_spec({"name": path.stem, **data}))


def parse_spec(data: Mapping[str, Any]) -> WorkloadSpec:
    """A checked spec; prompts without a kind are cut from the corpus.

    Raises WorkloadError for all that is wrong, in one line: each thing named by its path.
    """
    prompts = data.get("prompts")
    if isinstance(prompts, Mapping) and "kind" not in prompts:
        data = {**data, "prompts": {"kind": "corpus", **prompts}}
    try:
        return WorkloadSpec.model_validate(data)
    except ValidationError as invalid:
        raise _together([_explain(error, data) for error in _causes(invalid.errors())]) from None


def spec_yaml(spec: WorkloadSpec) -> str:
    """A workload file that says what differs from what would be assumed; `load_spec` reads it."""
    data = spec.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=100)


def nearest(value: object, known: Iterable[str]) -> str:
    """' (did you mean X?)' when something in `known` is spelt nearly like `value`, else ''."""
    close = get_close_matches(str(value).lower(), list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _beside(folder: Path, spec: WorkloadSpec) -> WorkloadSpec:
    """Paths in a workload file are relative to it. Joining an absolute path leaves it as it is."""
    changed: dict[str, object] = {}
    for name in ("arrivals", "lengths", "prompts"):
        part = getattr(spec, name)
        if getattr(part, "path", None) is not None:
            changed[name] = part.model_copy(update={"path": folder / part.path})
    if isinstance(spec.prompts, DatasetPrompts):
        dataset = _dataset_beside(folder, spec.prompts.dataset)
        changed["prompts"] = spec.prompts.model_copy(update={"dataset": dataset})
    return spec.model_copy(update=changed)


def _dataset_beside(folder: Path, dataset: str) -> str:
    """A dataset's name; hf:NAME is one of the hub, or a file or folder here if there is one."""
    name = dataset.removeprefix("hf:")
    if name == dataset:
        return str(folder / dataset)
    path = name.partition(":")[0]
    return f"hf:{folder / name}" if path and (folder / path).exists() else dataset


def _causes(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Without what is said of a whole because a part of it is wrong: a list that is then empty."""
    places = [error["loc"] for error in errors]

    def has_wrong_part(loc: tuple[int | str, ...]) -> bool:
        return any(len(one) > len(loc) and one[: len(loc)] == loc for one in places)

    return [error for error in errors if not has_wrong_part(error["loc"])]


def _together(found: Sequence[WorkloadError]) -> WorkloadError:
    """The first error, with what the others say behind it."""
    said = list(dict.fromkeys(map(str, found)))
    more = len(said) - _MOST_SAID
    shown = [*said[:_MOST_SAID], f"{more} more"] if more > 0 else said
    found[0].args = ("; also ".join(shown),)
    return found[0]


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
            return WorkloadError(field, None, _allowed_at(error["loc"]), "is missing")
        case "union_tag_invalid":
            tag = context["tag"]
            kinds = context["expected_tags"].replace("'", "")
            expected = f"one of {kinds}{nearest(tag, kinds.split(', '))}"
            return WorkloadError(f"{field}.kind", tag, expected)
        case "union_tag_not_found":
            kinds = ", ".join(_kinds_at(error["loc"]))
            return WorkloadError(f"{field}.kind", None, f"one of {kinds}", "is missing")
        case "value_error" if isinstance(context["error"], DisagreementError):
            found = context["error"]
            return WorkloadError(field, None, found.allowed, found.problem)
        case "outside":
            return WorkloadError(field, value, context["allowed"])
        case "model_attributes_type" | "model_type" | "model_class_type":
            return WorkloadError(field, value, "a mapping with a kind, as {kind: ...}")
        case "bool_type":
            return WorkloadError(field, value, "true or false")
        case "too_short":
            return WorkloadError(field, value, f"at least {context['min_length']} in the list")
        case "too_long":
            return WorkloadError(field, value, f"at most {context['max_length']} in the list")
        case "string_type":
            return WorkloadError(field, value, "a text")
        case "path_type":
            return WorkloadError(field, value, "a path")
        case "invalid_key":
            return WorkloadError("workload", value, "a text", "is no name of a field")
        case "tuple_type":
            return WorkloadError(field, value, "a list")
        case _:
            expected = error["msg"].removeprefix("Input should be ")
            return WorkloadError(field, value, expected[0].lower() + expected[1:])


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model whose fields stand at `loc`, a path of fields, places in lists and kinds."""
    model, kinds = WorkloadSpec, {}
    for part in loc:
        if part in kinds:
            model, kinds = kinds[part], {}
        elif isinstance(part, str) and part in model.model_fields:
            kinds = _kinds(model.model_fields[part].annotation)
            if len(kinds) == 1 and None in kinds:
                model = kinds[None]
    return model


def _allowed_at(loc: tuple[int | str, ...]) -> str:
    """What may stand in the field at `loc`, in words."""
    field = _model_at(loc[:-1]).model_fields.get(str(loc[-1]))
    if field is None:
        return "a value"
    bounds = [one.allowed for one in field.metadata if isinstance(one, Within)]
    kinds = [kind for kind in _kinds(field.annotation) if kind]
    if bounds:
        return bounds[0]
    if get_origin(field.annotation) is tuple:
        return "a list"
    if kinds:
        return f"a mapping whose kind is one of {', '.join(kinds)}"
    return "a path" if field.annotation is Path else "a text"


def _kinds_at(loc: tuple[int | str, ...]) -> list[str]:
    """The kinds that may stand in the field at `loc`."""
    fields = [part for part in loc if isinstance(part, str)]
    annotation = _model_at(loc[: len(loc) - 1]).model_fields[fields[-1]].annotation
    return [kind for kind in _kinds(annotation) if kind]


def _kinds(annotation: object) -> dict[str | None, type[BaseModel]]:
    """The models in a type, by their `kind`; None where a model has none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        kind = annotation.model_fields.get("kind")
        return {get_args(kind.annotation)[0] if kind else None: annotation}
    found: dict[str | None, type[BaseModel]] = {}
    for inner in get_args(annotation):
        found |= _kinds(inner)
    return found


def _field_path(loc: tuple[int | str, ...], data: object) -> str:
    """`arrivals.rate_per_s` for ('arrivals', 'poisson', 'rate_per_s'): the file has no tags."""
    path: list[str] = []
    kind: object = None
    for part in loc:
        # The tag comes first in a mapping that has a kind; a field may be called the same.
        if kind == part:
            kind = None
            continue
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, Sequence) and isinstance(part, int) and not isinstance(data, str):
            data = data[part] if part < len(data) else None
        kind = data.get("kind") if isinstance(data, Mapping) else None
        path.append(str(part))
    return ".".join(path) or "workload"
