"""Kinds of values that callers give, with their bounds."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
"""PostgreSQL has no NUL in texts."""


def _is_number(said: object) -> object:
    """`true` would be taken for 1, and "5" for 5."""
    if isinstance(said, bool | str):
        raise ValueError("write it as a number")
    return said


NUMBER = BeforeValidator(_is_number)
"""Of a number in a body; stands behind its bounds, so that these are told in the document."""

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _begins_with_a_day(text: object) -> object:
    """A mere number would be taken for seconds since 1970: `after=2024` would mean 00:33 of that year."""
    if not isinstance(text, str) or not DAY.match(text):
        raise ValueError("write it as YYYY-MM-DD, or as YYYY-MM-DDTHH:MM:SSZ")
    return text


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError("a time that far away means nothing") from error


Moment = Annotated[datetime, BeforeValidator(_begins_with_a_day), AfterValidator(_in_utc)]
"""A date (its midnight) or a time; in UTC where no offset is given."""

MOST_MEMBERS = 100
"""Of an object in a body; none of ours has half as many."""


class Body(BaseModel, extra="forbid"):
    """An object that callers send. A member that it does not have is refused, and too many of them at once.

    Else each would be a complaint of its own: 80,000 in a small body held up everybody for two seconds.
    """

    @model_validator(mode="before")
    @classmethod
    def _has_few_members(cls, said: Any) -> Any:
        if isinstance(said, dict) and len(said) > MOST_MEMBERS:
            raise ValueError(f"an object here has {MOST_MEMBERS} members at most")
        return said
