"""What is kept of a message that cannot be read: every byte, however large it is."""

import hashlib
from io import BytesIO

import pytest

from postroom.blobs.pack import CHUNK, expand, further_chunks
from postroom.providers.model import RemoteItem, RemoteMessage
from postroom.sync.prepare import raw_of

SEEN = frozenset({"\\Seen"})


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_message_in_a_file_is_packed_by_its_first_chunk_and_keeps_its_file(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    raw = raw_of(RemoteMessage(1, BytesIO(content), size), RemoteItem(1, SEEN))

    assert raw.file is not None
    assert expand(raw.packed.head) + b"".join(map(expand, further_chunks(raw.file))) == content
    assert (raw.packed.digest, raw.packed.size, raw.flags) == (hashlib.sha256(content).digest(), size, SEEN)


def test_a_message_in_memory_is_packed_whole() -> None:
    content = b"Subject: hello\r\n\r\n" * 1000
    raw = raw_of(RemoteMessage(1, content, len(content), flags=frozenset()), RemoteItem(1, SEEN))

    assert (raw.file, raw.flags) == (None, frozenset())
    assert raw.packed.size == len(content)
