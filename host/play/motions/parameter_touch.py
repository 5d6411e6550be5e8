"""Parameter touch: a touched target follows its knob instead of its motions."""

from ...ramps import RAMP_SECONDS, Ramp

RETURN_SECONDS = 0.5  # glide back to the motion: a knob's 20 ms would be an audible jump


class TouchedParameters:
    """Holds a touched value until the knob turns, then glides to the knob; on release, to the motion."""

    def __init__(self, sample_rate: int) -> None:
        ramp = round(RAMP_SECONDS * sample_rate)
        self._return = round(RETURN_SECONDS * sample_rate)
        self._back = 0  # first sample without effect, after a release
        self._down = Ramp(0.0, ramp)
        self._left = Ramp(0.0, ramp)
        self.share = Ramp(0.0, ramp)  # of the knob, 0 to 1, against note paths

    @property
    def holds(self) -> bool:
        return self._down.target == 1.0

    def over(self, time: int) -> bool:
        return not self.holds and time >= self._back

    def hold_value(self, time: int, value: float, knob: float) -> None:
        self._down.jump(time, 1.0)
        self._left.jump(time, value - knob)
        self.share.move(time, 1.0)

    def turn(self, time: int) -> None:
        if self.holds:
            self._left.move(time, 0.0)

    def let_go(self, time: int, value: float, moved: float) -> None:
        """End a touch at ``value``; ``moved`` is the motion's."""
        self._down.jump(time, 0.0)
        self._left.jump(time, value - moved)
        self._left.move(time, 0.0, self._return)
        self.share.move(time, 0.0, self._return)
        self._back = time + self._return

    def value(self, time: int, knob: float, moved: float) -> float:
        return (knob if self._down.value(time) else moved) + self._left.value(time)

    def forget(self, time: int) -> None:
        for ramp in (self._down, self._left, self.share):
            ramp.forget(time)
