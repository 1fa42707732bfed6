"""The result file, `result.json`: versioned, described by a JSON Schema, read by every report.

Units are in names or beside the values; times are seconds, sizes bytes, lengths tokens.
"""

from __future__ import annotations

from .attribution import Attribution, Band, Parts, SlowRequest, SlowToken
from .client import ClientError, ClientLoad, ErrorOf
from .kv import KVSummary, Share
from .machine import Energy, Memory, Peaks, Simulation
from .metrics import Counters, Metric
from .quality import Quality, TextParts
from .run import SCHEMA_VERSION, Result, Window, WorkloadSummary, json_schema
from .server import ServerOwnMetrics, Target
from .validity import HELD_BACK, LATE_GAPS, LATE_SPANS, Check, Validity

__all__ = [
    "HELD_BACK",
    "LATE_GAPS",
    "LATE_SPANS",
    "SCHEMA_VERSION",
    "Attribution",
    "Band",
    "Check",
    "ClientError",
    "ClientLoad",
    "Counters",
    "Energy",
    "ErrorOf",
    "KVSummary",
    "Memory",
    "Metric",
    "Parts",
    "Peaks",
    "Quality",
    "Result",
    "ServerOwnMetrics",
    "Share",
    "Simulation",
    "SlowRequest",
    "SlowToken",
    "Target",
    "TextParts",
    "Validity",
    "Window",
    "WorkloadSummary",
    "json_schema",
]
