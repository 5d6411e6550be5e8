"""The page on which one tells sounds apart counts right, and needs nothing but the sounds beside it."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from math import comb

import pytest
from timbrel.export.fidelity.comparison import AbxTrial, abx_page

TRIALS = [AbxTrial("C4 <b>", "a.wav", "b.wav"), AbxTrial("D4", "c</script>.wav", "d.wav")]
SCRIPT = re.search(r"<script>(.*?)</script>", abx_page("bells", TRIALS), re.DOTALL).group(1)

# A page that has no more than the script asks for: elements with text, values and listeners, and sounds that log.
STAGE = """
const elements = {}, log = [], listeners = {};
globalThis.document = {
  getElementById: (id) => elements[id] ??= {textContent: id === "notes" ? NOTES : "", value: "0",
    addEventListener(kind, does) { this[kind] = does; }},
  addEventListener: (kind, does) => { listeners[kind] = does; },
};
globalThis.Audio = class { constructor(file) { this.file = file; } pause() {} play() { log.push(this.file); } };
const drawn = DRAWN; Math.random = () => drawn.shift();
"""


def run(doings, drawn):
    """What the script says and plays, where chance gives these numbers."""
    page = abx_page("bells", TRIALS)
    notes = re.search(r'id="notes">(.*?)</script>', page, re.DOTALL).group(1)
    stage = STAGE.replace("NOTES", json.dumps(notes)).replace("DRAWN", json.dumps(drawn))
    told = "console.log(JSON.stringify([log, elements['count-0'].textContent, elements['count-1'].textContent, "
    told += "elements['count-all'].textContent, elements.result.textContent]));"
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing")
    done = subprocess.run([node, "-e", stage + SCRIPT + doings + told], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]), done.stdout.splitlines()[:-1]


def key(name):
    return f"listeners.keydown({{key: '{name}', target: {{tagName: 'BODY'}}}});"


def test_p_is_the_binomial_tail():
    doings = "for (const [k, n] of [[0, 0], [0, 5], [12, 16], [16, 16], [9, 16]]) console.log(chance(k, n));"
    _, lines = run(doings, [0.1])
    for line, (right, trials) in zip(lines, [(0, 0), (0, 5), (12, 16), (16, 16), (9, 16)], strict=True):
        asked = sum(comb(trials, k) for k in range(right, trials + 1)) / 2**trials
        assert float(line) == pytest.approx(asked)


def test_keys_play_a_b_and_x_and_answers_are_counted_by_note():
    doings = key("a") + key("b") + key("x") + key("1")  # X was A: right
    doings += key("x") + key("1")  # X was B: wrong
    doings += "document.getElementById('note').value = '1'; document.getElementById('note').change();"
    doings += key("X") + key("2")  # X was B of the second note: right
    (log, first, second, whole, result), _ = run(doings, [0.1, 0.9, 0.1, 0.9, 0.1])
    assert log == ["a.wav", "b.wav", "a.wav", "b.wav", "d.wav"]
    assert (first, second, whole) == ("1 of 2, p = 0.750", "1 of 1, p = 0.500", "2 of 3, p = 0.500")
    assert result == "Right: X was B. X is drawn anew."


def test_all_controls_have_names_and_nothing_comes_from_elsewhere():
    page = abx_page("bells", TRIALS)
    assert not re.search(r"https?:|//[a-z]|@import|src=", page)

    class Controls(HTMLParser):
        ids, labelled, buttons, said = set(), set(), 0, ""

        def handle_starttag(self, tag, attrs):
            given = dict(attrs)
            self.ids |= {given["id"]} if "id" in given else set()
            self.labelled |= {given["for"]} if tag == "label" else set()
            self.buttons += tag == "button"

        def handle_data(self, data):
            self.said += data

    controls = Controls()
    controls.feed(page)
    assert "note" in controls.labelled & controls.ids
    assert controls.buttons == 7
    assert all(f"{name} " in controls.said for name in ("Play A", "Play B", "Play X", "X is A", "X is B", "Stop"))
    assert 'role="status"' in page
    wanted = set(re.findall(r'by\("([a-z]+)"\)', SCRIPT)) | set(re.findall(r'"((?:play|is)-\w)":', SCRIPT))
    assert wanted <= controls.ids
    assert "C4 <b>" in controls.said
