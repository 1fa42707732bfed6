"""Small reads over HTTP beside a measured connection, by the way that connection takes.

Left to itself urllib goes by the environment's proxies, which no client of ours does, so that
another server may answer than the one that is measured; and it takes a key along when it is
redirected to another host.
"""

from __future__ import annotations

import urllib.request
from http.client import HTTPResponse
from typing import Any


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None: the redirect is an error of its own status."""


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def open_directly(asked: str | urllib.request.Request, timeout_s: float) -> HTTPResponse:
    """As `urllib.request.urlopen`, which says what it raises."""
    return _OPENER.open(asked, timeout=timeout_s)
