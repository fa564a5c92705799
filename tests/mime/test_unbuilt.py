"""What is built from C does what its Python form does."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postroom.mime import unbuilt

built = pytest.importorskip("postroom.mime._transfer", reason="needs a C compiler and Python's headers")

ESCAPES = st.lists(
    st.sampled_from(
        [b"=", b"==", b"=3D", b"=e9", b" ", b"\t", b"\r", b"\n", b"\r\n", b"A", b"x", b"\0", b"\xff"]
    )
    | st.binary(max_size=3),
    max_size=24,
).map(b"".join)


@given(ESCAPES)
@settings(max_examples=2_000)
@example(b"== \n")
@example(b"==\rx")
@example(b"= \t\r")
@example(b"=")
def test_quoted_printable_is_undone_alike(data: bytes) -> None:
    assert built.quoted_printable(data) == unbuilt.quoted_printable(data)


@given(st.binary(max_size=2_000) | st.text("aZ09+/-_= \r\n", max_size=2_000).map(str.encode))
def test_digits_of_base64_are_counted_alike(data: bytes) -> None:
    if b"=" not in data:
        assert built.base64_digits(data) == unbuilt.base64_digits(data)
