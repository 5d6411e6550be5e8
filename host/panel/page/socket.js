// The socket to the panel: sends moves no faster than they sound, and reconnects.

const FIRST_WAIT = 250, LONGEST_WAIT = 5000; // milliseconds from one attempt to the next, doubled each time
const GAP = 8; // milliseconds between frames of moves: 125 a second of the 400 that a page may send
const FINAL = { 4401: "refused", 4410: "ended" }; // codes after which the page does not try again
const BEAT = 250; // milliseconds between pings
const HUNG = 4, UNOPENED = 20; // beats without any message after which a link that is up, or opens, is given up

/** Dispatches each message under its `t`, "binary" for arrays, "down" while there is no connection. */
export class Link extends EventTarget {
  #socket = null;
  #wait = FIRST_WAIT;
  #retry = 0;
  #heldValues = new Map(); // targets in a hand, with their latest values
  #hands = new Map(); // by target: how many hold it, such as fingers on a slider and on the map
  #moves = new Map();
  #lastMoveTime = 0;
  #timer = 0;
  #beats = 0; // since the last message
  #awaited = []; // times of pings, and calls that wait for their answers
  up = false;

  constructor(address, token) {
    super();
    this.address = address;
    this.token = token;
    addEventListener("online", () => this.#soon());
    document.addEventListener("visibilitychange", () => document.hidden || this.#soon());
    setInterval(() => this.#beat(), BEAT);
    this.#open();
  }

  /** Notices a link that hangs: beats are counted, for a page that stood still gets its messages late. */
  #beat() {
    if (!this.#socket) return;
    this.send({ t: "ping", at: performance.now() });
    if (++this.#beats < (this.up ? HUNG : UNOPENED)) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#lost();
  }

  #soon() {
    if (!this.#retry) return;
    clearTimeout(this.#retry);
    this.#open();
  }

  #open() {
    this.#retry = this.#beats = 0;
    const socket = new WebSocket(this.address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ t: "hello", token: this.token }));
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = ({ code }) => this.#lost(code);
    this.#socket = socket;
  }

  #hear(data) {
    this.#beats = 0;
    if (typeof data !== "string") return this.#dispatch("binary", data);
    const message = JSON.parse(data);
    if (message.t === "pong") this.#settle(message.at);
    if (message.t === "welcome") {
      this.up = true;
      this.#wait = FIRST_WAIT;
    }
    this.#dispatch(message.t, message);
    if (message.t === "welcome" && this.#heldValues.size) {
      this.send({ t: "grab", targets: [...this.#heldValues.keys()] });
      const values = Object.fromEntries([...this.#heldValues].filter(([, value]) => value !== null));
      if (Object.keys(values).length) this.send({ t: "move", values });
    }
  }

  #lost(code) {
    this.up = false;
    this.#socket = null;
    this.#moves.clear();
    this.#settle(Infinity);
    this.#dispatch("down", { reason: FINAL[code] ?? "none" });
    if (FINAL[code]) return;
    this.#retry = setTimeout(() => this.#open(), this.#wait * (0.75 + Math.random() / 2)); // pages do not come back at once
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }

  /** Calls once the panel has answered all that was sent before, or the link is down. */
  answered(call) {
    const sentTime = performance.now();
    this.#awaited.push([sentTime, call]);
    if (this.up) this.send({ t: "ping", at: sentTime });
    else this.#settle(sentTime);
  }

  #settle(latestTime) {
    const answeredPings = this.#awaited.filter(([pingTime]) => pingTime <= latestTime);
    this.#awaited = this.#awaited.filter(([pingTime]) => pingTime > latestTime);
    for (const [, call] of answeredPings) call();
  }

  #dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  on(type, listener) {
    this.addEventListener(type, ({ detail }) => listener(detail));
  }

  send(message) {
    if (this.up) this.#socket.send(JSON.stringify(message));
  }

  grab(targets) {
    for (const target of targets) {
      this.#hands.set(target, (this.#hands.get(target) ?? 0) + 1);
      if (!this.#heldValues.has(target)) this.#heldValues.set(target, null);
    }
    this.send({ t: "grab", targets });
  }

  move(values) {
    for (const [target, value] of Object.entries(values)) {
      if (this.#heldValues.has(target)) this.#heldValues.set(target, value);
      this.#moves.set(target, value);
    }
    const delay = this.#lastMoveTime + GAP - performance.now();
    if (delay <= 0) this.#flush();
    else this.#timer ||= setTimeout(() => this.#flush(), delay);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!this.#moves.size) return;
    this.#lastMoveTime = performance.now();
    this.send({ t: "move", values: Object.fromEntries(this.#moves) });
    this.#moves.clear();
  }

  drop(targets) {
    this.#flush();
    const freeTargets = targets.filter((target) => {
      const handCount = (this.#hands.get(target) ?? 1) - 1;
      if (handCount) this.#hands.set(target, handCount);
      else this.#hands.delete(target);
      return !handCount;
    });
    for (const target of freeTargets) this.#heldValues.delete(target);
    if (freeTargets.length) this.send({ t: "drop", targets: freeTargets });
  }

  set(values) {
    this.#flush();
    this.send({ t: "set", values });
  }
}
