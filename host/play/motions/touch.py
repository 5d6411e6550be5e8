"""A hand on a target that motions move: while it holds, the target goes where it is turned, and no motion moves it."""

from ...controls import RAMP_SECONDS, Ramp

RETURN_SECONDS = 0.5  # in which a motion takes its target back: heard as a way, while a knob's 20 ms would be a leap


class Grip:
    """The part that a hand has in one target, as a function of time.

    What is taken stays where the motion had it until it is turned, and glides from there. What is let go is where the
    hand left it, and what is left of that fades away.
    """

    def __init__(self, sample_rate: int) -> None:
        ramp = round(RAMP_SECONDS * sample_rate)
        self._return = round(RETURN_SECONDS * sample_rate)
        self._back = 0  # the sample from which on nothing is left of it, once it has let go
        self._down = Ramp(0.0, ramp)
        self._left = Ramp(0.0, ramp)
        self.share = Ramp(0.0, ramp)  # of the hand, 0 to 1, in what glides from motion to knob and back

    @property
    def holds(self) -> bool:
        """Return whether the hand holds the target, after the last event."""
        return self._down.target == 1.0

    def over(self, time: int) -> bool:
        """Return whether it changes nothing from a sample on."""
        return not self.holds and time >= self._back

    def take(self, time: int, value: float, knob: float) -> None:
        """Take hold at a sample, where the target is at ``value`` and its knob at another."""
        self._down.jump(time, 1.0)
        self._left.jump(time, value - knob)
        self.share.move(time, 1.0)

    def turn(self, time: int) -> None:
        """Note that the knob is turned: what is held glides to where it says."""
        if self.holds:
            self._left.move(time, 0.0)

    def let_go(self, time: int, value: float, moved: float) -> None:
        """Let go at a sample, where the target is at ``value`` and the motion at another."""
        self._down.jump(time, 0.0)
        self._left.jump(time, value - moved)
        self._left.move(time, 0.0, self._return)
        self.share.move(time, 0.0, self._return)
        self._back = time + self._return

    def value(self, time: int, knob: float, moved: float) -> float:
        """Return where the target is at a sample, of its knob and of the motion."""
        return (knob if self._down.value(time) else moved) + self._left.value(time)

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        for ramp in (self._down, self._left, self.share):
            ramp.forget(time)
