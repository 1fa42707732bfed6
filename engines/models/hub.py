"""The Hugging Face hub: what its ids look like, and what a failed fetch says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ModelError

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@contextmanager
def fetching(name: str, field: str = "model") -> Iterator[None]:
    """Around a fetch of the model `name`, which the setting `field` asks for: whatever the hub's
    client raises becomes a ModelError of one line."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        yield
    except ModelError:
        raise
    except LocalEntryNotFoundError as error:
        problem = "is no directory here nor in the hub's cache, and the hub cannot be reached"
        raise ModelError(field, name, problem) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        problem = f"cannot be fetched from the hub ({str(error).strip().partition(chr(10))[0]})"
        raise ModelError(field, name, problem) from error
