// The computer's keyboard by the position of its keys: two rows for two octaves.

const LOWER = ["KeyZ", "KeyS", "KeyX", "KeyD", "KeyC", "KeyV", "KeyG", "KeyB", "KeyH", "KeyN", "KeyJ", "KeyM", "Comma", "KeyL", "Period", "Semicolon", "Slash"];
const UPPER = ["KeyQ", "Digit2", "KeyW", "Digit3", "KeyE", "KeyR", "Digit5", "KeyT", "Digit6", "KeyY", "Digit7", "KeyU", "KeyI", "Digit9", "KeyO", "Digit0", "KeyP"];
const STEPS = new Map([...LOWER.map((code, step) => [code, step]), ...UPPER.map((code, step) => [code, step + 12])]);
const VELOCITY = 100;

let printed = null;

/** What is printed on the key that plays a step above the lowest note, as far as the browser knows; "" where none does. */
export function letter(step) {
  const code = step < 12 ? LOWER[step] : UPPER[step - 12];
  return (printed?.get(code) ?? { Comma: ",", Period: ".", Semicolon: ";", Slash: "/" }[code] ?? code?.replace(/Key|Digit/, "") ?? "").toUpperCase();
}

/** Asks the browser what is printed on keys, where it tells. */
export async function readLayout() {
  printed = (await navigator.keyboard?.getLayoutMap?.().catch(() => null)) ?? null;
}

const writes = (element) => element.matches?.("input:not([type=range], [type=checkbox]), textarea");

export function keyboard(state, notes, keys, learn) {
  let tabbed = false, pedal = false; // whether Tab chose the focused control, which the space bar then presses
  addEventListener("pointerdown", () => (tabbed = false));
  const presses = (element) => tabbed && element.closest?.("button:not(.key), summary, select, [type=checkbox]");

  addEventListener("keydown", (event) => {
    if (event.key === "Tab") tabbed = true;
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
      if (!learn.leave() && !writes(event.target)) notes.panic();
      return;
    }
    if (writes(event.target) || document.querySelector("dialog[open]")) return;
    if (event.ctrlKey || event.metaKey) {
      const name = event.key.toLowerCase();
      if (name !== "z" && name !== "y") return;
      event.preventDefault();
      state.link.send({ t: name === "y" || event.shiftKey ? "redo" : "undo" });
      return;
    }
    if (event.altKey) return;
    const step = STEPS.get(event.code);
    if (step !== undefined) {
      event.preventDefault(); // Firefox searches the page after a slash, a list goes to the letter's entry
      const key = keys.lowest() + step;
      if (!event.repeat && state.plays(key)) notes.press(event.code, key, VELOCITY);
    } else if (event.code === "Space" && !presses(event.target)) {
      event.preventDefault();
      pedal = true;
      notes.sustain({ pedal });
    } else if (!event.repeat && event.code === "Minus") keys.shift(-12);
    else if (!event.repeat && event.code === "Equal") keys.shift(12);
  });
  addEventListener("keyup", (event) => {
    if (event.code !== "Space") return notes.release(event.code);
    if (pedal) event.preventDefault(); // Firefox clicks a button now
    pedal = false;
    notes.sustain({ pedal });
  });
}
