"""What every part of a result is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ResultPart(BaseModel):
    """Cannot change, and takes no field that the schema does not name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
