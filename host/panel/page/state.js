// The panel's state and the page's held controls, from which all is drawn.

const KEYS = { low: 0, high: 127, center: 60, silent: [], labels: {} };
const NOTHING = { model: {}, preset: {}, keys: KEYS }; // while nothing plays yet
const SILENCE = { stopped: true, peaks_db: [-Infinity, -Infinity], held: [], sounding: [] }; // in place of meters

export class State extends EventTarget {
  #n = 0;
  #hands = new Map(); // targets that a hand of this page holds, or held just now: how many do
  model = {}; preset = {}; controls = []; effects = []; available_effects = []; map = null; session = null; listening = false;
  keys = KEYS;
  learn = { target: null, said: "" };
  waiting = {}; // by target and source: where knobs stand that have yet to meet their targets
  values = new Map(); // by target: what the panel says
  byTarget = new Map();
  code = null; // that sounds, one number a latent

  constructor(link) {
    super();
    this.link = link;
    link.on("welcome", ({ state }) => {
      this.#n = 0;
      this.#take(state);
    });
    link.on("state", ({ state }) => this.#take(state));
    link.on("values", ({ n, values }) => {
      if (n <= this.#n) return;
      this.#n = n;
      for (const [target, value] of Object.entries(values)) {
        this.values.set(target, value);
        this.#changed(target);
      }
    });
    link.on("down", () => this.#silence());
    link.on("meters", (meters) => {
      this.code = meters.code?.length ? meters.code : null;
    });
  }

  #take(parts) {
    for (const [part, value] of Object.entries(parts)) this[part] = value ?? NOTHING[part] ?? null;
    if (parts.controls) {
      this.byTarget = new Map(parts.controls.map((control) => [control.target, control]));
      this.values = new Map(parts.controls.map(({ target, value }) => [target, value]));
    }
    for (const part of Object.keys(parts)) this.dispatchEvent(new CustomEvent(part));
    if (parts.sound?.away) this.#silence();
  }

  #silence() {
    this.link.dispatchEvent(new CustomEvent("meters", { detail: SILENCE }));
  }

  #changed(target) {
    if (!this.#hands.has(target)) this.dispatchEvent(new CustomEvent("value", { detail: target }));
  }

  on(parts, listener) {
    for (const part of parts.split(" ")) this.addEventListener(part, ({ detail }) => listener(detail));
  }

  /** Takes hold of targets: what others do to them is shown once they are let go. */
  grab(targets) {
    for (const target of targets) this.#hands.set(target, (this.#hands.get(target) ?? 0) + 1);
    this.link.grab(targets);
  }

  move(values) {
    this.link.move(values);
    for (const target of Object.keys(values)) this.dispatchEvent(new CustomEvent("hand", { detail: { target, value: values[target] } }));
  }

  drop(targets) {
    this.link.drop(targets);
    this.link.answered(() => { // until then older values may arrive
      for (const target of targets) {
        const handCount = (this.#hands.get(target) ?? 1) - 1;
        if (handCount) this.#hands.set(target, handCount);
        else this.#hands.delete(target);
        this.#changed(target);
      }
    });
  }

  set(values) {
    this.link.set(values);
  }

  /** Whether a key has a sound. */
  plays(key) {
    const { low, high, silent } = this.keys;
    return key >= low && key <= high && !silent.includes(key);
  }

  latents() {
    return this.model.latents ?? [];
  }

  /** The code where the knobs are, one number a latent. */
  knobs() {
    return this.latents().map((latent, index) => this.values.get(`latent.${index}`) ?? latent.default);
  }
}
