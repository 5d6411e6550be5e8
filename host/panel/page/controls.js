// The column of controls, by groups; the effects have a place of their own in it.

import { eachFrame, make } from "./dom.js";
import { effects } from "./effects.js";
import { Slider } from "./slider.js";

const TITLES = {
  latents: "Latents", play: "Play", envelope: "Envelope", gesture: "Gesture", grain: "Grain", clip: "Clip", stream: "Stream",
  process: "Sound that comes in", morph: "Morph", macro: "Macros", effects: "Effects",
};
const FORM = ["target", "title", "group", "effect", "low", "high", "default", "unit", "log"];

export function controls(state, learn, pane) {
  const sliders = new Map();
  const open = new Map([["play", true], ["latents", true]]);
  let form = "";

  function build() {
    const now = JSON.stringify([state.controls.map((control) => FORM.map((name) => control[name])), state.effects, state.available_effects]);
    if (now === form) return describe();
    form = now;
    for (const slider of sliders.values()) slider.release();
    sliders.clear();
    const focused = pane.contains(document.activeElement) ? document.activeElement.id : "";
    const groups = Map.groupBy ? Map.groupBy(state.controls, ({ group }) => group) : grouped(state.controls);
    if (state.available_effects.length && !groups.has("effects")) groups.set("effects", []);
    pane.replaceChildren(...Object.keys(TITLES).filter((name) => groups.has(name)).map((name) => group(name, groups.get(name))));
    if (focused) document.getElementById(focused)?.focus();
    learn.show();
  }

  function group(name, members) {
    const rows = members.map((control) => {
      const slider = new Slider(control, state, learn);
      sliders.set(control.target, slider);
      return [control, slider.element];
    });
    const inside = name === "effects" ? effects(state, rows) : rows.map(([, element]) => element);
    const body = make("div", { className: "rows" }, ...inside);
    const details = make("details", { open: open.get(name) ?? true }, make("summary", {}, make("h2", { textContent: TITLES[name] })), body);
    details.addEventListener("toggle", () => open.set(name, details.open));
    return details;
  }

  function describe() {
    for (const control of state.controls) {
      const slider = sliders.get(control.target);
      slider?.describe(control);
      touched.add(control.target);
    }
    learn.show();
    flush();
  }

  const touched = new Set();
  const flush = eachFrame(() => {
    for (const target of touched) if (state.values.has(target)) sliders.get(target)?.show(state.values.get(target));
    touched.clear();
  });
  state.on("controls effects available_effects", build);
  state.on("value", (target) => {
    touched.add(target);
    flush();
  });
  state.on("hand", ({ target, value }) => sliders.get(target)?.show(value));
  state.link.on("meters", ({ code }) => {
    for (const [index, value] of (code ?? []).entries()) sliders.get(`latent.${index}`)?.sounds(value);
  });
  addEventListener("blur", () => sliders.forEach((slider) => slider.release()));
}

function grouped(list) {
  const groups = new Map();
  for (const control of list) groups.set(control.group, [...(groups.get(control.group) ?? []), control]);
  return groups;
}
