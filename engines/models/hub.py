"""The Hugging Face hub: what its ids look like, and what a failed fetch says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from ..errors import ModelError

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")

_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_STATUS_ALONE = re.compile(r"(\d+ Client Error\.)?( ?\(.*ID: .*\))?")


@contextmanager
def fetching(name: str, field: str = "model") -> Iterator[None]:
    """Around a fetch of the model `name`, which the setting `field` asks for: whatever the hub's
    client raises becomes a ModelError of one line."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

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
    except GatedRepoError as error:  # a kind of the next
        page = f"https://huggingface.co/{name}"
        problem = f"is gated: accept its conditions at {page}, then {_LOG_IN}"
        raise ModelError(field, name, problem) from error
    except RepositoryNotFoundError as error:
        problem = f"is not on the hub, or is private: check its spelling, or {_LOG_IN}"
        raise ModelError(field, name, problem) from error
    except (client_error, OSError, ValueError) as error:
        problem = f"cannot be fetched from the hub ({_said(error)})"
        raise ModelError(field, name, problem) from error


def _said(error: BaseException) -> str:
    """The error's first line, or what it is where it has none. The hub's library begins many with
    a kind of status or an id, and says what was wrong after a blank line."""
    first, _, rest = str(error).strip().partition("\n")
    if _STATUS_ALONE.fullmatch(first) and rest.strip():
        first = rest.strip().partition("\n")[0]
    return first or type(error).__name__
