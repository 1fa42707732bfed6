"""More connections than a process may open files."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from multiprocessing.connection import Connection

from llmbench.harness.client.config import ClientConfig, parse_url
from llmbench.harness.client.errors import Label
from llmbench.harness.machine.open_files import most_open_files
from llmbench.harness.mock.process import in_process
from llmbench.harness.mock.rule import Rule
from llmbench.harness.run.record import RequestStatus

from ..open_files import allow_few, few_allowed
from .sending import plan_of, send_all

REQUESTS = 90
MORE = 25
# So slow that all of them are on their way together.
SLOW = Rule(ttft_s=1.0, gap_s=0.001)


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    with in_process(SLOW) as url, few_allowed(MORE) as hard:
        sent = send_all(ClientConfig(parse_url(url)), plan_of(REQUESTS, tokens=2))
        assert most_open_files() == hard
    statuses = Counter(one.status for one in sent.records)
    assert statuses == {RequestStatus.OK: REQUESTS}, {one.detail for one in sent.records}


def test_beyond_the_hard_limit_the_client_is_named_and_not_the_server() -> None:
    ours, theirs = multiprocessing.Pipe()
    with in_process(SLOW) as url:
        child = multiprocessing.get_context("spawn").Process(
            target=_send_with_few, args=(url, theirs), daemon=True
        )
        child.start()
        assert ours.poll(60)
        most, errors = ours.recv()
        child.join(10)
    (detail,) = {detail for _, detail in errors if detail}
    labels = Counter(label for label, _ in errors)
    assert set(labels) == {"", Label.OPEN_FILES}
    assert 0 < labels[""] <= MORE
    assert detail == (
        f"a process of the client may have {most} files open at once, of which each connection is "
        "one: raise its hard limit (ulimit -Hn), or take more --processes"
    )


def _send_with_few(url: str, parent: Connection) -> None:
    most = allow_few(MORE, hard=True)
    sent = send_all(ClientConfig(parse_url(url)), plan_of(REQUESTS, tokens=2))
    parent.send((most, [(one.error, one.detail) for one in sent.records]))
