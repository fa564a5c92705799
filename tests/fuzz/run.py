"""`make fuzz MINUTES=n`: look for inputs that break a parser, keep those that reach something new, count.

seeds, kept corpus -> build/fuzz/TARGET/corpus -> atheris -> smallest set of the same coverage -> kept corpus
                                                    |
                                                    +-> findings in build/fuzz/TARGET, counted in the tally

It ends with status 1 when something was found. `make fuzz ARGS="mime"` for one target only.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fuzz import corpus, seeds, tally

HERE = Path(__file__).parents[2] / "build" / "fuzz"
SHARES = {"imap": 0.6, "mime": 0.35, "swollen": 0.05}  # of the time
TURN = 10  # minutes after which what was found is kept


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("only", nargs="*", help="imap, mime, swollen; all of them by default")
    options.add_argument("--minutes", type=float, default=10)
    chosen = options.parse_args()
    only = chosen.only or list(SHARES)
    whole = sum(SHARES[target] for target in only)
    left, found = chosen.minutes, 0
    while left > 0:
        turn = min(left, TURN)
        for target in only:
            found += fuzz(target, 60 * turn * SHARES[target] / whole)
        left -= turn
    sys.exit(1 if found else 0)


def fuzz(target: str, seconds: float) -> int:
    """Fuzz one target for so long; keeps, counts and reports. How many findings there were."""
    room = HERE / target
    growing = room / "corpus"
    corpus.spread([*seeds.of(target), *corpus.load(target)], growing)
    count, before = room / "count", set(room.glob("finding-*"))
    count.write_bytes(b"")
    words = room / "words"
    words.write_text("".join(f'"{quoted(word)}"\n' for word in seeds.words(target)))
    ended = drive(
        target,
        count,
        f"-max_total_time={max(round(seconds), 1)}",
        f"-max_len={seeds.LONGEST[target]}",
        f"-dict={words}",
        f"-artifact_prefix={room}/finding-",
        "-rss_limit_mb=2048",
        "-timeout=120",  # of the wall clock, on a busy machine; `drive` measures the process's own time
        str(growing),
    )
    findings = len(set(room.glob("finding-*")) - before)
    kept = corpus.keep(target, smallest(target, room))
    done = int(count.read_bytes().strip() or 0)
    total = tally.add(f"fuzz {target}", done, findings=findings, kept=kept)
    sys.stdout.write(f"{target}: {done:,} inputs, {total:,} in all, {findings} findings, {kept} kept\n")
    if findings or ended.returncode:
        sys.stdout.write(ended.stdout.decode("utf-8", "replace")[-4000:])
    sys.stdout.flush()
    return findings


def smallest(target: str, room: Path) -> Sequence[bytes]:
    """Inputs that together reach what all of the corpus reaches."""
    merged = room / "merged"
    merged.mkdir(exist_ok=True)
    for path in merged.iterdir():
        path.unlink()
    drive(target, room / "merging", "-merge=1", "-rss_limit_mb=2048", str(merged), str(room / "corpus"))
    return corpus.gathered(merged) or corpus.gathered(room / "corpus")


def drive(target: str, count: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "fuzz.drive", target, str(count), *options]
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: os.nice(19),
        check=False,
    )


def quoted(word: bytes) -> str:
    """As libFuzzer's dictionaries write bytes."""
    return "".join(chr(c) if 0x20 <= c < 0x7F and c not in b'"\\' else f"\\x{c:02x}" for c in word)


if __name__ == "__main__":
    main()
