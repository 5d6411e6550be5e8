"""The minutes of training that `make` is given: checked before torch is loaded."""

from ..host.errors import UserError
from ..train.recipes.base import MOST_MINUTES

MINUTES = 5.0  # of training, where nothing else is asked for


def check_minutes(option: str, minutes: float) -> None:
    """Refuse a budget that no recipe takes.

    Raises:
        UserError: with the option, the value, and the range in minutes.
    """
    if not 0 < minutes <= MOST_MINUTES:
        raise UserError(
            f"{option} {minutes:g} must be above 0, and {MOST_MINUTES} at most; give the minutes to train, such as "
            f"{MINUTES:g}"
        )
