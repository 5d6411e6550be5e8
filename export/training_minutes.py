"""Checks training minutes before torch is imported."""

from ..host.errors import UserError
from ..train.recipe import MOST_MINUTES

MINUTES = 5.0  # of training, by default


def check_minutes(option: str, minutes: float) -> None:
    """Raise `UserError` for training minutes outside 0 to `MOST_MINUTES`."""
    if not 0 < minutes <= MOST_MINUTES:
        raise UserError(
            f"{option} {minutes:g} must be above 0, and {MOST_MINUTES} at most; give the minutes to train, such as "
            f"{MINUTES:g}"
        )
