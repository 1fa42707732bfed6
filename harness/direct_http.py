"""Small reads over HTTP beside a measured connection, by the way that connection takes.

Left to itself urllib goes by the environment's proxies, which no client of ours does, so that
another server may answer than the one that is measured; and it takes a key along when it is
redirected to another host.
"""

from __future__ import annotations

import urllib.request
from functools import cache
from http.client import HTTPResponse
from typing import Any

from .tls import Trust


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None: the redirect is an error of its own status."""


@cache
def _opener(trust: Trust | None) -> urllib.request.OpenerDirector:
    handlers = [urllib.request.ProxyHandler({}), _NoRedirect()]
    if trust is not None:
        handlers.append(urllib.request.HTTPSHandler(context=trust.context()))
    return urllib.request.build_opener(*handlers)


def open_directly(
    asked: str | urllib.request.Request, timeout_s: float, trust: Trust | None = None
) -> HTTPResponse:
    """As `urllib.request.urlopen`, which says what it raises. trust: for https."""
    return _opener(trust).open(asked, timeout=timeout_s)
