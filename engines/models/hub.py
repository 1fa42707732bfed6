"""The Hugging Face hub: what its ids look like, and what a failed fetch says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from ..errors import ModelError

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@contextmanager
def fetching(name: str, field: str = "model") -> Iterator[None]:
    """Around a fetch of the model `name`, which the setting `field` asks for: whatever the hub's
    client raises becomes a ModelError of one line."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    # The error of whichever client the hub's library has, of all its failures: a proxy's, a wait
    # too long, a connection that was cut.
    client_error = cast("type[Exception]", HfHubHTTPError.__bases__[0])
    try:
        yield
    except ModelError:
        raise
    except LocalEntryNotFoundError as error:
        problem = "is no directory here nor in the hub's cache, and the hub cannot be reached"
        raise ModelError(field, name, problem) from error
    except (client_error, OSError, ValueError) as error:
        problem = f"cannot be fetched from the hub ({_said(error)})"
        raise ModelError(field, name, problem) from error


def _said(error: BaseException) -> str:
    """The error's first line, or what it is where it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
