"""Programs count on through banks."""

from timbrel.host.events import ControlChange, ProgramChange
from timbrel.host.midi.decode import Programs


def test_banks_go_on_by_128_each_from_the_coarse_half_to_the_fine_one():
    programs = Programs()
    assert programs.number(5) == 5
    for controller, value, bank in ((32, 2, 2), (0, 1, 128), (32, 3, 131), (7, 9, 131), (32, 5, 133)):
        programs.apply(ControlChange(0, 0, controller, value))
        assert programs.number(0) == 128 * bank
    programs.apply(ProgramChange(0, 0, 7))
    assert programs.number(127) == 128 * 133 + 127
