// A click on a dot plays a short note; with Preview on, a resting pointer does, and then restores the code.

import { $, press, remember, remembered } from "./dom.js";

const HOLDER = "audition";
const SHORT = 300, VELOCITY = 64; // of a note; times in milliseconds
const SURE = 200; // after it, in which meters may not know of it yet
const LONGEST = 8000; // for which the code waits for the sound to end
const REST = 150;

export function audition(state, notes) {
  let keysInSound = [], dotKey = null, noteTimer = 0, restTimer = 0, waitingDot = null, loan = null;

  const othersSound = () => notes.sustained || [...keysInSound, ...notes.keys()].some((key) => key !== dotKey);

  /** The key of a dot's label, else of its pitch near the middle of the keys, else the middle. */
  function keyOf({ label, note }) {
    const { center, labels } = state.keys;
    const labelKey = Object.keys(labels).find((key) => label && labels[key] === label);
    if (labelKey) return Number(labelKey);
    return [note < 0 ? center : center + ((((note - center) % 12) + 18) % 12) - 6, center].find((key) => state.plays(key)) ?? null;
  }

  function play(dot) {
    dotKey = keyOf(dot);
    if (dotKey === null) return;
    notes.press(HOLDER, dotKey, VELOCITY);
    clearTimeout(noteTimer);
    noteTimer = setTimeout(() => notes.release(HOLDER), SHORT);
  }

  function lend() {
    if (!waitingDot || loan || keysInSound.length || notes.holds(HOLDER)) return;
    const { values } = waitingDot, knobs = state.knobs();
    const targets = Object.keys(values);
    const knobValues = Object.fromEntries(targets.map((target, index) => [target, knobs[index]]));
    loan = { targets, knobValues, preset: state.preset.name, startTime: performance.now() };
    state.grab(targets);
    state.move(values);
    play(waitingDot);
    waitingDot = null;
  }

  /** Ends the gesture where it began, so that it is no step of undo. */
  function giveBack() {
    waitingDot = null;
    if (!loan) return;
    const { targets, knobValues, preset } = loan;
    loan = null;
    notes.release(HOLDER);
    if (preset === state.preset.name) {
      for (const target of targets) state.values.set(target, knobValues[target]);
      state.move(knobValues);
    }
    state.drop(targets);
  }

  state.link.on("meters", ({ held, sounding }) => {
    keysInSound = [...held, ...sounding];
    if (othersSound()) waitingDot = null;
    if (!keysInSound.length && !notes.holds(HOLDER)) dotKey = null;
    const age = loan ? performance.now() - loan.startTime : 0;
    if (age > LONGEST || (loan && othersSound()) || (age > SHORT + SURE && !keysInSound.length)) giveBack();
    lend();
  });
  for (const eventType of ["pointerdown", "keydown", "blur", "pagehide"]) addEventListener(eventType, giveBack, true); // before a hand finds other knobs

  const listens = () => $("preview").ariaPressed === "true";
  press($("preview"), remembered("preview"));
  $("preview").addEventListener("click", () => {
    press($("preview"), !listens());
    remember("preview", listens());
  });

  return {
    /** Plays a dot whose code is set. */
    tap(dot) {
      if (!othersSound()) play(dot);
    },
    /** Plays a dot that the pointer rests on; null: none. */
    rest(dot) {
      clearTimeout(restTimer);
      waitingDot = null;
      if (!dot || !listens()) return;
      restTimer = setTimeout(() => {
        waitingDot = othersSound() ? null : dot; // waits for its own last sound alone
        lend();
      }, REST);
    },
  };
}
