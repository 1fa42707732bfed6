"""A gate's verdicts as JUnit XML, for build servers.

The elements and attributes are those that Ant's writer makes and its readers check for (the schema
of its JUnit task; `junit-10.xsd` of Jenkins' xunit-plugin): a suite has properties, cases,
system-out and system-err, in that order, counts of each outcome, a time, a host.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree

from .text import one_line
from .verdicts import VerdictRow, Verdicts

# What XML 1.0 has no way to write, not even escaped (section 2.2).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(verdicts: Verdicts, *, now: datetime | None = None) -> str:
    """A test case a row. Regressed is a failure, inconclusive and invalid an error: a build server
    must not show either as passed."""
    stamp = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S")
    suite = ElementTree.Element(
        "testsuite",
        name=_text(verdicts.title),
        timestamp=stamp,
        hostname="localhost",
        time="0",
    )
    properties = ElementTree.SubElement(suite, "properties")
    for line in verdicts.about:
        ElementTree.SubElement(properties, "property", name="about", value=_text(line))
    for row in verdicts.rows:
        _case(suite, row)
    for reason in verdicts.invalid:
        case = _element(suite, "validity")
        ElementTree.SubElement(case, "error", type="invalid", message=_text(reason))
    said = [verdicts.headline, *verdicts.warnings]
    ElementTree.SubElement(suite, "system-out").text = "\n".join(map(_text, said))
    ElementTree.SubElement(suite, "system-err")
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", "0")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, row: VerdictRow) -> None:
    case = _element(suite, row.name)
    if row.verdict in ("passed", "improved"):
        return
    kind = "failure" if row.verdict == "regressed" else "error"
    message = f"{row.verdict}: {row.change}" + (f" ({row.note})" if row.note else "")
    ElementTree.SubElement(case, kind, type=row.verdict, message=_text(message))


def _element(suite: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname="llmbench.gate", name=_text(name), time="0"
    )


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", one_line(text))
