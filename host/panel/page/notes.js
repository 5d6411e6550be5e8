// The notes that this page's hands hold: each key sounds while at least one finger, mouse or key of the computer is on it.

export class Notes extends EventTarget {
  #down = new Map(); // who holds, and which key with which velocity
  #latched = false;
  #pedal = false;

  constructor(link) {
    super();
    this.link = link;
    link.on("welcome", () => {
      if (this.sustained) link.send({ t: "sustain", down: true });
      for (const key of this.keys()) link.send({ t: "note", key, velocity: this.#velocity(key), at: performance.now() });
    });
    addEventListener("blur", () => this.releaseAll());
    addEventListener("pagehide", () => this.releaseAll());
    document.addEventListener("visibilitychange", () => document.hidden && this.releaseAll());
  }

  keys() {
    return new Set([...this.#down.values()].map(([key]) => key));
  }

  #velocity(key) {
    return [...this.#down.values()].find(([other]) => other === key)[1];
  }

  get sustained() {
    return this.#latched || this.#pedal;
  }

  get latched() {
    return this.#latched;
  }

  press(holder, key, velocity) {
    if (this.#down.get(holder)?.[0] === key) return;
    this.release(holder);
    this.#down.set(holder, [key, velocity]);
    this.link.send({ t: "note", key, velocity, at: performance.now() });
    this.#say();
  }

  release(holder) {
    const held = this.#down.get(holder);
    if (!held) return;
    this.#down.delete(holder);
    if (!this.keys().has(held[0])) this.link.send({ t: "note", key: held[0], velocity: 0 });
    this.#say();
  }

  releaseAll() {
    for (const holder of [...this.#down.keys()]) this.release(holder);
    this.sustain({ pedal: false });
  }

  sustain({ latched = this.#latched, pedal = this.#pedal }) {
    const before = this.sustained;
    this.#latched = latched;
    this.#pedal = pedal;
    if (this.sustained !== before) this.link.send({ t: "sustain", down: this.sustained });
    this.#say();
  }

  panic() {
    this.#down.clear();
    this.#latched = this.#pedal = false;
    this.link.send({ t: "panic" });
    this.#say();
  }

  #say() {
    this.dispatchEvent(new Event("change"));
  }
}
