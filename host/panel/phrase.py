"""Plays a preset's tune in time, as if on keys and knobs."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..events import ControlChange, Event, Timing
from ..midi.decode import ALL_NOTES_OFF, RESET_CONTROLLERS
from ..midi.files import read_performance

TICKS_HZ = 1000  # of the events' times: a loop sleeps no more precisely
TAIL_SECONDS = 1.0  # after the last event, before knobs return


class PhrasePlayer:
    def __init__(self, play: Callable[[Event], None], ended: Callable[[], None]) -> None:
        """``ended`` is called once after each phrase, also a stopped one."""
        self._play, self._ended = play, ended
        self._task: asyncio.Task[None] | None = None
        self._channel = 0

    @property
    def playing(self) -> bool:
        return self._task is not None

    def start(self, tune: Path, channel: int) -> None:
        """Play all of the tune's channels on ``channel``, at the tempo of the file."""
        self._channel = channel
        self._task = asyncio.get_running_loop().create_task(self._run(tune))

    async def _run(self, tune: Path) -> None:
        event_loop = asyncio.get_running_loop()
        start_seconds = event_loop.time()
        for event in read_performance(tune, TICKS_HZ).events:
            if not isinstance(event, Timing):
                await asyncio.sleep(start_seconds + event.time / TICKS_HZ - event_loop.time())
                self._play(replace(event, time=0, channel=self._channel))
        await asyncio.sleep(TAIL_SECONDS)
        self.stop()

    def stop(self) -> None:
        """Release notes, wheel, bend and pedals."""
        if self._task is None:
            return
        self._task.cancel()
        self._task = None
        for number in (ALL_NOTES_OFF, RESET_CONTROLLERS):
            self._play(ControlChange(0, self._channel, number, 0))
        self._ended()
