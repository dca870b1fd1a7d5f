"""`restrict-ips` (https://ngrok.com/docs/traffic-policy/actions/restrict-ips/)."""

from pydantic import Field, model_validator

from portico.policy import phases
from portico.policy.actions.action import ActionConfig, Compared, Likeness
from portico.policy.actions.fields import Cidr, Switch, Text
from portico.policy.effects import Effect, End, Ending, Scene
from portico.policy.functions.addresses import in_network
from portico.policy.functions.deciding import decides
from portico.policy.phases import Phase


class RestrictIps(ActionConfig):
    """Lets addresses in that are allowed and not denied."""

    TYPE = "restrict-ips"
    PHASES = phases.ALL
    MEANING = "Lets connections in by their address; headers such as X-Forwarded-For never count."
    COMPARED = Compared(
        Likeness.SAME,
        "`policy check` warns where `deny` stands alone, which lets nobody in.",
    )

    enforce: Switch = Field(default=True, description="`false`: only look, and leave the finding to later rules.")
    allow: tuple[Cidr, ...] = Field(default=(), description="Networks that are let in.")
    deny: tuple[Cidr, ...] = Field(default=(), description="Networks that are not, even if allowed.")
    ip_policies: tuple[Text, ...] = Field(default=(), description="Ids of IP policies.")

    @model_validator(mode="after")
    def _says_something(self) -> "RestrictIps":
        if not (self.allow or self.deny or self.ip_policies):
            raise ValueError("needs allow, deny or ip_policies")
        return self

    def lets_nobody_in(self) -> bool:
        """Who is not in `allow` is not let in; with `deny` alone that is everybody."""
        return self.enforce and not self.allow and not self.ip_policies

    def stops(self) -> bool:
        """Where it is enforced."""
        return self.enforce

    def act(self, scene: Scene) -> Effect:
        """Looks at `conn.client_ip`."""
        address = scene.text("conn.client_ip")
        denied = self._matching(self.deny, address, scene)
        allowed = self._matching(self.allow, address, scene)
        let_in = bool(allowed) and not denied
        action = "allow" if let_in else "deny"
        scene.result("restrict_ips", {"action": action, "matched_cidr": denied or allowed})
        if self.ip_policies and not denied and not allowed and not decides():
            return Effect("the IP policies are assumed to let it in", assumed=True)
        if let_in or not self.enforce:
            return Effect(f"{address} is let in" if let_in else f"{address} is denied, which is not enforced")
        ending = Ending(End.CLOSED) if scene.phase is Phase.TCP_CONNECT else Ending(End.RESPONSE, 403)
        return Effect(f"{address} is not let in", ending)

    def _matching(self, cidrs: tuple[Cidr, ...], address: str, scene: Scene) -> str:
        return next((cidr for cidr in map(scene.fill, cidrs) if in_network(address, cidr)), "")
