from collections.abc import Callable

def vector(
    facts: list[str],
    texts: list[tuple[str, str, int]],
    known: dict[str, bytes],
    met: Callable[[str], bytes | None],
    pages: Callable[[int], bytes],
) -> tuple[bytes, bool] | None: ...
