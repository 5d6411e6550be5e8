"""Interpolation between codes: linear, or spherical (great circle)."""

import math
from collections.abc import Sequence

Code = Sequence[float]  # one number a latent
Spans = Sequence[tuple[float, float]]  # low and high of each latent
# Distance from the centre (in half spans) or from opposite directions (in 1 + cosine: 18 degrees) where the blend into
# the straight line starts: there the least move of a knob would flip the great circle to the other side.
UNSURE = 0.05


def straight(first: Code, then: Code, part: float, spans: Spans) -> list[float]:
    """``part`` is 0 to 1; both ends are exact."""
    if part == 1.0:
        return list(then)
    return [a + (b - a) * part for a, b in zip(first, then, strict=True)]


def great_circle(first: Code, then: Code, part: float, spans: Spans) -> list[float]:
    """Interpolate at ``part``, 0 to 1, around the middle of the spans; both ends are exact.

    Latents count in half spans from the middle. Radius and direction angle w change evenly, as in "slerp" (Shoemake,
    Animating rotation with quaternion curves, SIGGRAPH 1985): u(t) = (sin((1 - t) w) u(0) + sin(t w) u(1)) / sin(w).
    Near the center and opposite directions it blends into a straight line.
    """
    line = straight(first, then, part, spans)
    if part in (0.0, 1.0):
        return line
    middles = [(low + high) / 2 for low, high in spans]
    halves = [(high - low) / 2 for low, high in spans]
    ends = [[(x - m) / h for x, m, h in zip(end, middles, halves, strict=True)] for end in (first, then)]
    near, far = (math.hypot(*end) for end in ends)
    if near == 0.0 or far == 0.0:
        return line
    pairs = [(a / near, b / far) for a, b in zip(*ends, strict=True)]
    together = math.hypot(*(a + b for a, b in pairs))
    sure = min(1.0, together * together / 2 / UNSURE, near / UNSURE, far / UNSURE)
    angle = 2 * math.atan2(math.hypot(*(a - b for a, b in pairs)), together)
    sine = math.sin(angle)
    if sine <= 0.0 or sure == 0.0:  # one direction, or two opposite ones
        return line
    radius = near + (far - near) * part
    before, after = (radius * math.sin(share * angle) / sine for share in (1.0 - part, part))
    return [
        x + sure * (m + h * (before * a + after * b) - x)
        for x, m, h, (a, b) in zip(line, middles, halves, pairs, strict=True)
    ]


WAYS = {"linear": straight, "spherical": great_circle}
