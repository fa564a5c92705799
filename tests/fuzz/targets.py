"""What is fuzzed, by name."""

from collections.abc import Callable, Mapping

from fuzz import imap_path, mime_path, swollen

TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "imap": imap_path.check,
    "mime": mime_path.check,
    "swollen": swollen.check,
}
