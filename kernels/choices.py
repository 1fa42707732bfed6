"""`op=implementation`, as a user chooses: a registered name, or a module or file of their own.

silu_mul=torch                    registered
silu_mul=my_package.gates:silu    a function or class of a module
silu_mul=gates.py                 what the file registers for the operation
silu_mul=gates.py:silu            a function or class of the file, registered or not
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from .dispatch import Implementation
from .errors import KernelError, cause
from .registry import OPS, implementations, implements, known, registered_by

# Sources that a kernel's Python may hand to a compiler.
COMPILED = frozenset({".c", ".cc", ".cpp", ".cu", ".cuh", ".cxx", ".h", ".hip", ".hpp"})
# Below all that is registered: used where it is asked for and nowhere else.
UNREGISTERED_PRIORITY = -200


def resolve_choices(choices: Iterable[str]) -> dict[str, str]:
    """operation -> implementation name, of choices `op=what`; plugins among them are loaded.

    Raises KernelError for what is unknown, said twice, or cannot be loaded.
    """
    chosen: dict[str, str] = {}
    for choice in choices:
        op, separator, what = choice.partition("=")
        if not separator or not what:
            raise KernelError(f"kernel {choice!r} is not of the form op=implementation")
        known("operation", op, OPS)
        if Path(what.partition(":")[0]).suffix in COMPILED:
            allowed = "a Python file, which may have it compiled (docs/examples/kernels)"
            raise KernelError(f"kernel: {what!r} is not allowed; expected {allowed}")
        name = load_plugin(op, what) if is_plugin(what) else _registered_name(op, what)
        if chosen.setdefault(op, name) != name:
            raise KernelError(f"{op}: both {chosen[op]!r} and {name!r} were asked for")
    return chosen


def load_plugin(op: str, place: str) -> str:
    """The name of the implementation of `op` at `place`, `module:function` or `file.py[:function]`,
    which is registered if it was not.

    Raises KernelError, in one line, where the module does not import, has no such function, or what
    it has cannot be called as the operation is.
    """
    module_name, _, function = place.rpartition(":") if _names_function(place) else (place, "", "")
    if _is_file(module_name) and not Path(module_name).expanduser().is_file():
        raise KernelError(f"kernel: {module_name!r} is not allowed; expected a Python file")
    module, registered = _imported(_resolved(module_name))
    of_op = [one for one in registered if one.op == op]
    if not function:
        if len(of_op) != 1:
            found = ", ".join(one.name for one in of_op) or "none"
            raise KernelError(
                f"{op}: {place} registers {len(of_op)} implementations of it ({found}); "
                "name one, as file.py:function"
            )
        return of_op[0].name
    target = getattr(module, function, None)
    if target is None:
        raise KernelError(f"{op}: {module_name} has no {function!r}")
    for one in implementations(op):
        if one.function is target:
            return one.name
    name = f"{Path(module_name).stem}:{function}"
    register = implements(op, backend=name, priority=UNREGISTERED_PRIORITY)
    registered_by(lambda: register(target))
    return name


def is_plugin(what: str) -> bool:
    """Whether a choice's right side is a place, not the name of an implementation."""
    return what.endswith(".py") or ":" in what or "/" in what


def _names_function(place: str) -> bool:
    return ":" in place and not place.endswith(".py")


def _registered_name(op: str, name: str) -> str:
    found = {one.name: one for one in implementations(op)}

    def runs_here(name: str) -> bool:
        needs = found[name].needs
        return needs is None or needs() is None

    return known(f"implementation of {op}", name, found, runs_here)


def _is_file(name: str) -> bool:
    return name.endswith(".py") or "/" in name


def _resolved(name: str) -> str:
    """One name for a file, however it is written."""
    return str(Path(name).expanduser().resolve()) if _is_file(name) else name


@cache
def _imported(name: str) -> tuple[ModuleType, tuple[Implementation, ...]]:
    """The module and what it registers. name: as `_resolved` gives it."""
    # What ships is registered before, and so is not taken for the plugin's.
    for op in OPS:
        implementations(op)
    load = _from_file if _is_file(name) else import_module
    try:
        return registered_by(lambda: load(name))
    except KernelError as error:
        raise KernelError(f"{name}: {error}") from error
    # Whatever a user's file does wrong: a script that ends itself ends no command.
    except (Exception, SystemExit) as error:
        raise KernelError(f"kernel plugin {name} does not import: {cause(error)}") from error


def _from_file(path: str) -> ModuleType:
    # Two files of one name are two modules.
    name = f"llmbench_plugin_{Path(path).stem}_{sha256(path.encode()).hexdigest()[:8]}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = module_from_spec(spec)
    # Triton and dataclasses look a function's module up by its name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
