"""The settings of automatic certificates that are lists of objects: authorities, and who writes DNS records."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, PlainValidator, SecretStr, model_validator

from portico.certificates.acme_rules import LETS_ENCRYPT, AcmeDirectory, DnsProvider
from portico.edge.settings_part import Seconds, Setting, SettingsPart
from portico.edge.settings_values import (
    parse_authorities_file,
    parse_directory_url,
    parse_hmac_key,
    parse_name,
    parse_path,
)


class AcmeDirectorySettings(SettingsPart):
    """A certificate authority that speaks ACME."""

    url: Annotated[str, PlainValidator(parse_directory_url), Setting("URL")] = LETS_ENCRYPT
    """URL of its directory."""
    ca_file: Annotated[Path | None, PlainValidator(parse_authorities_file), Setting("FILE", "the public ones")] = None
    """Authorities to trust for that URL, PEM (a relative path starts at the settings file)."""
    eab_kid: Annotated[str, Field(max_length=255), Setting("ID", "none")] = ""
    """Id of your account at the authority, where it wants one (external account binding)."""
    eab_hmac_key: Annotated[SecretStr | None, PlainValidator(parse_hmac_key), Setting("KEY", "none")] = None
    """The key that belongs to it."""
    profile: Annotated[str, Field(max_length=100), Setting("NAME", "the authority's")] = ""
    """Kind of certificate, where the authority offers several."""

    @model_validator(mode="after")
    def _both_of_binding(self) -> Self:
        if bool(self.eab_kid) != (self.eab_hmac_key is not None):
            raise ValueError("eab_kid and eab_hmac_key go together; give both or none")
        return self

    def declared(self) -> AcmeDirectory:
        """The same as the certificates take it."""
        return AcmeDirectory(
            url=self.url,
            ca_file=str(self.ca_file) if self.ca_file else None,
            eab_kid=self.eab_kid,
            eab_hmac_key=self.eab_hmac_key.get_secret_value() if self.eab_hmac_key else "",
            profile=self.profile,
        )


class AcmeDnsSettings(SettingsPart):
    """Who writes TXT records for some zones, which wildcards need."""

    zones: Annotated[tuple[Annotated[str, PlainValidator(parse_name)], ...], Setting("list of names", "all")] = ()
    """The zones that it is for."""
    provider: Annotated[str, Field(pattern=r"^[a-z0-9_-]*$"), Setting("NAME", "none")] = ""
    """A provider of dns-lexicon, such as `cloudflare`; needs the extra `acme-dns`."""
    options: Annotated[dict[str, SecretStr], Setting("mapping", "none")] = Field(default_factory=dict)
    """What that provider wants, such as `auth_token`; variables `LEXICON_<PROVIDER>_<OPTION>` do as well."""
    command: Annotated[Path | None, PlainValidator(parse_path), Setting("FILE", "none")] = None
    """Or a program, run as `FILE present|clean NAME VALUE`; the record is there when it returns."""
    wait_seconds: Annotated[Seconds | None, Setting("SECONDS", "30 with a provider, 0 with a command")] = None
    """Time that a new record takes to be seen everywhere."""

    @model_validator(mode="after")
    def _one_writer(self) -> Self:
        if bool(self.provider) == (self.command is not None):
            raise ValueError("give either a provider or a command")
        return self

    def declared(self) -> DnsProvider:
        """The same as the certificates take it."""
        usual = 30.0 if self.provider else 0.0
        return DnsProvider(
            zones=self.zones,
            command=str(self.command) if self.command else "",
            provider=self.provider,
            options={name: value.get_secret_value() for name, value in self.options.items()},
            wait_seconds=usual if self.wait_seconds is None else self.wait_seconds,
        )
