"""What somebody has to look at."""

from uuid import UUID

from postroom.client.call import Listing, Paged, query
from postroom.client.model.alerts import OperatorAlert, OperatorAlertPage


class Alerts:
    @Listing
    def list_alerts(
        self,
        *,
        open: bool | None = None,
        account: UUID | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Paged[OperatorAlertPage, OperatorAlert]:
        """Alerts, the latest first; with `open` those that are not over."""
        asked = query(open=open, account=account, page_size=page_size, cursor=cursor)
        return Paged("GET", "/v1/alerts", OperatorAlertPage, asked)
