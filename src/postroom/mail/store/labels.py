"""Messages with a label: what IMAP calls a keyword, and elsewhere is a folder.

A placement bears a label when one of its flags is that, in whatever case (RFC 9051, 2.3.2), or when its
folder has that name: its whole path, or the last part of it.
"""

from typing import LiteralString

from postroom.db.sql import Where

# Of each message of the list in its turn.
ALONG: LiteralString = """
    (SELECT true
       FROM mail_placement p
       JOIN mail_folder f ON f.tenant_id = p.tenant_id AND f.id = p.folder_id
      WHERE p.tenant_id = $1 AND p.message_id = m.id
        AND (f.path = $? OR right(f.path, length($?) + 1) = f.delimiter || $?
             OR EXISTS (SELECT FROM unnest(p.flags) AS flag WHERE lower(flag) = lower($?)))
      LIMIT 1)
"""
# All that bear it at once. To look for it in the flags as one text is cheap, and leaves few for the rest.
WHOLE: LiteralString = """
    m.id = ANY(ARRAY(
        SELECT p.message_id
          FROM mail_folder f
          JOIN mail_placement p ON p.tenant_id = f.tenant_id AND p.folder_id = f.id
         WHERE f.tenant_id = $1 AND (f.path = $? OR right(f.path, length($?) + 1) = f.delimiter || $?)
         UNION ALL
        SELECT p.message_id
          FROM mail_placement p
         WHERE p.tenant_id = $1
           AND strpos(lower(array_to_string(p.flags, ' ')), lower($?)) > 0
           AND EXISTS (SELECT FROM unnest(p.flags) AS flag WHERE lower(flag) = lower($?))))
"""


def along(where: Where, label: str | None) -> None:
    """For a short stretch of a list."""
    where.given(ALONG, label)


def whole(where: Where, label: str | None) -> None:
    """For all of a list: every placement of the tenant is looked at."""
    where.given(WHOLE, label)
