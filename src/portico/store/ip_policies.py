"""IP policies and their rules in the store."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portico.model.ip_rules import ALLOW, DENY, IpRules
from portico.store.records import Records
from portico.store.tables import IpPolicyRow, IpPolicyRuleRow
from portico.store.tokens import new_id


@dataclass(frozen=True, slots=True)
class IpPolicy:
    """A named set of rules."""

    id: str
    owner_id: str
    description: str
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class IpPolicyRule:
    """One network, and whether it is let in."""

    id: str
    owner_id: str
    ip_policy_id: str
    cidr: str
    action: str
    description: str
    note: str
    created_at: datetime


class IpPolicies(Records[IpPolicyRow, IpPolicy]):
    """The IP policies, within one transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, IpPolicyRow, "ipp", _to_policy)

    def add(self, owner_id: str, *, description: str = "", note: str = "") -> IpPolicy:
        """A new policy, without rules."""
        row = IpPolicyRow(id=new_id(self._kind), owner_id=owner_id, description=description, note=note)
        return self._keep(row)

    def networks_of(self, ids: Collection[str], owner_id: str) -> IpRules:
        """What these policies of one owner say together; one that he does not have lets nobody in."""
        query = select(IpPolicyRuleRow).where(
            IpPolicyRuleRow.ip_policy_id.in_(ids), IpPolicyRuleRow.owner_id == owner_id
        )
        rows = self._session.scalars(query.order_by(IpPolicyRuleRow.id)).all()
        allowed, denied = (
            tuple(dict.fromkeys(row.cidr for row in rows if row.action == action)) for action in (ALLOW, DENY)
        )
        return IpRules(allowed, denied)


class IpPolicyRules(Records[IpPolicyRuleRow, IpPolicyRule]):
    """The rules of all IP policies, within one transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, IpPolicyRuleRow, "ipr", _to_rule)

    def add(self, policy: IpPolicy, cidr: str, action: str, *, description: str = "", note: str = "") -> IpPolicyRule:
        """A new rule, which has been checked; it is of the policy's owner."""
        row = IpPolicyRuleRow(id=new_id(self._kind), owner_id=policy.owner_id, description=description, note=note)
        row.ip_policy_id, row.cidr, row.action = policy.id, cidr, action
        return self._keep(row)

    def count(self, ip_policy_id: str) -> int:
        """How many rules a policy has."""
        query = select(func.count()).where(IpPolicyRuleRow.ip_policy_id == ip_policy_id)
        return self._session.scalars(query).one()


def _to_policy(row: IpPolicyRow) -> IpPolicy:
    return IpPolicy(row.id, row.owner_id, row.description, row.note, row.created_at)


def _to_rule(row: IpPolicyRuleRow) -> IpPolicyRule:
    return IpPolicyRule(
        row.id, row.owner_id, row.ip_policy_id, row.cidr, row.action, row.description, row.note, row.created_at
    )
