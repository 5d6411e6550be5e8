"""A sound card and MIDI input in a time of their own, which passes at once."""

import sys


class Hours:
    """A clock that only sleeping moves on, and being kept waiting."""

    def __init__(self):
        self.now, self.waited, self.gave_way = 100.0, 0.0, 0

    def perf_counter(self):
        return self.now

    def thread_time(self):
        return self.now - self.waited

    def wait(self, seconds, for_processor=False):
        """Be kept waiting, by whoever has the interpreter or the processor."""
        self.now += seconds
        self.waited += seconds
        self.gave_way += not for_processor

    def sleep(self, seconds):
        self.now += seconds


class FakeSink:
    """Takes a block each period of a clock, for so many blocks."""

    latency_seconds = 0.0
    stuck = False
    ring_address = None

    def __init__(self, hours, rate=48000, block=128, depth=2, blocks=400):
        self.rate, self.block, self.depth, self.underruns = rate, block, depth, 0
        self.hours, self.began, self.written, self.sounds, self.places = hours, hours.now, 0, [], []
        self.blocks, self.clock = blocks, 1.0  # the card's seconds in a second of ours

    @property
    def taken(self):
        periods = int((self.hours.now - self.began) * self.clock * self.rate / self.block)
        return (min(periods, self.written // self.block + self.depth) - self.depth) * self.block

    @property
    def alive(self):
        return len(self.sounds) < self.blocks

    def write(self, sound):
        self.sounds.append(sound.copy())
        self.places.append(self.written)
        self.written += self.block

    def fill_with_silence(self):
        self.written = self.taken + 150 * self.block

    def leave_out_silence(self, least):
        self.written = max(least, self.taken + (self.depth - 1) * self.block)

    def start(self):
        self.began = self.hours.now

    def close(self):
        pass


class FakeArrival:
    """A `threading.Event` that a source's next event sets; looks take no longer than they say."""

    def __init__(self, hours, source, at_end, end):
        self.hours, self.source, self.at_end, self.end = hours, source, at_end, end
        self.switch_intervals = []  # while it waits

    def wait(self, seconds):
        self.switch_intervals.append(sys.getswitchinterval())
        soonest = min((timed.seconds for timed in self.source.timed), default=self.end)
        self.hours.now = max(self.hours.now, min(self.hours.now + seconds, soonest + 0.00005))
        if self.hours.now >= self.end:
            self.at_end()

    def clear(self):
        pass

    set = expect = clear


class FakeSource:
    """Gives each event at the first look after its moment."""

    def __init__(self, hours, timed):
        self.hours, self.timed = hours, list(timed)

    def poll(self):
        due = [timed for timed in self.timed if timed.seconds <= self.hours.now]
        self.timed = [timed for timed in self.timed if timed.seconds > self.hours.now]
        return due
