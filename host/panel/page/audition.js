// Hearing dots in silence: a click plays a short note; with Preview on so does a resting pointer, which then gives the code back.

import { $, press, remember, remembered } from "./dom.js";

const HOLDER = "audition";
const SHORT = 300, VELOCITY = 64; // of a note; times in milliseconds
const SURE = 200; // after it, in which meters may not know of it yet
const LONGEST = 8000; // for which the code waits for the sound to end
const REST = 150;

export function audition(state, notes) {
  let heard = [], own = null, timer = 0, resting = 0, wanted = null, lent = null;

  const others = () => notes.sustained || [...heard, ...notes.keys()].some((key) => key !== own);

  /** The key of a dot's label, else of its pitch near the middle of the keys, else the middle. */
  function keyOf({ label, note }) {
    const { center, labels } = state.keys;
    const named = Object.keys(labels).find((key) => label && labels[key] === label);
    if (named) return Number(named);
    return [note < 0 ? center : center + ((((note - center) % 12) + 18) % 12) - 6, center].find((key) => state.plays(key)) ?? null;
  }

  function play(dot) {
    own = keyOf(dot);
    if (own === null) return;
    notes.press(HOLDER, own, VELOCITY);
    clearTimeout(timer);
    timer = setTimeout(() => notes.release(HOLDER), SHORT);
  }

  function lend() {
    if (!wanted || lent || heard.length || notes.holds(HOLDER)) return;
    const { values } = wanted, knobs = state.knobs();
    const targets = Object.keys(values);
    const before = Object.fromEntries(targets.map((target, index) => [target, knobs[index]]));
    lent = { targets, before, preset: state.preset.name, at: performance.now() };
    state.grab(targets);
    state.move(values);
    play(wanted);
    wanted = null;
  }

  /** Ends the gesture where it began, so that it is no step of undo. */
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
    if (others()) wanted = null;
    if (!heard.length && !notes.holds(HOLDER)) own = null;
    const age = lent ? performance.now() - lent.at : 0;
    if (age > LONGEST || (lent && others()) || (age > SHORT + SURE && !heard.length)) giveBack();
    lend();
  });
  for (const any of ["pointerdown", "keydown", "blur", "pagehide"]) addEventListener(any, giveBack, true); // before a hand finds other knobs

  const listens = () => $("preview").ariaPressed === "true";
  press($("preview"), remembered("preview"));
  $("preview").addEventListener("click", () => {
    press($("preview"), !listens());
    remember("preview", listens());
  });

  return {
    /** Plays a dot whose code is set. */
    tap(dot) {
      if (!others()) play(dot);
    },
    /** Plays a dot that the pointer rests on; null: none. */
    rest(dot) {
      clearTimeout(resting);
      wanted = null;
      if (!dot || !listens()) return;
      resting = setTimeout(() => {
        wanted = others() ? null : dot; // waits for its own last sound alone
        lend();
      }, REST);
    },
  };
}
