"""A slow page's queue holds one message of each kind, with the newest of each part."""

import json

from timbrel.host.panel.pages import Page


def waiting(page):
    return [json.loads(frame) for frame in page.take_frames()]


def test_values_that_wait_are_one_message_with_the_newest_of_each():
    page = Page()
    for values in ({"latent.0": 0.1, "gain": -3.0}, {"latent.1": 0.5}, {"latent.0": 0.2}):
        page.put({"t": "values", "values": values})
    assert waiting(page) == [{"t": "values", "values": {"latent.0": 0.2, "gain": -3.0, "latent.1": 0.5}}]
    assert waiting(page) == []


def test_values_that_are_older_than_controls_are_not_sent_after_them():
    page = Page()
    page.put({"t": "values", "values": {"latent.0": 0.1}})
    page.put({"t": "state", "state": {"controls": [{"target": "latent.0", "value": 0.7}]}})
    page.put({"t": "values", "values": {"latent.1": 0.3}})
    assert [(message["t"], message.get("values")) for message in waiting(page)] == [
        ("state", None),
        ("values", {"latent.1": 0.3}),
    ]
