"""`verify-webhook` (https://ngrok.com/docs/traffic-policy/actions/verify-webhook/)."""

import difflib
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from portico.policy.actions.action import ActionConfig, Compared, Likeness
from portico.policy.actions.fields import Secret, Switch, Text
from portico.policy.effects import Effect, Scene
from portico.policy.phases import Phase
from portico.policy.template import Template

_NAMES: Final = """
    aftership airship alchemy autodesk bitbucket bolt box brex buildkite calendly castle chargify circleci clearbit
    clerk coinbase contentful docusign dropbox facebook_graph_api facebook_messenger frameio github gitlab go1
    graphcms heroku hostedhooks hubspot instagram intercom jira launch_darkly linear mailchimp mailgun
    microsoft_teams modern_treasury mongodb mux orb orbit pagerduty pinwheel plivo pusher sendgrid sentry shopify
    signal_sciences slack sns sonatype square stripe svix terraform tiktok trendmicro_conformity twilio twitter
    typeform vmware webex whatsapp worldline xero zendesk zoom
"""
PROVIDERS: Final = frozenset(_NAMES.split())


def _provider(value: str) -> str:
    if value not in PROVIDERS:
        near = difflib.get_close_matches(value.lower(), PROVIDERS, n=1)
        raise ValueError(f"is no provider that is known{f'; did you mean {near[0]}?' if near else ''}")
    return value


def _there(secret: Template) -> Template:
    if secret.literal == "":
        raise ValueError("must not be empty: anybody could sign with it")
    return secret


class VerifyWebhook(ActionConfig):
    """Lets webhooks in that their sender has signed."""

    TYPE = "verify-webhook"
    PHASES = (Phase.HTTP_REQUEST,)
    MEANING = "Asks for the signature of a webhook's sender."
    COMPARED = Compared(
        Likeness.DIFFERENT, "Edges verify those senders that are listed below, and refuse a policy with another."
    )

    provider: Annotated[Text, AfterValidator(_provider)] = Field(description="Who sends.")
    secret: Annotated[Secret, AfterValidator(_there)] = Field(description="What the sender signs with.")
    enforce: Switch = Field(default=True, description="`false`: only look, and leave the finding to later rules.")

    def stops(self) -> bool:
        """Where it is enforced."""
        return self.enforce

    def act(self, scene: Scene) -> Effect:
        """An explanation has no signature to look at."""
        scene.result("verify_webhook", {"verified": True})
        return Effect(f"the signature of {self.provider} is assumed to be right", assumed=True)
