"""All scenarios: the tables, and what follows from combining what they are made of."""

import random
from collections.abc import Iterable, Iterator
from itertools import product

from crash import tables
from crash.language import FLAGS, Scenario
from crash.tables import BASE, Row

TARGETS = {
    "another folder": (BASE, "Work"),
    "an empty folder": (BASE, "Archive"),
    "a new folder": (BASE, "New"),
    "a folder below": (f"{BASE} | Work/Old f", "Work/Old"),
    "Größe": (f"{BASE} | Größe f", "Größe"),
}
WHICH = {"one": "a", "two": "a c", "all": "a b c"}
STEPS = (  # from BASE; each is tried with a validity that changes and a modseq that goes backwards
    "deliver INBOX f",
    "deliver INBOX a",
    "deliver INBOX -f a'",
    "expunge INBOX a",
    "expunge INBOX c",
    "empty INBOX",
    "flag INBOX a +seen",
    "flag INBOX b -seen +flagged",
    "move INBOX a -> Work",
    "move INBOX a b c -> Archive",
    "move Work d -> INBOX",
    "copy INBOX a -> Work",
    "move INBOX a -> Work; move Work a -> INBOX",
    "create New; move INBOX a b -> New",
    "rename Work -> Done",
    "delete Work",
    "delete Work; create Work; deliver Work f",
)
LARGEST = 2000
PAIRS = 12
SEED = 3


def every() -> tuple[Scenario, ...]:
    """Each name once."""
    found = tuple(_every())
    assert len({one.name for one in found}) == len(found)
    return found


def _every() -> Iterator[Scenario]:
    for group, rows in (
        ("deliver", tables.DELIVERIES),
        ("remove", tables.REMOVALS),
        ("move", tables.MOVES),
        ("copy", tables.COPIES),
        ("folder", tables.FOLDERS),
        ("at once", tables.AT_ONCE),
    ):
        yield from _named(group, rows)
    for one in _named("one validity for all, folder", tables.SHARED_VALIDITY):
        yield Scenario(one.name, one.before, one.happens, validity=1)
    for one in _named("parked", tables.PARKED):
        yield Scenario(one.name, one.before, one.happens, largest=LARGEST)
    for one in _named("parked", tables.REFUSED):
        yield Scenario(one.name, one.before, one.happens, fault="unavailable-uid")
    for name, before in tables.FIRST:
        yield Scenario(f"first: {name}", before, is_first=True)
    for meanwhile in tables.FIRST_MEANWHILE:
        yield Scenario(f"first: meanwhile {meanwhile}", BASE, meanwhile=meanwhile, is_first=True)
    for happens, meanwhile in tables.MEANWHILE:
        yield Scenario(f"{happens}: meanwhile {meanwhile}", BASE, happens, meanwhile)
    yield from _flags()
    yield from _moves_and_copies()
    yield from _with_numbers()
    yield from _pairs()


def _named(group: str, rows: Iterable[Row]) -> Iterator[Scenario]:
    for name, before, happens in rows:
        yield Scenario(f"{group}: {name}", before, happens)


def _flags() -> Iterator[Scenario]:
    every = " ".join(f"+{flag}" for flag in FLAGS)
    for flag in FLAGS:
        yield Scenario(f"flag: {flag} given", BASE, f"flag INBOX a +{flag}")
        yield Scenario(f"flag: {flag} taken", f"INBOX a+{flag} b+{flag}+seen", f"flag INBOX a -{flag}")
    yield Scenario("flag: all given", BASE, f"flag INBOX a {every}")
    yield Scenario(
        "flag: all taken", f"INBOX a{''.join(every.split())}", f"flag INBOX a {every.replace('+', '-')}"
    )
    yield Scenario("flag: given and taken", BASE, "flag INBOX b +flagged -seen; flag INBOX a +seen")
    yield Scenario("flag: given and taken back", BASE, "flag INBOX a +seen; flag INBOX a -seen")
    yield Scenario("flag: every mail", BASE, "flag INBOX a +seen; flag INBOX c +seen; flag Work d +seen")
    yield Scenario("flag: one of two places", "INBOX a b | Work a", "flag Work a +seen")
    yield Scenario("flag: both places", "INBOX a b | Work a", "flag Work a +seen; flag INBOX a +flagged")
    yield Scenario("flag: one of two doubles", "INBOX a a b", "flag INBOX a +seen")


def _moves_and_copies() -> Iterator[Scenario]:
    for (target, (before, name)), (many, words) in product(TARGETS.items(), WHICH.items()):
        create = "create New; " if name == "New" else ""
        yield Scenario(f"move: {many} to {target}", before, f"{create}move INBOX {words} -> {name}")
        yield Scenario(f"copy: {many} to {target}", before, f"{create}copy INBOX {words} -> {name}")


def _with_numbers() -> Iterator[Scenario]:
    for verb in ("renumber", "shuffle", "backwards"):
        yield Scenario(f"{verb}: nothing else", BASE, f"{verb} INBOX")
        for step in STEPS:
            yield Scenario(f"{verb}: after {step}", BASE, f"{step}; {verb} INBOX")
    for step in STEPS:
        yield Scenario(f"renumber: before {step}", BASE, f"renumber INBOX; {step}")
        yield Scenario(f"backwards: before {step}", BASE, f"backwards INBOX; {step}")
    yield Scenario("renumber: doubles", "INBOX a a+seen b", "renumber INBOX")
    yield Scenario("shuffle: doubles", "INBOX a a+seen b", "shuffle INBOX")
    yield Scenario("renumber: doubles, one less", "INBOX a a b | Work a", "expunge INBOX a; renumber INBOX")
    yield Scenario("renumber: a mail of three folders", "INBOX a | Work a b | Old a", "renumber Work")
    yield Scenario("renumber: an empty folder", BASE, "renumber Archive")
    yield Scenario("renumber: twice", BASE, "renumber INBOX; renumber INBOX")


def _pairs() -> Iterator[Scenario]:
    """Steps that do not stand in each other's way, two at a time."""
    dice = random.Random(SEED)
    inbox = [step for step in STEPS if "Work" not in step]
    work = [step.replace("INBOX a b c", "Work d e").replace("INBOX a", "Work d") for step in inbox]
    work = [step for step in work if "INBOX" not in step and "New" not in step]
    for first, second in dice.sample(list(product(inbox, work)), PAIRS):
        yield Scenario(f"at once: {first}; {second}", BASE, f"{first}; {second}")
