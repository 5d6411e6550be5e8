"""A preset on show and a stand-in for all that lies beyond the board."""

from pathlib import Path

from timbrel.host.panel.pages import Pages
from timbrel.host.preset.shipped import Draft
from timbrel.host.session.messages import Events, LiveStatus, Load, Playing, View
from timbrel.host.session.view import ControlView, MapView, PresetView

TEXT = """\
# my pad
format = 1
model = "tiny.onnx"  # beside it
description = "a pad"

[latent]
values = [0.25, 0.75]  # dark, open

[envelope]
sustain = 0.5

[[cc]]
number = 74
target = "latent.0"
low = 0.0
high = 1.0
"""
RESTS = {"latent.0": 0.25, "latent.1": 0.75, "gain": 0.0, "envelope.sustain": 0.5, "morph": 0.0}
PLACES = {
    "latent.0": ("latent", "values", 0),
    "latent.1": ("latent", "values", 1),
    "gain": ("play", "gain_db"),
    "envelope.sustain": ("envelope", "sustain"),
    "morph": (),
}
GAIN = (-60.0, 12.0)


def view(text=TEXT, name="pad", rests=RESTS, folder=Path(), more=()):
    """The view of a preset of two latents; ``more`` are controls of effects."""
    controls = [
        ControlView(
            target=target,
            title=target,
            group=target.partition(".")[0],
            low=GAIN[0] if target == "gain" else 0.0,
            high=GAIN[1] if target == "gain" else 1.0,
            rest=rest,
            unit="dB" if target == "gain" else "",
            place=PLACES[target],
            maps=(MapView("CC 74", "jump", 0.0, 1.0, 1.0, ("number", 74)),) if target == "latent.0" else (),
        )
        for target, rest in rests.items()
    ]
    return PresetView(
        name=name,
        file=folder / f"{name}.toml",
        folder=folder,
        text=text,
        channel=0,
        model=folder / "tiny.onnx",
        model_name="tiny",
        kind="spectrum",
        description="",
        latents=[("dark", 0.0, 1.0, 0.5, 0.5, 0.2), ("open", 0.0, 1.0, 0.5, 0.5, 0.2)],
        chroma=[0, 1],
        card=[("licence", "MIT")],
        keys=dict.fromkeys(range(128), ""),
        controls=[*controls, *more],
    )


def status(values=None, **figures):
    """A report with these values."""
    usual = {
        "device": "a card", "rate": 48000, "block": 128, "latency_ms": {"card": 5.0}, "measured_ms": None,
        "load": (0.1, 0.2), "underruns": 0, "voices": 0, "shed": 0, "held": [], "latents": [], "spans": [],
        "peaks_db": (-100.0, -100.0), "limited": 0.0, "presets": {None: "pad"}, "ports": [], "last": "",
    }  # fmt: skip
    return LiveStatus(**usual | figures, values=values or {})


class Out(Pages):
    """Keeps what a board sends: events and loads to what sounds, messages to pages."""

    def __init__(self):
        self.events, self.loads, self.told, self.maps, self.asked = [], [], [], [], []

    def put(self, command):
        match command:
            case Events(events):
                self.events += events
            case Load(presets):
                self.loads += presets.values()
            case _:
                self.asked.append(command)

    def list_devices(self, page, midi_api):
        self.asked.append((page, midi_api))

    def send(self, message, page=None):
        self.told.append((page, message))

    def show_map(self, model, data):
        self.maps.append((model, data))

    @property
    def turns(self):
        """Targets and values in the order in which they were sent."""
        return [(event.target, event.value) for event in self.events if type(event).__name__ == "ParameterChange"]

    def shown(self, part):
        """The last state of a part that pages were told."""
        states = [message["state"] for _, message in self.told if message["t"] == "state" and part in message["state"]]
        return states[-1][part]

    def said(self, page=None):
        return [m["line"] for p, m in self.told if m["t"] == "say" and p == page]

    def values(self):
        """Return the values that pages believe after all messages."""
        believed = {}
        for _, message in self.told:
            if message["t"] == "values":
                believed |= message["values"]
            if message["t"] == "state" and "controls" in message["state"]:
                believed = {control["target"]: control["value"] for control in message["state"]["controls"]}
        return believed


def drag(say, target, *values, page="one"):
    say("grab", page, targets=[target])
    for value in values:
        say("move", page, values={target: value})
    say("drop", page, targets=[target])


def played(out):
    """The draft that was asked for last, and answered as the process that sounds answers."""
    draft = out.loads[-1]
    assert isinstance(draft, Draft)
    return draft


def answer(board, out, rests, **more):
    """The process that sounds plays the draft that was asked for last."""
    draft = played(out)
    board.apply_report(Playing({None: draft}))
    board.apply_report(View(view(draft.text, draft.name, rests, draft.folder, **more)))
