"""Cloud endpoints in the store."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from portico.model.endpoint import EndpointUrl
from portico.store.records import Records
from portico.store.tables import CloudEndpointRow, utc_now
from portico.store.tokens import new_id


@dataclass(frozen=True, slots=True)
class CloudEndpoint:
    """A URL that a traffic policy answers, whether an agent is there or not."""

    id: str
    owner_id: str
    url: EndpointUrl
    traffic_policy: str
    """As its author wrote it."""
    pooling: bool
    description: str
    note: str
    created_at: datetime
    updated_at: datetime


class CloudEndpoints(Records[CloudEndpointRow, CloudEndpoint]):
    """The cloud endpoints, within one transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, CloudEndpointRow, "ep", _to_endpoint)

    def add(
        self,
        owner_id: str,
        url: EndpointUrl,
        traffic_policy: str,
        *,
        pooling: bool = False,
        description: str = "",
        note: str = "",
    ) -> CloudEndpoint:
        """Keep one that has been checked."""
        now = utc_now()
        return self._keep(
            CloudEndpointRow(
                id=new_id(self._kind),
                owner_id=owner_id,
                url=str(url),
                traffic_policy=traffic_policy,
                pooling=pooling,
                description=description,
                note=note,
                created_at=now,
                updated_at=now,
            )
        )


def _to_endpoint(row: CloudEndpointRow) -> CloudEndpoint:
    return CloudEndpoint(
        id=row.id,
        owner_id=row.owner_id,
        url=EndpointUrl.parse(row.url),
        traffic_policy=row.traffic_policy,
        pooling=row.pooling,
        description=row.description,
        note=row.note,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
