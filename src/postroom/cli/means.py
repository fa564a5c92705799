"""What it takes to sync in a command."""

from postroom.cli.installation import Installation
from postroom.providers.pool import Pool
from postroom.sync.perform import Means
from postroom.sync.run import Manner
from postroom.sync.workshop import Workshop


def means_of(house: Installation, shop: Workshop | None = None) -> Means:
    """A `shop` reads a first sync's mail in a process of its own."""
    settings = house.settings
    manner = Manner(grace=settings.sync_grace, pause=settings.login_pause)
    pool = Pool(tell=house.hints.tell, slots=house.slots)  # keeps none; an executor has its own
    return Means(house.database, house.vault, house.providers, shop or Workshop(), manner, pool, house.oauth)
