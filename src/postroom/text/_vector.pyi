from collections.abc import Callable

def vector(
    head: dict[str, list[int]],
    body: str,
    place: int,
    known: dict[str, bytes],
    met: Callable[[str], bytes | None],
    pages: Callable[[int], bytes],
) -> tuple[bytes, bool] | None: ...
