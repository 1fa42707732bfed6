"""The options of a command as data: from a mapping, a quoted text or a file to its settings."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ...engines.errors import ConfigError, RefusedError
from ...workloads.yaml_file import NotYamlError, parse_yaml
from ..errors import StoreError, unreadable
from .machine import with_machine_options
from .run import NOT_SIMULATED, with_run_options
from .unconverted import USAGE_ERROR, usage_problem

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..simulation.simulated_machine import Machine
    from .machine import MachineOf


class NotAnOption(ConfigError):  # noqa: N818 -- it names what it is
    """`str()`: ``field: 'x' is not an option of 'llmbench run' (did you mean 'y'?)``."""

    def __init__(self, field: str, name: str, command: str, known: Iterable[str]) -> None:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        super().__init__(field, name, f"an option of {command!r}", hint)
        self.args = (f"{field}: {name!r} is not an option of {command!r}{hint}",)


def words_of(field: str, text: str) -> list[str]:
    """`"--engine paged"`, or the path of a YAML file of options. Raises ConfigError for `field`."""
    if text.lstrip().startswith("-") or not text.strip():
        try:
            return shlex.split(text)
        except ValueError as error:
            raise ConfigError(field, text, f"quoted options ({error})") from error
    return words_of_mapping(field, read_mapping(field, Path(text)))


def words_of_mapping(field: str, options: Mapping[str, Any]) -> list[str]:
    """`{engine: paged, kernel: [a, b], verify-kernels: true}` as a command line has it; false is
    `--no-…`, or left out of a flag that has none, and so is null. Raises ConfigError for `field`,
    also for a list where an option has one value."""
    words: list[str] = []
    for name, value in options.items():
        if str(name).startswith("-"):
            raise ConfigError(field, name, "the name without dashes in front")
        option = "--" + str(name).replace("_", "-")
        if value is None:
            continue
        if isinstance(value, bool):
            if value or not _is_alone(option):
                words.append(option if value else "--no-" + option[2:])
        elif isinstance(value, Mapping):
            raise ConfigError(field, f"{name}: {value}", "a text, a number, true, false or a list")
        else:
            if isinstance(value, list) and _has_one_value(option):
                raise ConfigError(field, f"{name}: {value}", "one value: a command line has one")
            many = value if isinstance(value, list) else [value]
            words.extend(f"{option}={one}" for one in many)
    return words


def _is_alone(option: str) -> bool:
    """Whether it is a flag that is false where it is not given, and has no `--no-…`."""
    one = _declared(option)
    return one is not None and getattr(one, "is_flag", False) and not one.secondary_opts


def _has_one_value(option: str) -> bool:
    """Of several, a command line would take the last and say nothing."""
    one = _declared(option)
    return one is not None and not one.multiple


def _declared(option: str) -> Any:
    """Click's option of that name, of a run or of a simulated one's machine; None if none has it:
    that is for the command to refuse."""
    params = _parser(with_run_options()(with_machine_options(_nothing))).params
    return next((one for one in params if option in one.opts), None)


def _nothing(settings: RunConfig, machine: MachineOf) -> None:
    """A command that takes the options of a run and of a machine."""


def read_mapping(field: str, path: Path) -> dict[str, Any]:
    """A YAML (or JSON) file of one mapping. Raises ConfigError for `field`."""
    expected = "options in quotes or a YAML file"
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(field, path, expected, error) from error
    except NotYamlError as error:
        raise StoreError(field, path, f"{error}; expected {expected}") from error
    if not isinstance(data, dict):
        raise ConfigError(field, str(path), "a mapping of options")
    return data


def run_settings(words: Sequence[str], field: str) -> RunConfig:
    """What `llmbench run` would make of these words. Raises ConfigError for `field` where they are
    no options of it, and as `run` does for what they say."""
    held: list[RunConfig] = []

    @with_run_options()
    def keep(settings: RunConfig) -> None:
        held.append(settings)

    _parse(keep, words, field, "llmbench run")
    return held[0]


def simulated_settings(words: Sequence[str], field: str) -> tuple[RunConfig, Machine]:
    """What `llmbench simulate` would make of them, but of the bundled model and workload."""
    held: list[tuple[RunConfig, Machine]] = []

    @with_run_options(without=NOT_SIMULATED)
    @with_machine_options
    def keep(settings: RunConfig, machine: MachineOf) -> None:
        held.append((settings, machine()))

    _parse(keep, words, field, "llmbench simulate")
    return held[0]


def _parse(command: Callable[..., None], words: Sequence[str], field: str, of: str) -> None:
    """of: whose options they are, as it is typed."""
    parser = _parser(command)
    try:
        parser.main(list(words), prog_name="llmbench", standalone_mode=False)
    except USAGE_ERROR as error:
        # Click's NoSuchOption, which alone has suggestions of its own.
        if hasattr(error, "possibilities"):
            name = getattr(error, "option_name", "").lstrip("-")
            known = [one.lstrip("-") for param in parser.params for one in param.opts]
            raise NotAnOption(field, name, of, known) from error
        if isinstance(error, typer.BadParameter):
            raise RefusedError(field, usage_problem(error)) from error
        allowed = f"options ({usage_problem(error)})"
        raise ConfigError(field, shlex.join(words), allowed) from error


def _parser(command: Callable[..., None]) -> Any:
    """What typer makes of it: a command of click's."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    return typer.main.get_command(app)
