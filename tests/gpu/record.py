"""What a check of a GPU leaves: the figures of its commands, as JSON and to read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

# Exit codes of commands that wrote what they measured: cut short; numbers that prove nothing.
INTERRUPTED, INVALID = 130, 3
TENSORRT_LLM_TOK_S = 15_220  # its published output tokens/s: Llama-3-8B in FP8, 1000/1000, one H100
FP8_SUMS = "ours in float32; the published figure's likely in fewer bits (docs/decisions.md)"


@dataclass(frozen=True)
class Outcome:
    """exit_code None: stopped at its budget, or never begun. seen: what the record keeps of it."""

    name: str
    command: str
    exit_code: int | None
    seconds: float
    tail: str
    seen: dict[str, Any]


def seen_in(name: str, out: Path) -> dict[str, Any]:
    """The figures of a command, from the files it wrote; none where it had nothing to write yet."""
    if name.startswith(("decode-", "context-")) and (out / f"{name}.json").exists():
        return json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    if not (out / name / "result.json").exists():
        return {}
    if name == "busy":
        return {"gpu_busy_share": busy_share(out / "busy")}
    if name in ("ttft", "throughput"):
        result = json.loads((out / name / "result.json").read_text(encoding="utf-8"))
        metrics = result["metrics"]
        return {
            "ttft_p50_s": statistic(metrics, "ttft", "p50"),
            "output_tokens_per_s": statistic(metrics, "output_throughput", "run"),
            "kernels": result["kernels"],
            "environment": result["environment"],
        }
    return {}


def statistic(metrics: dict[str, Any], name: str, which: str) -> float | None:
    """None where a run was cut short before there was any."""
    return metrics.get(name, {}).get("stats", {}).get(which)


def busy_share(run: Path) -> float | None:
    """The device's own time over the time that passed, over the steps that decode everybody; None
    where no device keeps time. An upper bound: it counts waits for launches within a step."""
    import pandas as pd

    steps = pd.read_parquet(run / "steps.parquet")
    steps = steps[steps["prefill_tokens"] == 0]
    steps = steps[steps["decode_tokens"] == steps["decode_tokens"].max()]
    passed_s = float((steps["end_s"] - steps["start_s"]).sum())
    on_device_s = float(steps["device_s"].sum())
    return on_device_s / passed_s if on_device_s else None


def write_record(out: Path, outcomes: Sequence[Outcome]) -> None:
    """record.json with everything, record.md to read."""
    import torch

    about = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU: a smoke run",
        "driver": driver(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        **{name: version_of(name) for name in ("triton", "transformers")},
        "cuda": torch.version.cuda,
        "published_tensorrt_llm_tok_s": TENSORRT_LLM_TOK_S,
        "fp8_sums": FP8_SUMS,
    }
    record = {**about, "outcomes": [asdict(outcome) for outcome in outcomes]}
    (out / "record.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    lines = ["# GPU check", "", *(f"- {name}: {value}" for name, value in about.items()), ""]
    lines += ["| command | result | s | figures |", "|---|---|---|---|"]
    lines += [line_of(outcome) for outcome in outcomes]
    lines += ["", "What has no figures here was not measured.", ""]
    for outcome in outcomes:
        lines += [f"## {outcome.name}", "", "```", outcome.command, "", outcome.tail.strip()]
        lines += ["```", ""]
    (out / "record.md").write_text("\n".join(lines), encoding="utf-8")


def driver() -> str | None:
    """The NVIDIA driver's version; None without one."""
    asked = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def line_of(outcome: Outcome) -> str:
    verdicts = {0: "ok", None: "stopped", INTERRUPTED: "cut short", INVALID: "not valid"}
    verdict = verdicts.get(outcome.exit_code, f"exit {outcome.exit_code}")
    figures = ", ".join(
        f"{name} {value:.4g}" for name, value in outcome.seen.items() if isinstance(value, float)
    )
    return f"| {outcome.name} | {verdict} | {outcome.seconds:.0f} | {figures} |"
