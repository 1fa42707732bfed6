"""What is said about one run, in reading order."""

from __future__ import annotations

from . import (
    headline,
    kv_charts,
    latency_charts,
    latency_parts,
    machine_use,
    metric_tables,
    server,
    server_own,
    setup_tables,
    slowest,
    step_charts,
    tables,
)
from .facts import axes, engine_name, hardware
from .load_text import load_text
from .model import Report, Run, Section, present
from .place import Place


def run_report(run: Run) -> Report:
    """Everything a report says about a run; parts that have nothing to show are left out."""
    config = run.result["config"]
    return Report(
        title=run.name,
        subtitle=" · ".join(
            (config["model"], engine_name(run), axes(run), hardware(run), load_text(run.result))
        ),
        badge=headline.badge(run),
        verdict=headline.verdict(run),
        statements=headline.statements(run),
        figures=headline.key_figures(run),
        notes=(*headline.validity_notes(run), *headline.caveats(run)),
        sections=tuple(section for section in _sections(run) if section.parts),
        footer=_footer(run),
        premise=headline.premise(run),
    )


def _sections(run: Run) -> tuple[Section, ...]:
    place = Place(run)
    return (
        Section(
            "latency",
            "Latency",
            present(*latency_charts.distributions([run]), latency_charts.over_time(run)),
        ),
        Section(
            "parts",
            "Where latency went",
            present(
                latency_parts.first_token(run),
                latency_parts.slow_tokens(run),
                latency_parts.parts(run),
            ),
        ),
        Section(
            "steps",
            "What the engine did",
            present(
                step_charts.timeline(place),
                step_charts.queues(place),
                step_charts.step_time([run]),
                slowest.steps(run),
            ),
        ),
        Section(
            "server",
            "The server's own account",
            present(server_own.over_time(run), server_own.summary(run)),
        ),
        Section("kv", "KV memory", present(kv_charts.kv_usage(place), tables.kv(run))),
        Section(
            "numbers",
            "Metrics",
            present(
                metric_tables.distributions(run),
                metric_tables.rates(run),
                machine_use.machine_use(run),
                tables.counters(run),
                tables.memory(run),
                server.client(run),
            ),
        ),
        Section("quality", "Quality", present(tables.quality(run))),
        Section(
            "requests",
            "Requests",
            present(
                tables.slowest(run),
                slowest.first_tokens(run),
                slowest.tokens(run),
                server.errors(run),
                tables.not_served(run),
            ),
        ),
        Section("validity", "Validity", (tables.checks(run),)),
        Section(
            "setup",
            "Set-up",
            (setup_tables.config(run), setup_tables.workload(run), setup_tables.environment(run)),
        ),
        Section("glossary", "Glossary", (tables.glossary(),)),
    )


def _footer(run: Run) -> str:
    version = run.result["environment"].get("packages", {}).get("llmbench") or "unknown version"
    result = run.result
    # A simulated run has no time of day: its bytes depend on nothing but its settings.
    parts = (f"llmbench {version}", f"run {result['run_id']}", result["created_at"])
    return " · ".join(part for part in (*parts, result["label"]) if part)
