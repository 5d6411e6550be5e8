// Snapshots: eight slots that store and recall controls; a pad blends four.

import { dice } from "./dice.js";
import { $, clamp, make } from "./dom.js";
import { placeOf, valueAt } from "./slider.js";

const SLOTS = [1, 2, 3, 4, 5, 6, 7, 8];
const CORNERS = [1, 2, 3, 4]; // upper left, upper right, lower left, lower right
const LONG = 600; // milliseconds of a press that stores anew
const STEP = 0.05; // of the pad, that an arrow key goes; a fifth with Shift
const RIM = 1e-6; // of the pad: at its edge corners on the other side still have a share
const WHOLE = 0.9999; // share from which on a corner's own values are meant

export function snapshots(state) {
  const stored = () => state.preset.snapshots ?? {};
  const corners = () => CORNERS.filter((slot) => slot in stored());

  function button(slot) {
    let timer = 0, pointer = "", storedByPress = false; // whether a long press has stored
    const store = () => state.link.send({ t: "snapshot", slot });
    const clear = () => slot in stored() && state.link.send({ t: "snapshot", slot, clear: true });
    const stop = () => clearTimeout(timer);
    return make("button", {
      textContent: slot, id: `slot-${slot}`, onpointerleave: stop, onpointercancel: stop, onpointerup: stop,
      onpointerdown: (event) => {
        pointer = event.pointerType;
        storedByPress = false;
        if (!event.button) timer = setTimeout(() => (store(), (storedByPress = true)), LONG);
      },
      onclick: (event) => {
        if (storedByPress) storedByPress = false;
        else if (event.shiftKey || !(slot in stored())) store();
        else state.set(stored()[slot]);
      },
      oncontextmenu: (event) => {
        event.preventDefault();
        if (pointer && pointer !== "mouse") return; // a finger that stays opens it as well
        stop();
        clear();
      },
      onkeydown: (event) => event.key === "Delete" && clear(),
    });
  }

  const slots = SLOTS.map(button);
  const marks = CORNERS.map((textContent) => make("b", { textContent }));
  const pad = make("div", { id: "corners", tabIndex: 0, role: "slider", "aria-label": "Blend of snapshots 1 to 4", title: "Drag between the snapshots 1 to 4; two are enough" }, ...marks, make("i"));
  $("snapshots").append(
    make("div", { id: "slots", role: "group", "aria-label": "Slots" }, ...slots), pad,
    make("div", { id: "dicing" }, ...dice(state),
      make("p", { textContent: "Snapshots: a click stores, then recalls; the square blends 1 to 4. Shift click or long press: anew. Right click: clear." })),
  );

  state.on("preset", () => {
    for (const [index, element] of [...slots, ...marks].entries()) element.classList.toggle("full", (index % SLOTS.length) + 1 in stored());
    for (const [index, slot] of slots.entries()) slot.setAttribute("aria-label", `${SLOTS[index]}, ${SLOTS[index] in stored() ? "recall" : "empty, store"}`);
    pad.setAttribute("aria-disabled", String(corners().length < 2));
    show();
  });

  let [x, y] = [0.5, 0.5], blendTargets = [], key = null;

  /** The shares of the stored corners at the pad's place: bilinear, of one sum. */
  function shares() {
    const [right, low] = [x, y].map((coordinate) => clamp(coordinate, RIM, 1 - RIM));
    const weights = corners().map((slot) => [slot, (slot % 2 ? 1 - right : right) * (slot > 2 ? low : 1 - low)]);
    const sum = weights.reduce((sum, [, share]) => sum + share, 0);
    return weights.map(([slot, share]) => [slot, share / sum]);
  }

  function blend() {
    const values = {};
    for (const target of blendTargets) {
      const control = state.byTarget.get(target);
      const cornerValues = shares().filter(([slot]) => target in (stored()[slot] ?? {})).map(([slot, share]) => [stored()[slot][target], share]);
      if (!control || !cornerValues.length) continue;
      const sum = cornerValues.reduce((sum, [, share]) => sum + share, 0);
      const [value, largestShare] = cornerValues.reduce((best, corner) => (corner[1] > best[1] ? corner : best));
      if (control.choices?.length || largestShare > WHOLE * sum) values[target] = value;
      else values[target] = valueAt(cornerValues.reduce((place, [value, share]) => place + placeOf(value, control) * share, 0) / sum, control);
    }
    return values;
  }

  function show() {
    pad.style.setProperty("--x", x);
    pad.style.setProperty("--y", y);
    pad.setAttribute("aria-valuenow", Math.round(100 * x));
    pad.setAttribute("aria-valuetext", shares().map(([slot, share]) => `${slot}: ${Math.round(100 * share)} %`).join(", ") || "none stored");
  }

  function follow(to) {
    if (!blendTargets.length) {
      blendTargets = [...new Set(corners().flatMap((slot) => Object.keys(stored()[slot])))];
      state.grab(blendTargets);
    }
    [x, y] = to.map((coordinate) => clamp(coordinate, 0, 1));
    show();
    state.move(blend());
  }

  function release() {
    if (blendTargets.length) state.drop(blendTargets);
    blendTargets = [];
    key = null;
  }

  const drag = ({ clientX, clientY }) => {
    const { left, top, width, height } = pad.getBoundingClientRect();
    follow([(clientX - left) / width, (clientY - top) / height]);
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button || blendTargets.length || corners().length < 2) return;
    pad.setPointerCapture(event.pointerId);
    drag(event);
  });
  pad.addEventListener("pointermove", (event) => blendTargets.length && pad.hasPointerCapture(event.pointerId) && drag(event));
  for (const name of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) pad.addEventListener(name, release);
  addEventListener("blur", release);
  pad.addEventListener("keydown", (event) => {
    const direction = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!direction || corners().length < 2) return;
    event.preventDefault();
    if (!blendTargets.length) key = event.key;
    follow([x, y].map((place, axis) => place + direction[axis] * STEP * (event.shiftKey ? 0.2 : 1)));
  });
  pad.addEventListener("keyup", (event) => event.key === key && release());
}
