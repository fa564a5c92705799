"""The kept corpus: inputs that reached something new, one packed file for each target.

Only what our own fuzzer made of our own seeds (see `seeds`) is in here.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import zstandard

FOLDER = Path(__file__).parent / "corpus"
MOST_BYTES = 400 << 10  # of one packed file
LENGTH = 4  # bytes that say how long an input is


def load(target: str) -> Sequence[bytes]:
    """The inputs kept for a target; none if nothing is."""
    packed = FOLDER / f"{target}.zst"
    return unpacked(packed.read_bytes()) if packed.exists() else []


def keep(target: str, inputs: Iterable[bytes]) -> int:
    """Keep these, the shortest first, as many as there is room for. How many those are."""
    chosen = sorted(set(inputs), key=lambda raw: (len(raw), raw))
    while len(packed := pack(chosen)) > MOST_BYTES:
        del chosen[len(chosen) * 9 // 10 :]
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{target}.zst").write_bytes(packed)
    return len(chosen)


def pack(inputs: Iterable[bytes]) -> bytes:
    joined = b"".join(len(raw).to_bytes(LENGTH, "big") + raw for raw in inputs)
    return zstandard.ZstdCompressor(level=19).compress(joined)


def unpacked(packed: bytes) -> list[bytes]:
    joined, at, found = zstandard.ZstdDecompressor().decompress(packed), 0, list[bytes]()
    while at < len(joined):
        end = at + LENGTH + int.from_bytes(joined[at : at + LENGTH], "big")
        found.append(joined[at + LENGTH : end])
        at = end
    return found


def spread(inputs: Iterable[bytes], folder: Path) -> None:
    """Each input as a file of its own, as libFuzzer wants it."""
    folder.mkdir(parents=True, exist_ok=True)
    for raw in inputs:
        (folder / hashlib.sha256(raw).hexdigest()[:20]).write_bytes(raw)


def gathered(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir())]
