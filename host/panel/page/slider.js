// A control: label, native slider, typed number, and the badge of its knob.

import { clamp, make, valueText } from "./dom.js";
import { parseValue, valueHint } from "./typed_values.js";

const LONGEST_UNIT = 3; // characters that have room behind the number; longer ones are said where the pointer rests
const BEND = 3; // of sliders of seconds that begin at 0: the middle is an eighth of the range
const DOUBLE_CLICK = 500; // milliseconds: the longest that systems take for one
const CLICK = 4; // pixels that the pointer may go in a click
const FINE = 0.1; // how far the thumb goes with Shift, of the way that the pointer goes
const WHEEL = 0.01; // of the slider's way for a notch of the wheel
const NOTCH = [100, 3]; // about so many pixels, or lines
const WHEEL_RESTS = 300; // milliseconds after which a run of notches is over
const READ = 4000; // milliseconds for which a refusal stays once the field is left
const STEPS = { ArrowUp: 0.01, ArrowRight: 0.01, ArrowDown: -0.01, ArrowLeft: -0.01, PageUp: 0.1, PageDown: -0.1 };

/** Whether a part of the page around an element is longer than it can show. */
function scrolls({ parentElement: ancestor }) {
  if (!ancestor) return false;
  const scrollable = ancestor === document.documentElement || getComputedStyle(ancestor).overflowY === "auto";
  return (scrollable && ancestor.scrollHeight > ancestor.clientHeight + 1) || scrolls(ancestor);
}

const bend = ({ unit, low }) => (unit === "s" && low === 0 ? BEND : 1);

/** Where a control's value is on its slider, 0 to 1. */
export function placeOf(value, control) {
  const { low, high, log } = control;
  if (low === high) return 0;
  if (log) return clamp(Math.log(value / low) / Math.log(high / low), 0, 1);
  return clamp((value - low) / (high - low), 0, 1) ** (1 / bend(control));
}

/** The value of a control at a place on its slider. */
export function valueAt(place, control) {
  const { low, high, log } = control;
  if (place <= 0) return low;
  if (place >= 1) return high;
  return log ? low * (high / low) ** place : low + (high - low) * place ** bend(control);
}

export class Slider {
  #grabbed = false;
  #key = null; // of the keyboard, that holds the slider
  #raw = null; // where the pointer would have the thumb
  #origin = 0;
  #timer = 0; // runs while a click may become a double click, or a notch of the wheel be followed by another
  #notches = 0; // of the wheel, not turned into steps yet
  #bands = []; // of the sources of modulation
  #hushed = false; // until the finger is lifted that opened a menu

  /** `large`: for the stage, with its label above and a tall track. */
  constructor(control, state, learn, { large = false } = {}) {
    Object.assign(this, { control, state });
    const name = control.title;
    const id = large ? `large-${control.target}` : control.target;
    this.label = make("label", { htmlFor: `range-${id}`, textContent: name, title: [control.target, control.unit, control.about].filter(Boolean).join(", ") });
    this.range = make("input", { type: "range", id: `range-${id}`, min: 0, max: 1, step: "any", "aria-haspopup": "dialog" });
    this.number = make("input", { id: `number-${id}`, autocomplete: "off", "aria-label": `${name}, value` });
    this.refused = make("span", { className: "refused", role: "alert" });
    this.unit = make("span", { className: "unit", textContent: control.unit.length > LONGEST_UNIT ? "" : control.unit });
    this.badge = make("button", { className: "badge", onclick: () => learn.pick(control.target) });
    this.forget = make("button", { className: "forget", textContent: "✕", onclick: () => learn.forget(control.target) });
    this.ghost = make("i", { className: "ghost", hidden: true });
    this.stands = make("i", { className: "stands", hidden: true });
    this.track = make("span", { className: "track" }, this.range, this.ghost, this.stands);
    this.element = make("div", { className: large ? "control large" : "control" }, this.label, this.track, make("span", { className: "typed" }, this.number, this.unit, this.refused), this.badge, this.forget);
    this.element.dataset.target = control.target;
    this.#listen();
    this.describe(control);
    this.show(control.value);
  }

  /** Takes what changed of the control apart from its value. */
  describe(control) {
    this.control = control;
    this.forget.setAttribute("aria-label", `${control.title}: forget ${this.#sources()}`);
    this.forget.hidden = !control.maps.length;
    for (const { band } of this.#bands) band.remove();
    this.#bands = (control.sources ?? []).map((source) => ({ ...source, band: make("i", { className: "band" }) }));
    this.track.prepend(...this.#bands.map(({ band }) => band));
    this.range.title = this.#bands.length ? `Also moved by ${[...new Set(this.#bands.map(({ name }) => name))].join(", ")}` : "";
    this.wait();
  }

  /** Shows how far each source of modulation moves the value: it adds to it, sets it, or leads away from it. */
  #spread() {
    for (const { band, way, low, high } of this.#bands) {
      const [from, to] = { adds: [this.value + low, this.value + high], sets: [low, high], leads: [Math.min(this.value, low), Math.max(this.value, high)] }[way];
      band.style.setProperty("--low", this.#place(from));
      band.style.setProperty("--high", this.#place(to));
    }
  }

  #sources() {
    return this.control.maps.map(({ source }) => source).join(", ");
  }

  /** Shows which knob turns it; of one that has yet to meet the value, also where it stands. */
  wait() {
    const { maps, target, title } = this.control;
    const waiting = this.state.waiting[target] ?? {};
    const waits = maps.find(({ source }) => source in waiting);
    const map = waits ?? maps[0];
    this.badge.textContent = map ? (waits ? "⇥ " : "") + map.source + (maps.length > 1 ? " +" : "") : "+";
    this.badge.classList.toggle("bound", Boolean(map));
    this.badge.classList.toggle("waits", Boolean(waits));
    let description = `${this.#sources()} turns this`;
    if (waits) {
      const takeoverText = waits.takeover === "scale" ? "turns this by a part of its way until both meet" : "waits until it passes this value";
      description = `${map.source} stands at ${valueText(waiting[map.source], this.control)} and ${takeoverText} (${map.takeover})`;
      this.stands.style.setProperty("--at", this.#place(waiting[map.source]));
    }
    this.stands.hidden = !waits;
    this.badge.title = map ? `${description}; click to learn another knob` : "Click, then move a knob";
    this.badge.setAttribute("aria-label", `${title}: ${map ? `${description}; learn another` : "learn a knob"}`);
  }

  #place(value) {
    return placeOf(value, this.control);
  }

  #value(place) {
    return valueAt(place, this.control);
  }

  /** Where the filled part of the slider begins: at zero where the range goes as far to both sides. */
  #middle() {
    return this.control.low === -this.control.high ? 0.5 : 0;
  }

  show(value) {
    this.value = value;
    const { unit } = this.control;
    const text = valueText(value, this.control);
    this.range.value = this.#place(value);
    this.range.setAttribute("aria-valuetext", unit ? `${text} ${unit}` : text);
    const position = this.range.valueAsNumber;
    this.range.style.setProperty("--from", Math.min(position, this.#middle()));
    this.range.style.setProperty("--to", Math.max(position, this.#middle()));
    if (document.activeElement !== this.number) this.number.value = text;
    this.#spread();
  }

  /** Shows where the value sounds when motions or gestures carry it away from its knob; null hides it. */
  sounds(value) {
    const carried = value !== null && Math.abs(this.#place(value) - this.#place(this.value)) > 0.004;
    this.ghost.hidden = !carried;
    if (carried) this.ghost.style.setProperty("--at", this.#place(value));
  }

  /** Lets go only when no second click or notch can follow: all that they do together is one step. */
  #releaseLater(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.release(), delay);
  }

  release() {
    clearTimeout(this.#timer);
    if (!this.#grabbed) return;
    this.#grabbed = false;
    this.#key = null;
    this.state.drop([this.control.target]);
  }

  #grab() {
    if (this.#grabbed) return;
    this.#grabbed = true;
    this.#origin = this.value;
    this.state.grab([this.control.target]);
  }

  /** Goes back to where the hand took hold, and passes over what it still does until it lets go. */
  hush() {
    this.#hushed = this.#grabbed;
    this.#back();
  }

  #back() {
    if (this.#grabbed) this.#move(this.#origin);
    this.release();
  }

  reset() {
    this.#grab();
    this.#move(this.control.default);
    this.release();
  }

  #move(value) {
    this.show(value);
    this.state.move({ [this.control.target]: value });
  }

  #listen() {
    const { range, number } = this;
    let fine = false;
    let pressX = null; // where a click began, until it is a drag
    range.addEventListener("pointerdown", (event) => {
      this.#hushed = false;
      if (event.button) return;
      clearTimeout(this.#timer);
      pressX = event.clientX;
      fine = event.shiftKey;
      this.#raw = fine ? null : undefined;
      this.#grab();
    });
    range.addEventListener("pointermove", (event) => {
      fine = event.shiftKey;
      if (Math.abs(event.clientX - pressX) > CLICK) pressX = null;
    });
    range.addEventListener("input", () => {
      if (this.#hushed) return this.show(this.value);
      const raw = range.valueAsNumber;
      if (!this.#grabbed && raw === this.#raw) return this.show(this.value); // Firefox repeats where the hand let go
      const from = this.#place(this.value);
      const shift = this.#raw == null ? (this.#raw === null ? 0 : raw - from) : (raw - this.#raw) * (fine ? FINE : 1);
      this.#raw = raw;
      const byScreenReader = !this.#grabbed; // by a reader of the screen, which neither presses nor lets go
      this.#grab();
      this.#move(this.#value(clamp(from + shift, 0, 1)));
      if (byScreenReader) this.release();
    });
    range.addEventListener("pointercancel", () => this.#back()); // the finger scrolled the page
    for (const name of ["pointerup", "change"]) range.addEventListener(name, () => {
      this.#hushed = false;
      if (pressX === null) this.release();
      else this.#releaseLater(DOUBLE_CLICK);
    });
    range.addEventListener("blur", () => this.release());
    range.addEventListener("keyup", (event) => event.key === this.#key && this.release());
    range.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const from = this.#place(this.value);
      const to = { Home: 0, End: 1 }[event.key] ?? (event.key in STEPS ? from + STEPS[event.key] * (event.shiftKey ? FINE : 1) : null);
      if (to === null) return;
      event.preventDefault();
      if (!this.#grabbed) this.#key = event.key;
      this.#grab();
      this.#move(this.#value(clamp(to, 0, 1)));
    });
    range.addEventListener("dblclick", () => this.reset());
    range.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    number.addEventListener("focus", () => number.select());
    number.addEventListener("keydown", (event) => {
      if (event.key === "Escape") number.value = valueText(this.value, this.control);
      if (event.key === "Enter" || event.key === "Escape") number.blur();
      event.stopPropagation();
    });
    number.addEventListener("input", () => (this.refused.textContent = ""));
    number.addEventListener("change", () => {
      const value = parseValue(number.value, this.control);
      const { low, high } = this.control;
      if (value === null) this.refused.textContent = valueHint(valueText(this.value, this.control), this.control);
      else this.#set(clamp(value, Math.min(low, high), Math.max(low, high)));
    });
    let refusalTimer = 0;
    number.addEventListener("blur", () => {
      this.show(this.value);
      clearTimeout(refusalTimer);
      refusalTimer = setTimeout(() => (this.refused.textContent = ""), READ);
    });
  }

  /** Turns the value, unless the wheel is for a page that scrolls: then the slider wants the focus first. */
  #wheel(event) {
    if (event.ctrlKey || event.metaKey || event.buttons || (!this.element.contains(document.activeElement) && scrolls(this.element))) return;
    event.preventDefault();
    this.#notches -= (event.deltaY || event.deltaX) / (NOTCH[event.deltaMode] ?? 1); // Shift turns some wheels aside
    const steps = Math.round(this.#notches);
    if (!steps) return;
    this.#notches = 0;
    this.#grab();
    this.#move(this.#value(clamp(this.#place(this.value) + WHEEL * steps * (event.shiftKey ? FINE : 1), 0, 1)));
    this.#releaseLater(WHEEL_RESTS);
  }

  #set(value) {
    this.release();
    this.show(value);
    this.state.set({ [this.control.target]: value });
  }
}
