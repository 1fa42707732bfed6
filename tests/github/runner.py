"""Runs the steps of a workflow's job as GitHub's runner would: its own scripts, in bash.

What only GitHub has is stood in for: `actions/checkout` and `setup-python` did their work before,
and `pip install` and `gh` are programs that write down what they were asked. Everything else runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .expressions import condition, substitute

ROOT = Path(__file__).resolve().parents[2]
PROVIDED = ("actions/checkout@v4", "actions/setup-python@v5", "actions/upload-artifact@v4")
STEP_TIMEOUT_S = 600
_PIP = """\
#!/bin/bash
if [[ "$1 $2 $3" == "-m pip install" ]]; then echo "pip ${*:3}" >> "$RUNNER_TEMP/asked"; exit 0; fi
exec %s "$@"
"""
_GH = """\
#!/bin/bash
echo "gh $*" >> "$RUNNER_TEMP/asked"
"""
_LLMBENCH = """\
#!/bin/bash
exec %s -c 'from llmbench.harness.cli import main; main()' "$@"
"""


@dataclass
class Done:
    """One step. code: None for one that was skipped, or that GitHub provides."""

    name: str
    code: int | None
    output: str = ""


@dataclass
class Job:
    """What became of a job. summary, asked: what was written to the step summary, and what pip and
    gh were asked."""

    steps: list[Done] = field(default_factory=list)
    summary: str = ""
    asked: str = ""

    @property
    def failed(self) -> bool:
        return any(step.code not in (None, 0) for step in self.steps)

    def step(self, name: str) -> Done:
        return next(step for step in self.steps if step.name == name)


def run_job(tree: Path, workflow: str, job: str, github: Mapping[str, Any], temp: Path) -> Job:
    """Every step of a job of the tree's workflow, in the tree. github: its context."""
    data = yaml.safe_load((tree / ".github" / "workflows" / workflow).read_text())
    temp.mkdir()
    runner = _Runner(tree, github, temp)
    runner.run(data["jobs"][job]["steps"], {})
    done = runner.job
    for name in ("summary", "asked"):
        if (temp / name).exists():
            setattr(done, name, (temp / name).read_text())
    return done


class _Runner:
    def __init__(self, tree: Path, github: Mapping[str, Any], temp: Path) -> None:
        self.job = Job()
        self._tree = tree
        self._github = github
        self._environment = _environment(tree, temp)

    def run(self, steps: Sequence[Mapping[str, Any]], inputs: Mapping[str, str]) -> None:
        """The steps of a job or of a composite action. A step is asked whether one before it has
        failed there, and not around it (actions/runner, ADR 1438)."""
        began = len(self.job.steps)
        for step in steps:
            failed = any(one.code for one in self.job.steps[began:])
            context = {"github": self._github, "inputs": inputs, "failed": failed}
            name = str(step.get("name") or step.get("uses"))
            if not condition(str(step.get("if", "success_so_far")), _with_default(context)):
                self.job.steps.append(Done(name, None))
            elif "run" in step:
                self.job.steps.append(self._script(name, step, context))
            elif step["uses"].startswith("./"):
                given = {
                    key: substitute(str(value), context)
                    for key, value in step.get("with", {}).items()
                }
                self._composite(step["uses"], given)
            elif step["uses"] in PROVIDED:
                self.job.steps.append(Done(name, None))
            else:
                raise ValueError(f"an action that nobody stands in for: {step['uses']}")

    def _composite(self, uses: str, given: Mapping[str, str]) -> None:
        action = yaml.safe_load((self._tree / uses / "action.yml").read_text())
        unknown = set(given) - set(action["inputs"])
        if unknown:
            raise ValueError(f"{uses} has no input {sorted(unknown)[0]}")
        defaults = {name: str(one.get("default", "")) for name, one in action["inputs"].items()}
        self.run(action["runs"]["steps"], {**defaults, **given})

    def _script(self, name: str, step: Mapping[str, Any], context: Mapping[str, Any]) -> Done:
        environment = {
            key: substitute(str(value), context) for key, value in step.get("env", {}).items()
        }
        script = Path(self._environment["RUNNER_TEMP"]) / "step.sh"
        script.write_text(substitute(step["run"], context))
        # As GitHub starts `shell: bash`.
        ended = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self._tree,
            env={**self._environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_TIMEOUT_S,
            check=False,
        )
        return Done(name, ended.returncode, ended.stdout)


def _with_default(context: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**context, "success_so_far": True}


def _environment(tree: Path, temp: Path) -> dict[str, str]:
    """As after `pip install --editable .`: the tree is what `import llmbench` finds."""
    programs, packages = temp / "bin", temp / "site"
    for folder in (programs, packages):
        folder.mkdir()
    (packages / "llmbench").symlink_to(tree, target_is_directory=True)
    for name, script in _programs():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "PYTHONPATH": str(packages),
        "RUNNER_TEMP": str(temp),
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(temp / "summary"),
        "OMP_NUM_THREADS": "1",
    }


def _programs() -> Iterator[tuple[str, str]]:
    yield "python", _PIP % sys.executable
    yield "gh", _GH
    yield "llmbench", _LLMBENCH % sys.executable
