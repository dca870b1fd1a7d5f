"""What bodies and answers have in common: ngrok's fields, with what may stand in them."""

from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MOST_DESCRIPTION: Final = 255
MOST_METADATA: Final = 4096
MOST_RULES: Final = 100


def _plain(text: str) -> str:
    if "\0" in text:
        raise ValueError("it contains a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can write it, and neither a database nor an answer can
        raise ValueError("it contains half of a surrogate pair") from None
    return text


def _at_most(size: int) -> AfterValidator:
    def check(text: str) -> str:
        if len(text.encode()) > size:
            raise ValueError(f"it has {len(text.encode())} bytes, which is more than {size}")
        return text

    return AfterValidator(check)


Text = Annotated[str, AfterValidator(_plain)]
Description = Annotated[Text, Field(max_length=MOST_DESCRIPTION), _at_most(MOST_DESCRIPTION)]
Metadata = Annotated[Text, Field(max_length=MOST_METADATA), _at_most(MOST_METADATA)]
Rules = Annotated[
    list[Annotated[Text, Field(max_length=300)]],
    Field(
        max_length=MOST_RULES,
        description="Rules `*`, or `bind:` and a domain, `*.domain`, host:port, key=value or `*`. None permit all.",
    ),
]


class Body(BaseModel):
    """What a caller sends. Unknown fields are refused, as ngrok does; nothing is guessed from another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Create(Body):
    """Fields that every create has."""

    description: Description = Field(default="", description="What it is for, at most 255 bytes.")
    metadata: Metadata = Field(default="", description="Data of your own, at most 4096 bytes.")
    owner_id: Annotated[Text, Field(max_length=63)] | None = Field(
        default=None,
        description="Whose it will be: a user of yours by id, or, for the operator, an owner by id or name.",
    )


class Update(Body):
    """Fields that every update has; what is left out or null stays as it is."""

    description: Description | None = Field(default=None, description="What it is for, at most 255 bytes.")
    metadata: Metadata | None = Field(default=None, description="Data of your own, at most 4096 bytes.")


class View(BaseModel):
    """What the API shows of anything."""

    id: str
    uri: str


class StoredView(View):
    """What the API shows of what is kept in the store."""

    created_at: datetime
    description: str
    metadata: str
    owner_id: str


class Ref(BaseModel):
    """A reference to another resource."""

    id: str
    uri: str
