"""An account's secret, a password or a grant, and its tokens: sealed for their rows and no others."""

from uuid import UUID

from postroom.accounts.grant import Grant, Granted, grant_of, grant_text, granted_of, granted_text
from postroom.accounts.model import Account
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


def seal_grant(vault: Vault, tenant: TenantId, account: UUID, grant: Grant) -> str:
    """The same of a grant."""
    return vault.seal(grant_text(grant), _slot(tenant, account))


def unseal_grant(vault: Vault, account: Account, sealed: str | None) -> Grant:
    """Raises `NoCredentials`, or what the vault raises."""
    if sealed is None:
        raise NoCredentials("No grant is stored for this account; connect it again.")
    return grant_of(vault.open(sealed, _slot(account.tenant_id, account.public_id)))


def seal_token(vault: Vault, account: Account, granted: Granted) -> str:
    """For `accounts_token.secret`."""
    return vault.seal(granted_text(granted), _token_slot(account))


def unseal_token(vault: Vault, account: Account, sealed: str) -> Granted:
    """Raises what the vault raises."""
    return granted_of(vault.open(sealed, _token_slot(account)))


def _token_slot(account: Account) -> Slot:
    return Slot(account.tenant_id, str(account.public_id), "accounts_token.secret")


def _slot(tenant: TenantId, account: UUID) -> Slot:
    return Slot(tenant, str(account), "accounts_account.secret")
