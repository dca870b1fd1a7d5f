"""What every object of settings is made of."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from portico.model.endpoint import TlsVersion

Limit = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
OFF_IS_NONE = BeforeValidator(lambda value: None if value is False or value == "off" else value)
"""YAML reads `off` as false."""
OptionalLimit = Annotated[Limit | None, OFF_IS_NONE]
OptionalSeconds = Annotated[Seconds | None, OFF_IS_NONE]
TlsMinimum = Annotated[TlsVersion, BeforeValidator(lambda value: str(value) if isinstance(value, float) else value)]
"""YAML reads 1.3 as a number."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a setting is shown and where it may be given."""

    kind: str
    """What to write, as `--help` and the reference show it."""
    default: str | None = None
    """The default in words, where it depends on the machine."""
    flag: bool = True
    """Whether a flag and a variable set it too; lists of objects fit into the file only."""
    file: bool = True
    secret: bool = False
    """Whether it is never a flag, which everybody on the machine sees in the list of processes; a variable does."""


class SettingsPart(BaseModel):
    """An object of settings; its attributes' docstrings are the reference."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        coerce_numbers_to_str=True,
    )
