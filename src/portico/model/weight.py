"""What a member of a pool may weigh."""

from typing import Final

MAX_WEIGHT: Final = 1_000
"""Of one address beside the others of its pool."""
