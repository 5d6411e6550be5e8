// Snapshots: eight slots that store and recall the controls, a pad that blends the first four, and a dice.

import { $, clamp, make, remember, remembered } from "./dom.js";
import { placeOf, valueAt } from "./slider.js";

const SLOTS = [1, 2, 3, 4, 5, 6, 7, 8];
const CORNERS = [1, 2, 3, 4]; // the upper left, upper right, lower left and lower right
const LONG = 600; // milliseconds of a press that stores anew
const STEP = 0.05; // of the pad, that an arrow key goes; a fifth with Shift
const RIM = 1e-6; // of the pad: at its very edge corners on the other side still have a share
const WHOLE = 0.9999; // share from which on a corner's own values are meant
const AMOUNT = 20; // per cent of the dice at first

export function snapshots(state) {
  const stored = () => state.preset.snapshots ?? {};
  const corners = () => CORNERS.filter((slot) => slot in stored());
  const say = (message) => state.link.send({ t: "snapshot", ...message });

  function slot(number) {
    let timer = 0, pointer = "", done = false; // whether a long press has stored
    const store = () => say({ slot: number });
    const clear = () => number in stored() && say({ slot: number, clear: true });
    const stop = () => clearTimeout(timer);
    const press = (event) => {
      pointer = event.pointerType;
      done = false;
      if (!event.button) timer = setTimeout(() => (store(), (done = true)), LONG);
    };
    const click = (event) => {
      stop();
      if (done) done = false;
      else if (event.shiftKey || !(number in stored())) store();
      else state.set(stored()[number]);
    };
    const menu = (event) => {
      event.preventDefault(); // a finger that stays opens it as well
      if (pointer && pointer !== "mouse") return;
      stop();
      clear();
    };
    return make("button", {
      textContent: number, id: `slot-${number}`, onpointerdown: press, onclick: click, oncontextmenu: menu, onpointerleave: stop, onpointercancel: stop, onpointerup: stop,
      onkeydown: (event) => event.key === "Delete" && clear(),
    });
  }

  const slots = SLOTS.map(slot);
  const marks = CORNERS.map((number, index) => {
    const mark = make("b", { textContent: number });
    mark.style.setProperty("--column", index % 2);
    mark.style.setProperty("--row", index >> 1);
    return mark;
  });
  const pad = make("div", { id: "corners", tabIndex: 0, role: "slider", "aria-label": "Blend of snapshots 1 to 4" }, ...marks, make("i"));
  const amount = make("input", { id: "dice-amount", type: "range", min: 0, max: 100, value: remembered("dice") ?? AMOUNT });
  const percent = make("output", { htmlFor: "dice-amount" });
  const dice = make("button", { id: "dice", textContent: "Dice", title: "New values of the macros, or of the latents", onclick: roll });
  $("snapshots").append(
    make("div", { id: "slots", role: "group", "aria-label": "Slots" }, ...slots), pad,
    make("div", { id: "dicing" }, dice, make("label", {}, "Amount ", percent, amount),
      make("p", { textContent: "Click: store, then recall. Shift click, long press: store anew. Right click, Delete: clear." })),
  );

  state.on("preset", () => {
    for (const [index, button] of slots.entries()) {
      const full = SLOTS[index] in stored();
      button.classList.toggle("full", full);
      button.setAttribute("aria-label", `${SLOTS[index]}, ${full ? "recall" : "empty, store"}`);
    }
    for (const [index, mark] of marks.entries()) mark.classList.toggle("full", CORNERS[index] in stored());
    pad.setAttribute("aria-disabled", String(corners().length < 2));
    pad.title = corners().length < 2 ? "Store two of the snapshots 1 to 4, then drag here from one to the other" : "Drag from one snapshot to another";
    shown();
  });

  let [x, y] = [0.5, 0.5], held = [], key = null;

  /** The shares of the stored corners at the pad's place: bilinear, of one sum. */
  function shares() {
    const [right, low] = [x, y].map((at) => clamp(at, RIM, 1 - RIM));
    const found = corners().map((slot) => [slot, (slot % 2 ? 1 - right : right) * (slot > 2 ? low : 1 - low)]);
    const sum = found.reduce((sum, [, share]) => sum + share, 0);
    return found.map(([slot, share]) => [slot, share / sum]);
  }

  function blend() {
    const found = {};
    for (const target of held) {
      const control = state.byTarget.get(target);
      const own = shares().filter(([slot]) => target in stored()[slot]).map(([slot, share]) => [stored()[slot][target], share]);
      if (!control || !own.length) continue;
      const sum = own.reduce((sum, [, share]) => sum + share, 0);
      const [value, most] = own.reduce((best, one) => (one[1] > best[1] ? one : best));
      if (control.choices?.length || most > WHOLE * sum) found[target] = value;
      else found[target] = valueAt(own.reduce((place, [value, share]) => place + placeOf(value, control) * share, 0) / sum, control);
    }
    return found;
  }

  function shown() {
    pad.style.setProperty("--x", x);
    pad.style.setProperty("--y", y);
    pad.setAttribute("aria-valuenow", Math.round(100 * x));
    pad.setAttribute("aria-valuetext", shares().map(([slot, share]) => `${slot}: ${Math.round(100 * share)} %`).join(", ") || "none stored");
  }

  function grab() {
    held = [...new Set(corners().flatMap((slot) => Object.keys(stored()[slot])))];
    state.grab(held);
  }

  function follow(to) {
    [x, y] = to.map((at) => clamp(at, 0, 1));
    shown();
    state.move(blend());
  }

  function release() {
    if (held.length) state.drop(held);
    held = [];
    key = null;
  }

  const at = ({ clientX, clientY }) => {
    const { left, top, width, height } = pad.getBoundingClientRect();
    return [(clientX - left) / width, (clientY - top) / height];
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button || held.length || corners().length < 2) return;
    pad.setPointerCapture(event.pointerId);
    grab();
    follow(at(event));
  });
  pad.addEventListener("pointermove", (event) => held.length && pad.hasPointerCapture(event.pointerId) && follow(at(event)));
  for (const name of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) pad.addEventListener(name, release);
  addEventListener("blur", release);
  pad.addEventListener("keydown", (event) => {
    const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way || corners().length < 2) return;
    event.preventDefault();
    if (!held.length) {
      grab();
      key = event.key;
    }
    follow([x, y].map((place, axis) => place + way[axis] * STEP * (event.shiftKey ? 0.2 : 1)));
  });
  pad.addEventListener("keyup", (event) => event.key === key && release());

  function roll() {
    const of = (group) => state.controls.filter((control) => control.group === group);
    const part = amount.valueAsNumber / 100;
    const drawn = (of("macro").length ? of("macro") : of("latent")).map((control) => {
      const place = placeOf(state.values.get(control.target), control);
      const [low, high] = [Math.max(place - part, 0), Math.min(place + part, 1)];
      return [control.target, valueAt(low + (high - low) * Math.random(), control)];
    });
    state.set(Object.fromEntries(drawn));
  }

  const write = () => (percent.textContent = `${amount.value} %`);
  amount.addEventListener("input", () => (write(), remember("dice", amount.valueAsNumber)));
  write();
}
