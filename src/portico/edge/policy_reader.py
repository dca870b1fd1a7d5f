"""Policies with what they name and do not hold, read from the store: networks of IP policies, and secrets."""

import logging
from typing import Final

from portico.edge.policy_data import reads_data, with_ip_policies
from portico.model.errors import DATABASE_UNUSABLE, PorticoError
from portico.store.store import Store

log = logging.getLogger(__name__)
MOST_KEPT: Final = 10_000
"""Policies that are known as they were last read."""


class PolicyReader:
    """Reads for endpoints. What it knows may come and go with agents while the database is away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: dict[tuple[str, str], str] = {}

    def filled(self, policy: str, owner_id: str) -> str:
        """The policy, as `Endpoint.traffic_policy` has it, with what it names in place of the names.

        As it was last read, where the database cannot be used: when that is back, all is looked at again.
        Raises PorticoError where it was never read.
        """
        if not reads_data(policy):
            return policy
        key = policy, owner_id
        try:
            filled = self._read(policy, owner_id)
        except PorticoError as error:
            if error.code is not DATABASE_UNUSABLE or key not in self._last:
                raise
            log.warning("a policy goes on with what it read before", extra={"owner": owner_id, "reason": error.message})
            return self._last[key]
        self._last.pop(key, None)
        self._last[key] = filled
        if len(self._last) > MOST_KEPT:
            del self._last[next(iter(self._last))]
        return filled

    def missing_secrets(self, policy: str, owner_id: str) -> list[str]:
        """The secrets that a policy reads and its owner does not have."""
        if "secrets" not in policy:
            return []
        from portico.edge.policy_secrets import missing_secrets

        with self._store.read() as unit:
            return missing_secrets(policy, lambda vault, name: unit.secrets.value(owner_id, vault, name))

    def _read(self, policy: str, owner_id: str) -> str:
        # Imported here: an edge without policies does not load their language.
        from portico.edge.policy_secrets import with_secrets

        with self._store.read() as unit:
            policy = with_ip_policies(policy, lambda ids: unit.ip_policies.networks_of(ids, owner_id))
            return with_secrets(policy, lambda vault, name: unit.secrets.value(owner_id, vault, name))
