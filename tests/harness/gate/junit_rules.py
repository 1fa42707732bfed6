"""What readers of JUnit XML ask of a document, as data.

The stricter of two published schemas at each place: Jenkins' xunit-plugin, `junit-10.xsd` (names,
attributes, the form of a time), and the schema of Ant's JUnit task (order of a suite's children,
what every suite and case must have, a timestamp without a zone).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element


@dataclass(frozen=True)
class Rule:
    """children: in this order; a name that ends in `*` any number of times, others at most once."""

    children: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    text: bool = False


RULES = {
    "testsuite": Rule(
        ("properties", "testcase*", "system-out", "system-err"),
        ("name", "tests", "failures", "errors", "time", "timestamp", "hostname"),
        ("skipped", "id", "package", "group", "file", "log", "url"),
    ),
    "properties": Rule(("property*",)),
    "property": Rule((), ("name", "value")),
    "testcase": Rule(("skipped", "error", "failure"), ("name", "classname", "time"), ("group",)),
    "error": Rule((), ("type",), ("message",), text=True),
    "failure": Rule((), ("type",), ("message",), text=True),
    "skipped": Rule((), (), ("type", "message"), text=True),
    "system-out": Rule(text=True),
    "system-err": Rule(text=True),
}
FORMS = {
    "time": r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?",
    "timestamp": r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}",
    **dict.fromkeys(("tests", "failures", "errors", "skipped"), r"\d+"),
}


def broken(root: Element) -> list[str]:
    """Every rule that a document breaks, in words."""
    wrong = [] if root.tag == "testsuite" else [f"begins with {root.tag}"]
    return [*wrong, *_broken(root), *_counts(root)]


def _broken(element: Element) -> Iterator[str]:
    rule = RULES.get(element.tag)
    if rule is None:
        yield f"{element.tag} is unknown"
        return
    names = {name.rstrip("*") for name in rule.children}
    order = [child.tag for child in element]
    pattern = "".join(
        f"({name.rstrip('*')} ){'*' if '*' in name else '?'}" for name in rule.children
    )
    if not re.fullmatch(pattern, "".join(f"{tag} " for tag in order)):
        yield f"{element.tag} holds {order}, not {rule.children} in this order"
    if missing := set(rule.required) - set(element.attrib):
        yield f"{element.tag} lacks {sorted(missing)}"
    if unknown := set(element.attrib) - {*rule.required, *rule.optional}:
        yield f"{element.tag} has {sorted(unknown)}"
    if not rule.text and (element.text or "").strip():
        yield f"{element.tag} holds text"
    for name, value in element.attrib.items():
        if name in FORMS and not re.fullmatch(FORMS[name], value):
            yield f"{name} is {value!r}"
    for child in element:
        if (child.tail or "").strip():
            yield f"text after {child.tag}"
        if child.tag in names:
            yield from _broken(child)


def _counts(suite: Element) -> Iterator[str]:
    for name, path in (
        ("tests", "testcase"),
        ("failures", "testcase/failure"),
        ("errors", "testcase/error"),
        ("skipped", "testcase/skipped"),
    ):
        found = len(suite.findall(path))
        if int(suite.get(name, "0")) != found:
            yield f"{name} is {suite.get(name)}, and there are {found}"
