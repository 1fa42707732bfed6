"""What a gate found: for a terminal, for a pull request, for a build server."""

from __future__ import annotations

from xml.etree import ElementTree

from .gate import INCONCLUSIVE, INVALID, PASSED, REGRESSED, GateOutcome, Row

_HEADLINES = {
    PASSED: "passed: nothing got worse than allowed",
    REGRESSED: "regressed",
    INVALID: "invalid: a run that is not valid proves nothing",
    INCONCLUSIVE: "inconclusive: not enough evidence to pass or to fail",
}


def headline(outcome: GateOutcome) -> str:
    """The verdict in a line."""
    return _HEADLINES[outcome.exit_code]


def to_text(outcome: GateOutcome) -> str:
    """One line a rule."""
    lines = [headline(outcome), *(f"  {reason}" for reason in outcome.invalid)]
    width = max((len(row.verdict) for row in outcome.rows), default=0)
    for row in outcome.rows:
        note = f" ({row.note})" if row.note else ""
        lines.append(f"  {row.verdict:<{width}}  {row.rule.text}: {describe(row)}{note}")
    lines.extend(f"  note: {warning}" for warning in outcome.warnings)
    return "\n".join(lines) + "\n"


def to_markdown(outcome: GateOutcome) -> str:
    """A table for a pull request."""
    lines = [f"**llmbench gate: {headline(outcome)}**", ""]
    if outcome.baseline or outcome.current:
        lines += [f"Baseline `{outcome.baseline}`, current `{outcome.current}`.", ""]
    lines += [f"- {reason}" for reason in outcome.invalid]
    if outcome.rows:
        lines += ["| rule | change | verdict | note |", "|---|---|---|---|"]
        lines += [
            f"| `{row.rule.text}` | {describe(row)} | {row.verdict} | {row.note} |"
            for row in outcome.rows
        ]
        lines.append("")
    lines += [f"- {warning}" for warning in outcome.warnings]
    return "\n".join(lines) + "\n"


def to_junit(outcome: GateOutcome) -> str:
    """JUnit XML: a test case a rule. Regressed is a failure, inconclusive and invalid an error:
    a build server must not show either as passed."""
    suite = ElementTree.Element("testsuite", name="llmbench gate")
    for row in outcome.rows:
        case = ElementTree.SubElement(
            suite, "testcase", classname="llmbench.gate", name=row.rule.text
        )
        if row.verdict != "passed":
            kind = "failure" if row.verdict == "regressed" else "error"
            message = f"{row.verdict}: {describe(row)}" + (f" ({row.note})" if row.note else "")
            ElementTree.SubElement(case, kind, message=message)
    for reason in outcome.invalid:
        case = ElementTree.SubElement(suite, "testcase", classname="llmbench.gate", name="validity")
        ElementTree.SubElement(case, "error", message=reason)
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def describe(row: Row) -> str:
    """`12.1 -> 13.4 ms, +10.7 % (+2.1 to +19.0 %)`."""
    if row.baseline is None or row.current is None:
        return "not measured"
    scale, unit = _scale(row)
    values = f"{row.baseline * scale:.4g} -> {row.current * scale:.4g} {unit}".rstrip()
    if not row.rule.quantity.sampled or row.low is None or row.high is None:
        return values
    if row.rule.relative:
        return f"{values} ({_percent(row.low)} to {_percent(row.high)} %)"
    return f"{values} ({row.low * scale:+.4g} to {row.high * scale:+.4g} {unit})"


def _scale(row: Row) -> tuple[float, str]:
    unit = row.rule.quantity.unit
    return (1e3, "ms") if unit == "s" else (1.0, unit)


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.1f}"
