// The large sliders: the volume at the top, and beside the map macros first, then morph and latents.

import { $ } from "./dom.js";
import { Slider } from "./slider.js";

const MOST = 8; // beside the map
const LEAST = 4; // up to which other controls fill them up
const ORDER = ["macro", "morph", "latent"]; // groups that come first
const FILL = ["envelope", "grain", "clip", "stream", "play", "effects"];

export function knobs(state, learn, sliders) {
  let form = "";

  function chosen() {
    const of = (groups) => groups.flatMap((group) => state.controls.filter((control) => control.group === group && control.target !== "gain"));
    const first = of(ORDER).slice(0, MOST);
    return first.length < LEAST ? [...first, ...of(FILL)].slice(0, LEAST) : first;
  }

  function build() {
    const [volume, large] = [state.controls.filter(({ target }) => target === "gain"), chosen()];
    const now = JSON.stringify([volume, large].map((controls) => controls.map(({ target, title, low, high, unit, log }) => [target, title, low, high, unit, log])));
    if (now === form) return;
    form = now;
    for (const [place, controls] of Object.entries({ volume, large })) {
      const made = controls.map((control) => new Slider(control, state, learn, { large: true }));
      sliders.put(place, made);
      $(place).replaceChildren(...made.map(({ element }) => element));
    }
    learn.show();
  }
  state.on("controls", build);
}
