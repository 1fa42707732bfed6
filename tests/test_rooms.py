"""The tree explains itself only while these hold: who may import whom, and what is packaged."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("harness", "reports", "workloads", "engines", "kernels")

# The dependency rule: a room may import itself and these.
MAY_IMPORT = {
    "harness": {"reports", "workloads", "engines", "kernels"},
    "reports": set(),
    "workloads": set(),
    "engines": {"kernels"},
    "kernels": set(),
}


def source_files(room: str) -> Iterator[Path]:
    yield from sorted((ROOT / room).rglob("*.py"))


def imported_rooms(path: Path) -> Iterator[tuple[str, int]]:
    """Rooms a file imports, relatively or absolutely, with the line."""
    depth = len(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")
            if node.level == depth + 1:  # from ..<room>, at the level of the rooms
                yield from ((name, node.lineno) for name in _first(module, node.names))
            elif node.level == 0 and module[0] == "llmbench":
                yield from ((name, node.lineno) for name in _first(module[1:], node.names))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "llmbench" and len(parts) > 1:
                    yield parts[1], node.lineno


def _first(module: list[str], names: list[ast.alias]) -> list[str]:
    return [module[0]] if module and module[0] else [alias.name for alias in names]


@pytest.mark.parametrize("room", ROOMS)
def test_no_arrow_points_back_up(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for path in source_files(room)
        for imported, line in imported_rooms(path)
        if imported != room and imported not in MAY_IMPORT[room]
    ]
    assert wrong == []


def test_the_rule_sees_what_it_should() -> None:
    """The harness does import the other rooms; a parser that saw nothing would pass everything."""
    seen = {name for path in source_files("harness") for name, _ in imported_rooms(path)}
    assert {"reports", "workloads", "engines"} <= seen


@pytest.mark.parametrize("room", ROOMS)
def test_imports_inside_the_package_are_relative(room: str) -> None:
    absolute = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in source_files(room)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and node.level == 0
        and (node.module or "").split(".")[0] == "llmbench"
    ]
    assert absolute == []


def test_nothing_but_the_command_line_imports_the_command_line() -> None:
    """The library runs without it: `harness/cli/` is one of its users."""
    cli = ROOT / "harness" / "cli"
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for room in ROOMS
        for path in source_files(room)
        if not path.is_relative_to(cli)
        for module, line in _imported_modules(path)
        if module[:2] == ("harness", "cli")
    ]
    assert wrong == []
    own = {module for path in source_files("harness") for module, _ in _imported_modules(path)}
    assert {("harness", "cli", "app", "main"), ("harness", "storage", "store", "write_run")} <= own


def _imported_modules(path: Path) -> Iterator[tuple[tuple[str, ...], int]]:
    """What a file imports relatively, as names from the root on, with the line."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and 0 < node.level <= len(package) + 1:
            above = package[: len(package) + 1 - node.level]
            named = tuple(node.module.split(".")) if node.module else ()
            yield from (((*above, *named, alias.name), node.lineno) for alias in node.names)


def test_engine_names_appear_in_presets_only() -> None:
    """Nothing branches on a preset's name: `== "inflight"`, `in ("paged", …)`. (`paged` is also
    the name of a KV layout, so it is looked for only beside the word engine.)"""
    from llmbench.engines.presets import PRESETS

    names = {name for preset in PRESETS for name in (preset.name, *preset.aliases)} - {
        "paged",
        "static",
    }
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for room in ROOMS
        for path in source_files(room)
        if path.name != "presets.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        for value in ast.walk(node)
        if isinstance(value, ast.Constant) and value.value in names
    ]
    assert wrong == []


def test_every_package_of_the_tree_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    present = {
        "llmbench." + ".".join(path.parent.relative_to(ROOT).parts)
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert listed == present


def test_no_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "common", "misc", "manager"}
    assert [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in source_files(room)
        if path.stem in drawers
    ] == []


# Behind an extra, or in another tool's process.
NOT_IN_A_PLAIN_INSTALL = (
    *("harness/serve/", "harness/peers/runners/"),
    *("harness/tasks/engine_lm.py", "harness/pytest_plugin.py"),
)
# Parts of pydantic and jinja2 that their users import by name.
COME_WITH_A_DEPENDENCY = {"pydantic_core", "markupsafe"}


def test_what_a_plain_install_imports_is_a_dependency() -> None:
    """What stands at the top of a file is imported with it; an extra's package would make a
    command of a plain install fail."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=;\s]", one)[0] for one in project["dependencies"]}
    modules = {{"pyyaml": "yaml"}.get(one, one.replace("-", "_")) for one in declared}
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for room in ROOMS
        for path in source_files(room)
        if not str(path.relative_to(ROOT)).startswith(NOT_IN_A_PLAIN_INSTALL)
        for name in _imported_at_the_top(path)
        if name not in modules | sys.stdlib_module_names | COME_WITH_A_DEPENDENCY
    ]
    assert missing == []


def _imported_at_the_top(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]
