"""ABX listening test page: A, B, and X, which is randomly one of the two."""

import json
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from ..reports.page import STYLE

MORE_STYLE = """
button, select { font: inherit; padding: 0.5rem 0.9rem; margin: 0.25rem 0.35rem 0.25rem 0; }
kbd { font: inherit; border: 1px solid var(--line); border-radius: 0.2rem; padding: 0 0.3rem; }
[role=status] { min-height: 3.1rem; }
"""

# X is drawn anew after each answer. `chance` is the binomial tail: the probability of guessing at least as well.
SCRIPT = """
function chance(right, trials) {
  let term = Math.pow(0.5, trials), sum = 0;
  for (let k = 0; k <= trials; k++) {
    if (k >= right) sum += term;
    term *= (trials - k) / (k + 1);
  }
  return Math.min(sum, 1);
}
const notes = JSON.parse(document.getElementById("notes").textContent);
const counts = notes.map(() => ({right: 0, trials: 0}));
const by = (id) => document.getElementById(id);
let at = 0, x = "a", sounds = {};
function draw() { x = Math.random() < 0.5 ? "a" : "b"; }
function hush() { for (const sound of Object.values(sounds)) { sound.pause(); sound.currentTime = 0; } }
function choose(number) {
  hush();
  at = number;
  sounds = {a: new Audio(notes[at].a), b: new Audio(notes[at].b)};
  for (const sound of Object.values(sounds)) sound.preload = "auto";
  draw();
}
function play(which) { hush(); sounds[which === "x" ? x : which].play(); }
function said(count) {
  const p = count.trials ? ", p = " + chance(count.right, count.trials).toFixed(3) : "";
  return count.right + " of " + count.trials + p;
}
function show(last) {
  const all = counts.reduce((sum, one) => ({right: sum.right + one.right, trials: sum.trials + one.trials}));
  counts.forEach((count, number) => { by("count-" + number).textContent = said(count); });
  by("count-all").textContent = said(all);
  by("result").textContent = last;
}
function answer(which) {
  hush();
  counts[at].trials += 1;
  if (which === x) counts[at].right += 1;
  const last = (which === x ? "Right" : "Wrong") + ": X was " + x.toUpperCase() + ". X is drawn anew.";
  draw();
  show(last);
}
function again() { counts.forEach((count) => { count.right = count.trials = 0; }); draw(); show("All counts are 0."); }
const doings = {
  "play-a": () => play("a"), "play-b": () => play("b"), "play-x": () => play("x"),
  "is-a": () => answer("a"), "is-b": () => answer("b"), "stop": hush, "again": again,
};
for (const [id, does] of Object.entries(doings)) by(id).addEventListener("click", does);
by("note").addEventListener("change", () => choose(Number(by("note").value)));
const keys = {a: "play-a", b: "play-b", x: "play-x", 1: "is-a", 2: "is-b", Escape: "stop"};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.target.tagName === "SELECT") return;
  const id = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (id) doings[id]();
});
choose(0);
show("");
"""


class AbxTrial(NamedTuple):
    """A note of the test: its title, and the sound files of the recording and the rendition."""

    title: str
    recording: str
    other: str


def abx_page(name: str, trials: Sequence[AbxTrial]) -> str:
    """Return the page; it needs only the sounds beside it.

    Args:
        name: the instrument's.
        trials: at least one.
    """
    notes = [{"a": trial.recording, "b": trial.other} for trial in trials]
    data = json.dumps(notes).replace("<", "\\u003c")  # a file name must not end the element
    options = "".join(f'<option value="{i}">{escape(trial.title)}</option>' for i, trial in enumerate(trials))
    rows = "".join(
        f'<tr><td>{escape(trial.title)}</td><td id="count-{i}"></td></tr>\n' for i, trial in enumerate(trials)
    )
    title = escape(f"{name}: can you tell it from the recordings?")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{STYLE}{MORE_STYLE}</style>
</head>
<body>
<h1><a href="index.html">Report</a></h1>
<p class="verdict">{title}</p>
<p>A is the recording, B is the instrument, and X is one of the two, drawn by chance. Listen as often as you like, then
say which X is. Sixteen answers are a test: p is how often somebody who guesses would be right as often as you; below
0.05, you hear a difference.</p>
<p><label for="note">Note</label> <select id="note">{options}</select></p>
<div role="group" aria-label="Play">
<button type="button" id="play-a">Play A <kbd>A</kbd></button>
<button type="button" id="play-b">Play B <kbd>B</kbd></button>
<button type="button" id="play-x">Play X <kbd>X</kbd></button>
<button type="button" id="stop">Stop <kbd>Esc</kbd></button>
</div>
<div role="group" aria-label="Answer">
<button type="button" id="is-a">X is A <kbd>1</kbd></button>
<button type="button" id="is-b">X is B <kbd>2</kbd></button>
</div>
<p id="result" role="status"></p>
<div class="wide"><table>
<thead><tr><th scope="col">Note</th><th scope="col">Right answers</th></tr></thead>
<tbody>
{rows}<tr><td>All</td><td id="count-all"></td></tr>
</tbody></table></div>
<p><button type="button" id="again">Begin again</button></p>
<script type="application/json" id="notes">{data}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""
