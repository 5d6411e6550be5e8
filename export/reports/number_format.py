"""Formats numbers for pages, pictures and verdicts."""


def percent(share: float) -> str:
    """Format a share; 100 % only if exactly 1."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"


def minus(text: str) -> str:
    return text.replace("-", "−")


def two_digits(number: float) -> str:
    """Format with two digits, never −0.00."""
    return minus(f"{number:.2f}".replace("-0.00", "0.00"))
