// Held notes: a key sounds while a finger, the mouse or a key of the computer is on it.

export class Notes extends EventTarget {
  #down = new Map(); // who holds, and which key with which velocity
  #pedal = false;
  #echoes = 0; // of this page's panics, still to come
  latched = false; // Hold, which is one for all pages

  constructor(link) {
    super();
    this.link = link;
    link.on("welcome", ({ state }) => {
      this.#echoes = 0;
      this.#hear(state);
      if (this.#pedal) link.send({ t: "sustain", down: true });
      for (const key of this.keys()) link.send({ t: "note", key, velocity: this.#velocity(key), at: performance.now() });
    });
    link.on("state", ({ state }) => this.#hear(state));
    link.on("panic", () => {
      if (this.#echoes) this.#echoes--;
      else this.releaseAll(); // also of keys that went down since
    });
    addEventListener("blur", () => this.releaseAll());
    addEventListener("pagehide", () => this.releaseAll());
    document.addEventListener("visibilitychange", () => document.hidden && this.releaseAll());
  }

  #hear({ hold = this.latched }) {
    if (hold === this.latched) return;
    this.latched = hold;
    this.#notifyChange();
  }

  keys() {
    return new Set([...this.#down.values()].map(([key]) => key));
  }

  holds(holder) {
    return this.#down.has(holder);
  }

  #velocity(key) {
    return [...this.#down.values()].find(([heldKey]) => heldKey === key)[1];
  }

  press(holder, key, velocity) {
    if (this.#down.get(holder)?.[0] === key) return;
    this.release(holder);
    this.#down.set(holder, [key, velocity]);
    this.link.send({ t: "note", key, velocity, at: performance.now() });
    this.#notifyChange();
  }

  release(holder) {
    const note = this.#down.get(holder);
    if (!note) return;
    this.#down.delete(holder);
    if (!this.keys().has(note[0])) this.link.send({ t: "note", key: note[0], velocity: 0 });
    this.#notifyChange();
  }

  releaseAll() {
    for (const holder of [...this.#down.keys()]) this.release(holder);
    this.sustain({ pedal: false });
  }

  sustain({ pedal }) {
    if (pedal !== this.#pedal) this.link.send({ t: "sustain", down: pedal });
    this.#pedal = pedal;
  }

  hold(down) {
    this.latched = down;
    this.link.send({ t: "hold", down });
    this.#notifyChange();
  }

  panic() {
    this.#down.clear();
    this.#pedal = this.latched = false;
    this.#echoes++;
    this.link.send({ t: "panic" });
    this.#notifyChange();
  }

  #notifyChange() {
    this.dispatchEvent(new Event("change"));
  }
}
