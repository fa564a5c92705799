"""Kinds of provider are found by name, and adding one touches nothing else."""

import pytest

from postroom.net.egress import Egress
from postroom.providers.files.provider import FilesProvider
from postroom.providers.imap.provider import ImapProvider
from postroom.providers.registry import Registry, UnknownProvider

PUBLIC = Egress(private_allowed=False)


def test_a_provider_is_found_by_its_kind() -> None:
    registry = Registry(PUBLIC)

    assert isinstance(registry["imap"], ImapProvider)
    assert {kind: provider.kind for kind, provider in registry.items()} == {"imap": "imap", "files": "files"}


def test_another_kind_can_be_added() -> None:
    assert isinstance(Registry(PUBLIC, {"other": lambda _: FilesProvider()})["other"], FilesProvider)


def test_an_unknown_kind_says_which_there_are() -> None:
    with pytest.raises(UnknownProvider, match="there are: files, imap"):
        Registry(PUBLIC)["carrier pigeon"]
