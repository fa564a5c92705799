"""Postroom inside another application: its routes, its engine, handlers in that one's transactions."""

from .model import (
    Event,
    Handled,
    HandlerCancelled,
    HandlerEnded,
    HandlerKnown,
    NotOpen,
    OtherDatabase,
    Unusable,
)
from .room import Postroom

__all__ = [
    "Event",
    "Handled",
    "HandlerCancelled",
    "HandlerEnded",
    "HandlerKnown",
    "NotOpen",
    "OtherDatabase",
    "Postroom",
    "Unusable",
]
