"""`/ip_policies` and `/ip_policy_rules`: networks under a name, for the action restrict-ips."""

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field

from portico.api.ports import Node
from portico.api.resource import Call, StoredResource
from portico.api.shapes import Create, Ref, StoredView, Text, Update
from portico.model.errors import API_FIELD_INVALID, API_TOO_MANY, PorticoError
from portico.model.ip_rules import canonical_cidr
from portico.store.changes import RecordChange

if TYPE_CHECKING:
    from portico.store.ip_policies import IpPolicies, IpPolicy, IpPolicyRule, IpPolicyRules
    from portico.store.store import Unit

MOST_RULES: Final = 1_000
"""Of one policy."""
Cidr = Annotated[Text, Field(max_length=60), AfterValidator(canonical_cidr)]
_CIDR: Final = "A network such as 192.0.2.0/24 or 2001:db8::/32, or one address."


class IpPolicyCreate(Create):
    """A new IP policy, which has no rules yet."""


class IpPolicyView(StoredView):
    """An IP policy."""


class IpPolicyRuleCreate(Create):
    """A new rule."""

    cidr: Cidr = Field(description=_CIDR)
    ip_policy_id: Annotated[Text, Field(max_length=40)] = Field(description="The IP policy that it belongs to.")
    action: Literal["allow", "deny"] = Field(description="What is denied is not let in, even if it is allowed too.")


class IpPolicyRuleUpdate(Update):
    """Changes of a rule."""

    cidr: Cidr | None = Field(default=None, description=_CIDR)


class IpPolicyRuleView(StoredView):
    """A rule."""

    cidr: str
    ip_policy: Ref
    action: str


class IpPolicyResource(StoredResource["IpPolicy"]):
    """IP policies."""

    name = "ip_policies"
    noun = "IP policy"
    about = "Networks under a name: traffic policies name them in restrict-ips, and follow each change of their rules."
    view = IpPolicyView
    create_body = IpPolicyCreate

    def records(self, unit: "Unit") -> "IpPolicies":
        """Where IP policies are."""
        return unit.ip_policies

    def create(self, call: Call, unit: "Unit", owner_id: str, body: IpPolicyCreate) -> "tuple[IpPolicy, str]":
        """Make a policy without rules."""
        return unit.ip_policies.add(owner_id, description=body.description, note=body.metadata), ""

    def show(self, call: Call, value: "IpPolicy") -> IpPolicyView:
        """One policy."""
        return IpPolicyView(**self.fields(call, value))

    async def removed(self, node: Node, value: "IpPolicy") -> None:
        """Who names it still lets nobody in by it."""
        await node.policy_data_changed(value.owner_id, value.id)


class IpPolicyRuleResource(StoredResource["IpPolicyRule"]):
    """Rules of IP policies."""

    name = "ip_policy_rules"
    noun = "IP policy rule"
    about = "The networks of IP policies, each allowed or denied."
    view = IpPolicyRuleView
    create_body = IpPolicyRuleCreate
    update_body = IpPolicyRuleUpdate

    def records(self, unit: "Unit") -> "IpPolicyRules":
        """Where rules are."""
        return unit.ip_policy_rules

    def create(self, call: Call, unit: "Unit", owner_id: str, body: IpPolicyRuleCreate) -> "tuple[IpPolicyRule, str]":
        """Add a rule to a policy that the caller may see."""
        policy = unit.ip_policies.find(body.ip_policy_id, call.caller.scope)
        if policy is None:
            raise PorticoError(API_FIELD_INVALID, f"ip_policy_id: there is no IP policy {body.ip_policy_id!r}")
        if unit.ip_policy_rules.count(policy.id) >= MOST_RULES:
            raise PorticoError(API_TOO_MANY, f"{policy.id} has {MOST_RULES} rules, which is the most")
        made = unit.ip_policy_rules.add(
            policy, body.cidr, body.action, description=body.description, note=body.metadata
        )
        return made, ""

    def changes(self, call: Call, unit: "Unit", value: "IpPolicyRule", body: IpPolicyRuleUpdate) -> dict[str, object]:
        """Also the network."""
        network = {} if body.cidr is None else {"cidr": body.cidr}
        return {**super().changes(call, unit, value, body), **network}

    def show(self, call: Call, value: "IpPolicyRule") -> IpPolicyRuleView:
        """One rule."""
        policy = Ref(id=value.ip_policy_id, uri=call.uri("ip_policies", value.ip_policy_id))
        return IpPolicyRuleView(**self.fields(call, value), cidr=value.cidr, ip_policy=policy, action=value.action)

    def change(self, value: "IpPolicyRule") -> RecordChange:
        """Nobody but its policy is named anywhere."""
        return RecordChange(IpPolicyResource.name, value.ip_policy_id, value.owner_id)

    async def created(self, node: Node, value: "IpPolicyRule") -> None:
        """Endpoints follow."""
        await node.policy_data_changed(value.owner_id, value.ip_policy_id)

    async def updated(self, node: Node, value: "IpPolicyRule") -> None:
        """Endpoints follow."""
        await node.policy_data_changed(value.owner_id, value.ip_policy_id)

    async def removed(self, node: Node, value: "IpPolicyRule") -> None:
        """Endpoints follow."""
        await node.policy_data_changed(value.owner_id, value.ip_policy_id)
