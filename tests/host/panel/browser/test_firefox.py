"""The page in Firefox, whose keys, focus and sliders are its own: a panel, and tests of other files again."""

import os
import signal

import pytest
from timbrel.host.events import NoteOff, NoteOn, ParameterChange

from ....patience import PATIENCE_SECONDS
from .conftest import STILL
from .test_access import (  # noqa: F401  # which run in this browser, too
    assert_clean_in_learn_mode_and_dialogs,
    test_a_dialog_keeps_the_focus_until_escape_gives_it_back_to_its_button,
    test_a_field_with_a_list_names_the_one_option_that_enter_takes,
)
from .test_controls import (  # noqa: F401
    test_dragging_a_slider_is_one_gesture_and_ends_where_the_hand_let_go,
    test_the_wheel_turns_a_slider_by_a_hundredth_and_a_run_of_notches_is_one_gesture,
    test_with_shift_the_thumb_goes_a_tenth_of_the_way_and_does_not_jump,
)
from .test_installed import (  # noqa: F401
    test_full_screen_is_a_button_that_stays_down_and_asks_to_keep_escape_for_panic,
)
from .test_keys import (  # noqa: F401
    middle,
    test_letters_slash_and_the_space_bar_play_wherever_the_focus_is,
    test_letters_that_are_typed_into_a_field_play_nothing,
    test_tab_gives_the_space_bar_to_a_button_and_enter_to_a_key_of_the_piano,
)
from .test_map import (  # noqa: F401
    test_clicking_a_dot_gives_its_stored_code_exactly_and_says_what_it_is,
)
from .test_menus import (  # noqa: F401
    test_a_binding_is_ranged_in_place_and_forgotten_alone,
    test_a_right_click_opens_it_where_the_pointer_is_and_escape_gives_the_focus_back_without_panic,
)


@pytest.fixture
def browser(launched):
    return launched("firefox")


def test_its_panel_plays_loads_a_preset_and_comes_back_after_its_process_is_killed(browser, panel, parent):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    page.add_init_script(STILL)
    troubles = []
    page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(panel.url())
    parent.until(lambda: page.query_selector("body[data-ready]"))
    page.mouse.move(*middle(page, 60))
    page.mouse.down()
    parent.until(lambda: [event.key for event in parent.events if isinstance(event, NoteOn)] == [60])
    page.mouse.up()
    parent.until(lambda: isinstance(parent.events[-1], NoteOff))
    page.locator('#volume [data-target="gain"] input[type=range]').press("End")
    parent.until(
        lambda: ("gain", 12.0) in [(e.target, e.value) for e in parent.events if isinstance(e, ParameterChange)]
    )
    page.focus("#preset")
    page.keyboard.press("Enter")
    parent.until(lambda: page.query_selector("[role=option]"))
    page.keyboard.type("gm-")
    page.keyboard.press("ArrowDown")
    chosen = page.inner_text('[role=option][aria-selected="true"] b')
    page.keyboard.press("Enter")
    parent.until(lambda: page.is_visible("#unsaved"))
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # discards
    parent.until(lambda: ("load", {None: chosen}) in parent.commands)
    assert troubles == []  # the killed process's end is one
    os.kill(panel._process.pid, signal.SIGKILL)
    parent.until(lambda: page.is_visible("#lost"))
    parent.until(lambda: page.is_hidden("#lost"))
    page.keyboard.press("KeyZ")
    parent.until(lambda: len([event for event in parent.events if isinstance(event, NoteOn)]) == 2)
    page.close()


def test_axe_finds_nothing(host):
    assert_clean_in_learn_mode_and_dialogs(host, host.open())
