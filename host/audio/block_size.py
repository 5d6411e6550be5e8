"""Block sizes of sound cards. Light import."""

from ..errors import UserError

BLOCKS = (16, 8192)  # samples: shorter, and the callback dominates the load; longer, and keys feel late


def check_block(block: int) -> None:
    """Raise UserError outside `BLOCKS`."""
    low, high = BLOCKS
    if not low <= block <= high:
        raise UserError(f"--block {block} is out of range [{low}, {high}] samples; 128 or 256 suit most cards")
