"""Optional filters for a statement: numbered parameters, never values inside the text."""

from typing import Any, LiteralString


class Where:
    """Conditions that all have to hold, and the values of the whole statement.

        where = Where(tenant, limit)  # $1 and $2 of the statement
        where.given("m.account_id = $?", account)
        where.add("m.subject <> $? AND m.preview <> $?", "")
        rows = await conn.fetch(where.into(PAGE), *where.values)

    where PAGE reads `... WHERE m.tenant_id = $1 AND {where} ORDER BY ... LIMIT $2`.
    """

    def __init__(self, *values: Any) -> None:
        self.values: list[Any] = list(values)
        self._conditions: list[str] = []

    def add(self, condition: LiteralString, *value: Any) -> None:
        """One more condition. Every `$?` in it stands for the one value, which may be absent."""
        if len(value) > 1 or ("$?" in condition) != bool(value):
            raise ValueError(f"a condition and its value do not match: {condition}")
        if value:
            self.values.append(value[0])
        self._conditions.append(f"({condition.replace('$?', f'${len(self.values)}')})")

    def given(self, condition: LiteralString, value: Any) -> None:
        """The same, unless the value is None."""
        if value is not None:
            self.add(condition, value)

    def into(self, statement: LiteralString) -> str:
        """The statement with `{where}` replaced by the conditions, or by TRUE when there are none."""
        before, marker, after = statement.partition("{where}")
        if not marker:
            raise ValueError("the statement has no {where}")
        return before + (" AND ".join(self._conditions) or "TRUE") + after
