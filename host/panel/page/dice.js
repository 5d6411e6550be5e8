// The dice: new values of macros or latents near the present ones.

import { make, remember, remembered } from "./dom.js";
import { placeOf, valueAt } from "./slider.js";

const AMOUNT = 20; // per cent at first

export function dice(state) {
  const amount = make("input", { id: "dice-amount", type: "range", min: 0, max: 100, value: remembered("dice") ?? AMOUNT });
  const percent = make("output");

  function roll() {
    const controlsOf = (group) => state.controls.filter((control) => control.group === group);
    const reach = amount.valueAsNumber / 100;
    state.set(Object.fromEntries((controlsOf("macro").length ? controlsOf("macro") : controlsOf("latent")).map((control) => {
      const place = placeOf(state.values.get(control.target), control);
      const [low, high] = [Math.max(place - reach, 0), Math.min(place + reach, 1)];
      return [control.target, valueAt(low + (high - low) * Math.random(), control)];
    })));
  }

  const showPercent = () => (percent.textContent = `${amount.value} %`);
  amount.addEventListener("input", () => (showPercent(), remember("dice", amount.valueAsNumber)));
  showPercent();
  return [make("button", { id: "dice", textContent: "Dice", title: "New values of the macros, or of the latents", onclick: roll }), make("label", {}, "Amount ", percent, amount)];
}
