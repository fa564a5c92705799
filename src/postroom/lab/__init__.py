"""A scriptable mail server: for demonstrations, and for faults that no real server shows on demand."""

from postroom.lab.faults import FAULTS, Fault, UnknownFault
from postroom.lab.mailbox import LabFolder, LabMailbox
from postroom.lab.offers import OFFERS, UnknownOffer
from postroom.lab.server import LabServer, serve

__all__ = [
    "FAULTS",
    "OFFERS",
    "Fault",
    "LabFolder",
    "LabMailbox",
    "LabServer",
    "UnknownFault",
    "UnknownOffer",
    "serve",
]
