"""The worked workflow's own steps, on an equal tree and on ones with a planted regression."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .expressions import condition, evaluate, substitute
from .runner import ROOT, run_job
from .trees import ONE_REQUEST_FEWER, Change, plant, repository


def github(base: str, head: str, *labels: str) -> dict[str, Any]:
    """What GitHub says of a pull request."""
    return {
        "repository": "someone/llmbench",
        "token": "t0ken",
        "event": {
            "pull_request": {
                "number": 7,
                "base": {"sha": base},
                "head": {"sha": head, "repo": {"full_name": "someone/llmbench"}},
                "labels": [{"name": name} for name in labels],
            }
        },
    }


@pytest.mark.parametrize(
    ("changes", "code"),
    [((), 0), ((ONE_REQUEST_FEWER,), 1)],
    ids=["equal", "one request fewer"],
)
def test_the_gate_passes_an_equal_tree_and_fails_a_planted_regression(
    tmp_path: Path, changes: tuple[Change, ...], code: int
) -> None:
    base, head = repository(tmp_path / "tree", *changes)
    job = run_job(tmp_path / "tree", "gate.yml", "gate", github(base, head), tmp_path / "runner")

    exact = job.step("Exact, in virtual time")
    assert exact.code == code, exact.output
    assert job.failed == bool(code)
    assert job.asked.splitlines() == [
        "pip install --disable-pip-version-check --constraint constraints.txt --editable .",
        f"gh pr comment 7 --edit-last --create-if-none --body-file {tmp_path}/runner/comment.md",
    ]
    assert job.step("Wall time, by turns").code is None
    assert ("::error title=regressed" in exact.output) == bool(code)
    assert job.summary.startswith("**❌" if code else "**✅")
    assert (tmp_path / "runner" / "comment.md").read_text().strip() == job.summary.strip()


def test_a_baseline_that_is_refused_is_said_in_the_comment(tmp_path: Path) -> None:
    """The comment's step failed for want of a file, and hid the cause."""
    refused = (".github/gate.yaml", "engine: inflight", "engine: nonesuch")
    base, head = repository(tmp_path / "tree", refused)
    job = run_job(tmp_path / "tree", "gate.yml", "gate", github(base, head), tmp_path / "runner")
    assert job.step("Exact, in virtual time").code == 2
    assert job.step("Comment").code == 0
    said = (tmp_path / "runner" / "comment.md").read_text()
    assert "runs.inflight-8b: engine: 'nonesuch' is not allowed" in said


def test_an_action_after_a_failure_runs_its_own_steps(tmp_path: Path) -> None:
    """Wall time is measured even where the exact gate failed."""
    composite = {"inputs": {}, "runs": {"steps": [{"name": "inner", "run": "echo ran"}]}}
    steps = [
        {"name": "fails", "run": "exit 3"},
        {"name": "skipped", "run": "true"},
        {"if": "${{ !cancelled() }}", "uses": "./action"},
    ]
    for path, data in (
        ("action/action.yml", composite),
        (".github/workflows/w.yml", {"jobs": {"j": {"steps": steps}}}),
    ):
        (tmp_path / "tree" / path).parent.mkdir(parents=True)
        (tmp_path / "tree" / path).write_text(yaml.safe_dump(data))
    job = run_job(tmp_path / "tree", "w.yml", "j", {}, tmp_path / "runner")
    assert [(step.name, step.code) for step in job.steps] == [
        ("fails", 3),
        ("skipped", None),
        ("inner", 0),
    ]


def test_every_script_is_bash_and_holds_no_expression() -> None:
    """What people write (labels, titles) must not become part of a script."""
    files = [*ROOT.glob(".github/workflows/*.yml"), *ROOT.glob(".github/actions/*/action.yml")]
    scripts = [
        step["run"]
        for path in files
        for step in _steps(yaml.safe_load(path.read_text()))
        if "run" in step
    ]
    assert len(scripts) >= 5
    for script in scripts:
        assert "${{" not in script
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def _steps(data: dict[str, Any]) -> list[dict[str, Any]]:
    jobs = data.get("jobs", {}).values()
    return [step for job in (*jobs, data.get("runs", {})) for step in job.get("steps", [])]


def test_a_change_that_cannot_be_planted_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x")
    with pytest.raises(ValueError, match="holds 'y' 0 times"):
        plant(tmp_path, ("a.py", "y", "z"))


CONTEXT = {
    "inputs": {"a-b": "", "c": "x"},
    "labels": [{"name": "one"}, {"name": "two"}],
    "failed": False,
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("inputs.a-b != ''", False),
        ("inputs.c == 'x' && !cancelled()", True),
        ("contains(labels.*.name, 'two')", True),
        ("contains(labels.*.name, 'three') || (inputs.c == 'it''s')", False),
    ],
)
def test_expressions(expression: str, value: bool) -> None:
    assert evaluate(expression, CONTEXT) is value
    assert condition(f"${{{{ {expression} }}}}", CONTEXT) is value
    assert substitute(f"a ${{{{ {expression} }}}}", CONTEXT) == f"a {str(value).lower()}"


def test_after_a_failure_only_those_run_that_ask() -> None:
    failed = {**CONTEXT, "failed": True}
    assert not condition("inputs.c == 'x'", failed)
    assert condition("!cancelled() && inputs.c == 'x'", failed)


@pytest.mark.parametrize("expression", ["inputs.missing", "hashFiles('a')", "1 + 1", "a b"])
def test_an_expression_that_is_not_known_is_no_guess(expression: str) -> None:
    with pytest.raises(ValueError, match=r"unknown|cannot read"):
        evaluate(expression, {"a": 1, "b": 1, "inputs": {}})


def test_the_page_installs_by_one_address_and_has_both_sides_force_a_kernel(tmp_path: Path) -> None:
    """`llmbench @ git+https://...` came to pip as three words, of which it refused the second."""
    action = "uses: OWNER/llmbench/.github/actions/llmbench-gate@REF"
    page = (ROOT / "docs" / "gate.md").read_text()
    (example,) = [part for part in page.split("```yaml\n") if action in part.partition("```")[0]]
    (step,) = [
        step
        for step in yaml.safe_load(example.partition("```")[0])
        if step.get("uses", "").startswith("OWNER/llmbench/")
    ]
    forced = [step["with"][side].count("--kernel silu_mul=") for side in ("ab-a", "ab-b")]
    assert forced == [1, 1]  # one fused step was held against single operations
    repository(tmp_path / "tree")
    uses = {"uses": "./.github/actions/llmbench-gate", "with": {"install": step["with"]["install"]}}
    workflow = tmp_path / "tree" / ".github" / "workflows" / "other.yml"
    workflow.write_text(yaml.safe_dump({"jobs": {"gate": {"steps": [uses]}}}))
    job = run_job(tmp_path / "tree", "other.yml", "gate", github("a", "b"), tmp_path / "runner")
    asked = job.asked.removeprefix("pip install --disable-pip-version-check ").split()
    assert asked == ["git+https://github.com/OWNER/llmbench@REF"]
