"""What a server says of itself while it is measured: its `/metrics`, read by name and polled.

`watch` is what a driver calls; `parse.py` knows the names, `poll.py` the clock.
"""

from __future__ import annotations

from .metrics import Scrape, ScrapedMetrics
from .parse import ScrapeError, parse
from .poll import Fetch, fetch_over_http, watch

__all__ = ["Fetch", "Scrape", "ScrapeError", "ScrapedMetrics", "fetch_over_http", "parse", "watch"]
