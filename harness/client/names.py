"""What requests are called in the header `X-Request-Id`. vLLM takes it for its engine's own name,
where two of one name at a time are an error, or one request. So a name tells of the run, too."""

from __future__ import annotations


def sent_name(salt: str, request_id: str) -> str:
    """salt: of this run alone, or of its warm-up."""
    return f"{salt}-{request_id}"


def name_within_run(name: str) -> str:
    """What `sent_name` was given, or the last part of another client's name."""
    return name.rpartition("-")[2]
