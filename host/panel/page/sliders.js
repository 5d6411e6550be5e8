// Sliders by target: a control may have several, such as a large one beside the map.

import { calm, eachFrame } from "./dom.js";

const CALM = 250; // milliseconds between marks where motion is to be reduced

export class Sliders {
  #places = new Map(); // by the part of the page: its sliders
  #byTarget = new Map();

  constructor(state, learn) {
    const touched = new Set();
    const flush = eachFrame(() => {
      for (const target of touched) if (state.values.has(target)) this.each(target, (slider) => slider.show(state.values.get(target)));
      touched.clear();
    });
    const touch = (target) => {
      touched.add(target);
      flush();
    };
    state.on("controls", () => {
      for (const control of state.controls) {
        this.each(control.target, (slider) => slider.describe(control));
        touch(control.target);
      }
      learn.show();
    });
    state.on("value", touch);
    state.on("hand", ({ target, value }) => {
      touched.delete(target); // its older value awaits the next frame
      this.each(target, (slider) => slider.show(value));
    });
    let waited = []; // targets of knobs that waited
    state.on("waiting", () => {
      const targets = Object.keys(state.waiting);
      for (const target of new Set([...waited, ...targets])) this.each(target, (slider) => slider.wait());
      waited = targets;
    });
    let sounding = new Map(), drawn = 0; // values that were drawn, and when
    state.link.on("meters", ({ code, moved }) => {
      if (calm.matches && performance.now() - drawn < CALM) return;
      drawn = performance.now();
      const now = new Map([...(code ?? []).map((value, index) => [`latent.${index}`, value]), ...Object.entries(moved ?? {})]);
      for (const target of new Set([...sounding.keys(), ...now.keys()])) this.each(target, (slider) => slider.sounds(now.get(target) ?? null));
      sounding = now;
    });
    const release = () => this.#all().forEach((slider) => slider.release());
    addEventListener("blur", release);
    addEventListener("keydown", ({ key, ctrlKey, metaKey }) => (ctrlKey || metaKey) && "zZyY".includes(key) && release(), { capture: true }); // before it undoes
  }

  /** The slider of an element of the page. */
  of(element) {
    return this.#all().find((slider) => slider.element === element);
  }

  each(target, call) {
    this.#byTarget.get(target)?.forEach(call);
  }

  /** Replaces the sliders of a part of the page. */
  put(place, sliders) {
    this.#places.get(place)?.forEach((slider) => slider.release());
    this.#places.set(place, sliders);
    this.#byTarget.clear();
    for (const slider of this.#all()) this.#byTarget.set(slider.control.target, [...(this.#byTarget.get(slider.control.target) ?? []), slider]);
  }

  #all() {
    return [...this.#places.values()].flat();
  }
}
