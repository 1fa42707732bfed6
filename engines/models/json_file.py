"""A JSON file of a checkpoint. No torch: a simulation reads a model's config.json alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import ModelError


def read_json(path: Path) -> dict[str, Any]:
    """A file that is one JSON object. Raises ModelError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError("model", str(path), "does not exist") from None
    except OSError as error:
        raise ModelError("model", str(path), f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        problem = str(error).partition("\n")[0]
        raise ModelError("model", str(path), f"is not JSON ({problem})") from error
    if not isinstance(data, dict):
        raise ModelError("model", str(path), "is not a JSON object")
    return data
