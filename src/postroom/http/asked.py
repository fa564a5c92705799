"""Kinds of values that callers give in a query, with their bounds."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

Text = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
"""PostgreSQL has no NUL in texts."""


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError("a time that far away means nothing") from error


Moment = Annotated[datetime, AfterValidator(_in_utc)]
"""A date (its midnight) or a time; in UTC where no offset is given."""
