"""Every operation of the API, in the order of its rooms."""

from .accounts import Accounts
from .alerts import Alerts
from .events import Events
from .jobs import Jobs
from .mail import Mail
from .people import People
from .sync import Sync
from .webhooks import Hooks


class Operations(People, Accounts, Mail, Sync, Jobs, Events, Hooks, Alerts):
    """All of them."""
