"""What the fuzzer has found worth keeping passes its own checks; the long form is `make fuzz`."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from fuzz import corpus, seeds
from fuzz.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

SOME = 8  # one in so many of the slow ones


def kept(target: str) -> Sequence[bytes]:
    inputs = [*seeds.of(target), *corpus.load(target)]
    return inputs[::SOME] if target == "swollen" else inputs


@pytest.mark.parametrize("target", TARGETS)
def test_no_kept_input_breaks_anything(target: str) -> None:
    for raw in kept(target):
        TARGETS[target](raw)


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=50)))
def test_inputs_are_kept_as_they_are(inputs: list[bytes]) -> None:
    assert corpus.unpacked(corpus.pack(inputs)) == inputs


def test_what_is_kept_stays_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(corpus, "FOLDER", tmp_path)
    monkeypatch.setattr(corpus, "MOST_BYTES", 2_000)
    many = [bytes((n * n * k) % 251 for k in range(n)) for n in range(400)]

    count = corpus.keep("x", many)

    assert 0 < count < 400
    assert (tmp_path / "x.zst").stat().st_size <= 2_000
    assert set(corpus.load("x")) == set(sorted(many, key=len)[:count])
