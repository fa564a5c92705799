"""An account's secret, sealed for its row and no other."""

from uuid import UUID

from postroom.errors import NeedsOwner
from postroom.ids import TenantId
from postroom.vault.model import Slot
from postroom.vault.seal import Vault


class NoCredentials(NeedsOwner):
    code = "accounts.no_credentials"


def seal(vault: Vault, tenant: TenantId, account: UUID, secret: str) -> str:
    """For `accounts_account.secret`. `account` is the public id, which is known before the row exists."""
    return vault.seal(secret.encode(), _slot(tenant, account))


def unseal(vault: Vault, tenant: TenantId, account: UUID, sealed: str | None) -> str:
    """Raises `NoCredentials`, or what the vault raises."""
    if sealed is None:
        raise NoCredentials("No password is stored for this account; connect it again.")
    return vault.open(sealed, _slot(tenant, account)).decode()


def _slot(tenant: TenantId, account: UUID) -> Slot:
    return Slot(tenant, str(account), "accounts_account.secret")
