// Controls by groups, folded at first; effects have their own place.

import { capital, make, remember, remembered } from "./dom.js";
import { effects } from "./effects.js";
import { Slider } from "./slider.js";

// The groups in order, and titles other than their names.
const GROUPS = ["latent", "morph", "macro", "play", "envelope", "gesture", "grain", "clip", "stream", "process", "effects"];
const TITLES = { latent: "Latents", macro: "Macros", process: "Sound that comes in" };
const FORM = ["target", "title", "group", "effect", "low", "high", "default", "unit", "log", "about"];

export function controls(state, learn, pane, sliders) {
  const openGroups = new Set(remembered("opened") ?? []);
  let form = "";
  let columnSliders = [];

  function build() {
    const now = JSON.stringify([state.controls.map((control) => FORM.map((name) => control[name])), state.effects, state.available_effects]);
    if (now === form) return;
    form = now;
    columnSliders = [];
    const focused = pane.contains(document.activeElement) ? document.activeElement.id : "";
    const groups = new Map();
    for (const control of state.controls) groups.set(control.group, [...(groups.get(control.group) ?? []), control]);
    if (state.available_effects.length && !groups.has("effects")) groups.set("effects", []);
    const names = [...new Set([...GROUPS, ...groups.keys()])].filter((name) => groups.has(name));
    pane.replaceChildren(...names.map((name) => group(name, groups.get(name))));
    sliders.put("column", columnSliders);
    if (focused) document.getElementById(focused)?.focus();
    learn.show();
  }

  function group(name, members) {
    const rows = members.map((control) => {
      const slider = new Slider(control, state, learn);
      columnSliders.push(slider);
      return [control, slider.element];
    });
    const rowElements = name === "effects" ? effects(state, rows) : rows.map(([, element]) => element);
    const body = make("div", { className: "rows" }, ...rowElements);
    const title = TITLES[name] ?? capital(name);
    const details = make("details", { open: openGroups.has(name) }, make("summary", {}, make("h2", { textContent: title })), body);
    details.addEventListener("toggle", () => {
      openGroups[details.open ? "add" : "delete"](name);
      remember("opened", [...openGroups]);
    });
    return details;
  }

  state.on("controls effects available_effects", build);
}
