"""From JSON to a `Scenario`, and to one with other settings; what is wrong with it in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ...engines.errors import ConfigError, MissingError, unknown_name
from .scenario import EngineChoice, Scenario, ScenarioLimits, ScenarioRequest

_SHIPPED = Path(__file__).parent / "scenarios"

# Settings of an engine that belong to the situation here, or mean nothing where no model runs.
_ELSEWHERE = {
    "block_size": "block_size at the top of the scenario",
    "max_num_seqs": "limits.max_num_seqs",
    "max_num_batched_tokens": "limits.max_num_batched_tokens",
    "max_model_len": "limits.max_model_len",
    "kv_memory_bytes": "pool_blocks or pool_tokens",
    "swap_memory_bytes": "host_blocks",
}
_POOLS = ("pool_blocks", "pool_tokens")
# A string, which may contain two slashes, or a comment.
_STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*')


def shipped() -> dict[str, Path]:
    """The scenarios that ship, by name."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.json"))}


def load_scenario(source: str | Path) -> Scenario:
    """A scenario from a file, or one that ships by its name; a file of that name goes first.

    Raises ConfigError for what cannot be read, is no JSON (with the line) or no scenario.
    """
    path, known = Path(source), shipped()
    if not path.exists() and str(source) in known:
        path = known[str(source)]
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        near = get_close_matches(str(source), list(known), n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        allowed = f"a file, - for standard input, or one of {', '.join(known)}"
        raise ConfigError("scenario", str(source), allowed, hint) from error
    except OSError as error:
        raise ConfigError("scenario", str(source), f"a readable file: {error.strerror}") from error
    return parse_text(data, str(source))


def parse_text(data: bytes, source: str) -> Scenario:
    """A scenario from JSON text. source: its name in errors, which are those of `load_scenario`."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError("scenario", source, "UTF-8 text") from error
    return parse_scenario(parse_json(text, source))


def parse_json(text: str, source: str) -> object:
    """JSON that may have // comments. source: named where it is not JSON, with the line."""
    # Comments become blanks, so that lines and columns stay where they are.
    plain = _STRING_OR_COMMENT.sub(
        lambda found: " " * len(found[0]) if found[0].startswith("//") else found[0], text
    )
    try:
        return json.loads(plain, object_pairs_hook=_no_key_twice, parse_constant=_not_json)
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except RecursionError:
        problem = "it is nested too deep"
    except ValueError as error:
        problem = str(error)
    raise ConfigError("scenario", source, f"JSON; {problem}")


def parse_scenario(data: object) -> Scenario:
    """A checked scenario. Raises ConfigError for the first thing wrong, named by its path."""
    try:
        return Scenario.model_validate(data)
    except ValidationError as invalid:
        # A misspelt field is the cause where a required one is missing.
        errors = sorted(invalid.errors(), key=lambda one: one["type"] != "extra_forbidden")
        raise _explain(errors[0]) from None


def with_engine(scenario: Scenario, preset: str) -> Scenario:
    """The same situation for another engine: changes of the scenario's own engine go with it."""
    return scenario.model_copy(update={"engine": EngineChoice(preset=preset)})


def with_settings(scenario: Scenario, settings: Mapping[str, object]) -> Scenario:
    """Single settings changed, each by its bare name, wherever in a scenario it stands.

    Raises ConfigError for an unknown name or a value that cannot be.
    """
    data: dict[str, Any] = scenario.model_dump()
    homes: dict[str, dict[str, Any]] = {
        name: data for name in data if name not in ("engine", "limits", "requests", "about")
    }
    for part, model in (("engine", EngineChoice), ("limits", ScenarioLimits)):
        homes.update((name, data[part]) for name in model.model_fields)
    for name, value in settings.items():
        if name not in homes:
            raise unknown_name("setting", name, homes)
        homes[name][name] = value
        if name in _POOLS and value is not None:
            data.update({other: None for other in _POOLS if other != name})
    return parse_scenario(data)


def _no_key_twice(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} stands twice in one object")
        found[key] = value
    return found


def _not_json(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def _explain(error: ErrorDetails) -> ConfigError:
    *parents, last = error["loc"] or ("scenario",)
    field, value = _path(error["loc"]) or "scenario", error["input"]
    match error["type"]:
        case "extra_forbidden":
            return _unknown_field(_path(parents), str(last), value)
        case "missing":
            return ConfigError(field, None, "a value: it is missing")
        case "value_error":
            found = error.get("ctx", {})["error"]
            if not isinstance(found, ConfigError):
                raise found
            path = _path((*error["loc"], found.field))
            if isinstance(found, MissingError):
                return MissingError(path, found.allowed)
            return ConfigError(path, found.value, found.allowed)
        case "too_short":
            return ConfigError(field, "none", "at least one")
        case "string_pattern_mismatch":
            return ConfigError(field, _short(value), "letters, digits and . : / - _ only")
        case "model_type" | "model_attributes_type" | "dict_type":
            return ConfigError(field, _short(value), "an object in braces")
        case "literal_error":
            allowed = error.get("ctx", {})["expected"].replace("'", "").replace(" or ", ", ")
            return unknown_name(field, str(value), allowed.split(", "))
        case _:
            expected = error["msg"].removeprefix("Input should be ")
            return ConfigError(field, _short(value), expected[0].lower() + expected[1:])


def _unknown_field(parent: str, name: str, value: object) -> ConfigError:
    if parent == "engine" and name in _ELSEWHERE:
        return ConfigError(f"engine.{name}", value, f"it to be given as {_ELSEWHERE[name]}")
    return unknown_name(parent or "scenario", name, _model_at(parent).model_fields)


def _model_at(parent: str) -> type[BaseModel]:
    models = {"engine": EngineChoice, "limits": ScenarioLimits, "": Scenario}
    return models.get(parent, ScenarioRequest)


def _path(location: Iterable[int | str]) -> str:
    """`requests[2].n` for ('requests', 2, 'n')."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _short(value: object) -> object:
    """What a line has room for."""
    if isinstance(value, Mapping):
        name = value.get("id")
        return f"request {name}" if isinstance(name, str) and len(name) < 40 else "what it holds"
    if isinstance(value, list | tuple):
        return f"{len(value)} entries"
    return value if len(repr(value)) < 60 else f"{str(value)[:50]}…"
