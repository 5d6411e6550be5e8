// The dice: new values of the macros, or of the latents, near the ones that sound.

import { make, remember, remembered } from "./dom.js";
import { placeOf, valueAt } from "./slider.js";

const AMOUNT = 20; // per cent at first

export function dice(state) {
  const amount = make("input", { id: "dice-amount", type: "range", min: 0, max: 100, value: remembered("dice") ?? AMOUNT });
  const percent = make("output");

  function roll() {
    const of = (group) => state.controls.filter((control) => control.group === group);
    const part = amount.valueAsNumber / 100;
    state.set(Object.fromEntries((of("macro").length ? of("macro") : of("latent")).map((control) => {
      const place = placeOf(state.values.get(control.target), control);
      const [low, high] = [Math.max(place - part, 0), Math.min(place + part, 1)];
      return [control.target, valueAt(low + (high - low) * Math.random(), control)];
    })));
  }

  const tell = () => (percent.textContent = `${amount.value} %`);
  amount.addEventListener("input", () => (tell(), remember("dice", amount.valueAsNumber)));
  tell();
  return [make("button", { id: "dice", textContent: "Dice", title: "New values of the macros, or of the latents", onclick: roll }), make("label", {}, "Amount ", percent, amount)];
}
