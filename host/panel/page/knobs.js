// The large sliders: the volume; beside the map macros, morph, and all controls down to the last latent.

import { $ } from "./dom.js";
import { Slider } from "./slider.js";

const MOST = 8; // beside the map
const LEAST = 4; // up to which other controls fill them up
const ORDER = ["macro", "morph"]; // groups that come first
const FILL = ["envelope", "grain", "clip", "stream", "play", "effects"];

export function knobs(state, learn, sliders) {
  let form = "";

  function largeControls() {
    const controls = state.controls.filter(({ target }) => target !== "gain");
    const controlsIn = (groups) => groups.flatMap((group) => controls.filter((control) => control.group === group));
    const mapped = controls.slice(0, controls.findLastIndex(({ group }) => group === "latent") + 1);
    const leading = [...controlsIn(ORDER), ...mapped.filter(({ group }) => !ORDER.includes(group))].slice(0, MOST);
    return leading.length < LEAST ? [...new Set([...leading, ...controlsIn(FILL)])].slice(0, LEAST) : leading;
  }

  function build() {
    const [volume, large] = [state.controls.filter(({ target }) => target === "gain"), largeControls()];
    const now = JSON.stringify([volume, large].map((controls) => controls.map(({ target, title, low, high, unit, log }) => [target, title, low, high, unit, log])));
    if (now === form) return;
    form = now;
    for (const [place, controls] of Object.entries({ volume, large })) {
      const knobSliders = controls.map((control) => new Slider(control, state, learn, { large: true }));
      sliders.put(place, knobSliders);
      $(place).replaceChildren(...knobSliders.map(({ element }) => element));
    }
    learn.show();
  }
  state.on("controls", build);
}
