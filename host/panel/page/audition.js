// Hearing dots while nothing sounds: a click plays a short note; with Listen on a resting pointer does, and gives the code back.

import { $, press, remember, remembered } from "./dom.js";

const HOLDER = "audition";
const VELOCITY = 64;
const SHORT = 300; // milliseconds of a note
const SURE = 200; // milliseconds after it in which meters may not know of it yet
const LONGEST = 8000; // milliseconds for a sound to end, before the code goes back anyway
const REST = 150; // milliseconds that a pointer rests

export function audition(state, notes) {
  let heard = [], own = null, timer = 0, resting = 0, wanted = null, lent = null;

  const others = () => notes.sustained || [...heard, ...notes.keys()].some((key) => key !== own);

  /** The key of a dot: that of its label, else its pitch near the middle of the keys, else the middle. */
  function keyOf({ label, note }) {
    const { center, labels } = state.keys;
    const named = Object.keys(labels).find((key) => label && labels[key] === label);
    if (named) return Number(named);
    return [note < 0 ? center : center + ((((note - center) % 12) + 18) % 12) - 6, center].find((key) => state.plays(key));
  }

  function play(dot) {
    own = keyOf(dot) ?? null;
    if (own === null) return;
    notes.press(HOLDER, own, VELOCITY);
    clearTimeout(timer);
    timer = setTimeout(() => notes.release(HOLDER), SHORT);
  }

  function lend() {
    if (!wanted || lent || heard.length || notes.holds(HOLDER)) return;
    const targets = Object.keys(wanted.values);
    const before = Object.fromEntries(targets.map((target, index) => [target, state.knobs()[index]]));
    lent = { targets, before, preset: state.preset.name, at: performance.now() };
    state.grab(targets);
    state.move(wanted.values);
    play(wanted);
    wanted = null;
  }

  /** Gives back the code that a resting pointer changed: as one gesture that ends where it began, so that no step of undo stays. */
  function giveBack() {
    wanted = null;
    if (!lent) return;
    const { targets, before, preset } = lent;
    lent = null;
    notes.release(HOLDER);
    if (preset === state.preset.name) {
      for (const target of targets) state.values.set(target, before[target]);
      state.move(before);
    }
    state.drop(targets);
  }

  state.link.on("meters", ({ held, sounding }) => {
    heard = [...held, ...sounding];
    const age = lent ? performance.now() - lent.at : 0;
    if (others()) wanted = null;
    if (!heard.length && !notes.holds(HOLDER)) own = null;
    if (age > LONGEST || (lent && others()) || (age > SHORT + SURE && !heard.length)) giveBack();
    lend();
  });
  for (const any of ["pointerdown", "keydown", "blur", "pagehide"]) addEventListener(any, giveBack, true); // before a hand finds other knobs

  press($("listen"), remembered("listen") === true);
  const listens = () => $("listen").ariaPressed === "true";
  $("listen").addEventListener("click", () => {
    press($("listen"), !listens());
    remember("listen", listens());
  });

  return {
    /** Plays a dot whose code is set. */
    tap(dot) {
      if (!others()) play(dot);
    },
    /** Plays a dot that the pointer rests on; null where there is none. */
    rest(dot) {
      clearTimeout(resting);
      wanted = null;
      if (!dot || !listens()) return;
      resting = setTimeout(() => {
        wanted = others() ? null : dot; // after its own last sound, if that rings on
        lend();
      }, REST);
    },
  };
}
