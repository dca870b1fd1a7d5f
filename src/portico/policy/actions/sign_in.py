"""`oauth` and `openid-connect` (https://ngrok.com/docs/traffic-policy/actions/oauth/ and …/oidc/)."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from portico.policy.actions.action import ActionConfig, Compared, Likeness
from portico.policy.actions.fields import Duration, Interpolated, Secret, Switch, Text, TextByName, nothing
from portico.policy.effects import Effect, End, Ending, Scene
from portico.policy.phases import Phase
from portico.policy.template import Template

Provider = Literal["amazon", "facebook", "github", "gitlab", "google", "linkedin", "microsoft", "twitch"]


def _issuer(template: Template) -> Template:
    if template.literal is not None and not template.literal.startswith(("https://", "http://")):
        raise ValueError("must be the https URL of the provider")
    return template


class SignIn(ActionConfig):
    """What both have in common: a session cookie, and how long it lasts."""

    PHASES = (Phase.HTTP_REQUEST,)

    auth_id: Text | None = Field(default=None, description="Tells several sign-ins of one endpoint apart.")
    client_id: Interpolated | None = Field(default=None, description="Id of your application at the provider.")
    client_secret: Secret | None = Field(default=None, description="Secret of that application.")
    scopes: tuple[Text, ...] = Field(default=(), description="More scopes to ask for.")
    authz_url_params: TextByName = Field(default_factory=nothing, description="Added to the sign-in's URL.")
    max_session_duration: Duration | None = Field(default=None, description="Longest life of a session.")
    idle_session_timeout: Duration | None = Field(default=None, description="Longest silence of a session.")
    userinfo_refresh_interval: Duration | None = Field(
        default=None, description="How often the provider is asked for the user again."
    )
    allow_cors_preflight: Switch = Field(default=False, description="Let CORS preflights pass without a session.")
    auth_cookie_domain: Text | None = Field(default=None, description="Domain of the cookie.")

    def result_name(self) -> str:
        """Below `actions.ngrok`."""
        return "oauth"

    def stops(self) -> bool:
        """Always."""
        return True

    def act(self, scene: Scene) -> Effect:
        """A visit has a session where its facts say so; without one it is sent to the provider."""
        if f"actions.ngrok.{self.result_name()}" in scene.values:
            return Effect("signed in, as the facts say")
        if self.allow_cors_preflight and _is_preflight(scene):
            return Effect("a CORS preflight passes")
        ending = Ending(End.RESPONSE, 302, {"location": f"the sign-in page of {self.provider_name(scene)}"})
        return Effect("assumed to have no session", ending, assumed=True)

    def provider_name(self, scene: Scene) -> str:
        """Who signs people in, for people."""
        raise NotImplementedError


class OAuth(SignIn):
    """Signs people in with a provider that is known by name."""

    TYPE = "oauth"
    MEANING = "Asks people to sign in with Google, GitHub and others."
    COMPARED = Compared(
        Likeness.DIFFERENT,
        "`client_id` and `client_secret` are needed: there is no application of the edge's own at a provider. The "
        "callback URL is `/.portico/oauth/callback` on the endpoint's own host.",
    )

    provider: Provider = Field(description="The provider.")

    @model_validator(mode="after")
    def _own_application(self) -> "OAuth":
        if self.client_id is None or self.client_secret is None:
            raise ValueError("client_id and client_secret are missing; register an application at the provider")
        return self

    def provider_name(self, scene: Scene) -> str:
        """As it is written."""
        return self.provider


class OpenIdConnect(SignIn):
    """Signs people in with any OpenID provider."""

    TYPE = "openid-connect"
    MEANING = "Asks people to sign in with an OpenID provider."
    COMPARED = Compared(
        Likeness.BETTER,
        "ngrok's reference calls `idle_session_timeout` `idle_session_duration` here; both are understood. The "
        "callback URL is `/.portico/oauth/callback` on the endpoint's own host.",
    )

    issuer_url: Annotated[Interpolated, AfterValidator(_issuer)] = Field(description="URL of the provider.")

    @model_validator(mode="before")
    @classmethod
    def _other_name(cls, values: object) -> object:
        if isinstance(values, dict) and "idle_session_duration" in values and "idle_session_timeout" not in values:
            rest = {key: value for key, value in values.items() if key != "idle_session_duration"}
            return {**rest, "idle_session_timeout": values["idle_session_duration"]}
        return values

    @model_validator(mode="after")
    def _own_application(self) -> "OpenIdConnect":
        if self.client_id is None or self.client_secret is None:
            raise ValueError("client_id and client_secret are missing; register an application at the provider")
        return self

    def result_name(self) -> str:
        """Below `actions.ngrok`."""
        return "oidc"

    def provider_name(self, scene: Scene) -> str:
        """Its URL."""
        return scene.fill(self.issuer_url)


def _is_preflight(scene: Scene) -> bool:
    """https://fetch.spec.whatwg.org/#cors-preflight-request; any other OPTIONS needs a session."""
    asks = scene.headers.keys() >= {"origin", "access-control-request-method"}
    return asks and scene.text("req.method") == "OPTIONS"
