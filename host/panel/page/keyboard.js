// The computer's keyboard, by the position of its keys: two rows for two octaves, whatever is printed on them.

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

const writes = (element) => element.matches?.("input:not([type=range]):not([type=checkbox]), select, textarea");

export function keyboard(state, notes, keys, learn) {
  addEventListener("keydown", (event) => {
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
    if (event.repeat || event.altKey) return;
    const step = STEPS.get(event.code);
    const key = keys.lowest() + (step ?? 0);
    if (step !== undefined && key <= state.keys.high && key >= state.keys.low) notes.press(event.code, key, VELOCITY);
    else if (event.code === "Minus") keys.shift(-12);
    else if (event.code === "Equal") keys.shift(12);
    else if (event.code === "Space" && !event.target.closest("button, summary, input")) {
      event.preventDefault();
      notes.sustain({ pedal: true });
    }
  });
  addEventListener("keyup", (event) => {
    if (event.code === "Space") notes.sustain({ pedal: false });
    else notes.release(event.code);
  });
}
