"""System check: CPU power saving, missing realtime priority, Bluetooth output."""

import sys
from pathlib import Path

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
STEADY = ("performance", "schedutil")
WIRELESS = ("bluetooth", "bluez", "airpods", "a2dp", "hands-free")  # in the system's names of such outputs


def advice() -> list[str]:
    lines: list[str] = []
    try:
        governor = GOVERNOR.read_text(encoding="ascii").strip()
    except OSError:  # no such setting, as in virtual machines
        governor = STEADY[0]
    if governor not in STEADY:
        lines.append(f"the processor saves power ({governor}); for steady sound: cpupower frequency-set -g performance")
    if sys.platform == "linux" and not _may_hurry():
        lines.append("no right to realtime priority; join the group 'audio' and log in again (limits: rtprio 95)")
    return lines


def bluetooth(device: str) -> list[str]:
    """A line if the output is Bluetooth, whose delay cannot be reduced."""
    if any(word in device.casefold() for word in WIRELESS):
        return [f"{device} plays by Bluetooth, a tenth of a second or more late; use a cable to play keys"]
    return []


def _may_hurry() -> bool:
    import os
    import resource

    return os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_RTPRIO)[1] != 0
