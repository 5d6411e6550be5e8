// The menu of a control: by a right click, a long press, the menu key or Shift F10.

import { clamp, make, shown } from "./dom.js";
import { typed, wanted } from "./typed_values.js";

const LONG = 500; // milliseconds of a long press
const STILL = 8; // pixels that the finger may go in one
const EDGE = 8; // pixels from the menu to the window's edge
const CURVE = { log: true, unit: "" };

export function menu(state, learn, sliders) {
  const said = make("p", { role: "alert" });
  const box = make("dialog", { className: "menu" });
  document.body.append(box);
  let slider = null; // whose menu is open
  let press = null; // of a finger: its timer, its slider and where it began
  let form = "";

  function open(of, x, y) {
    if (slider) close();
    if (!of.element.contains(document.activeElement)) of.range.focus({ preventScroll: true }); // to come back to
    slider = of;
    said.textContent = form = "";
    show();
    box.show();
    const { width, height } = box.getBoundingClientRect();
    box.style.left = `${clamp(x, EDGE, innerWidth - width - EDGE)}px`;
    box.style.top = `${clamp(y, EDGE, innerHeight - height - EDGE)}px`;
  }

  /** Gives the focus back; returns the slider whose menu it was. */
  function close() {
    const left = slider;
    slider = null;
    box.close();
    return left;
  }

  const button = (id, textContent, onclick) => make("button", { id: `menu-${id}`, textContent, onclick });

  function show() {
    const { control, unit } = slider;
    const now = JSON.stringify([control.default, control.maps]);
    if (now === form) return;
    form = now;
    const focused = box.contains(document.activeElement) && document.activeElement.id;
    box.setAttribute("aria-label", control.title);
    box.replaceChildren(
      button("reset", `Reset to ${shown(control.default, control)} ${unit.textContent}`.trim(), () => close().reset()),
      button("type", "Type a value", () => close().number.focus()),
      button("learn", control.maps.length ? "Learn another knob" : "Learn a knob", () => learn.pick(close().control.target)),
      ...control.maps.map((map, index) => binding(control, map, index)),
      said,
    );
    if (focused) (document.getElementById(focused) ?? box.querySelector("button")).focus();
  }

  /** The range and the curve of a knob, which are sent as soon as one of them is typed. */
  function binding(control, map, index) {
    const { source, channel, low, high, curve } = map;
    const send = (t, more) => state.link.send({ t, target: control.target, source, channel, ...more });
    const field = (textContent, name, of) => {
      const before = shown(map[name], of);
      const input = make("input", { id: `menu-${name}-${index}`, value: before, autocomplete: "off" });
      input.addEventListener("change", () => {
        if (!slider) return; // Escape closed the menu
        const value = typed(input.value, of);
        said.textContent = value === null ? wanted(before, of) : "";
        if (value !== null) send("binding", { low, high, curve, [name]: value });
        input.value = before;
      });
      return make("label", { textContent }, input);
    };
    const name = [source, channel && `channel ${channel}`, map.takeover !== "jump" && map.takeover].filter(Boolean).join(", ");
    return make("fieldset", {}, make("legend", { textContent: name }), field("From", "low", control), field("To", "high", control), field("Curve", "curve", CURVE),
      button(`forget-${index}`, `Forget ${source}`, () => send("unlearn")));
  }

  const under = ({ target }) => !target.closest?.(".typed") && sliders.of(target.closest?.(".control"));

  function ask(event, x, y) {
    const found = under(event);
    if (!found) return;
    event.preventDefault();
    if (press) return long();
    found.release();
    open(found, x, y);
  }

  function long() {
    const { found, x, y } = press;
    lift();
    found.hush();
    open(found, x, y);
    addEventListener("click", swallow, { capture: true, once: true }); // that of the finger when it is lifted
  }

  function swallow(event) {
    event.preventDefault();
    event.stopPropagation();
  }

  function lift() {
    clearTimeout(press?.timer);
    press = null;
  }

  addEventListener("contextmenu", (event) => ask(event, event.clientX, event.clientY));
  addEventListener("keydown", (event) => {
    if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) {
      const { left, bottom } = event.target.getBoundingClientRect();
      ask(event, left, bottom);
    }
    if (!slider || event.key !== "Escape") return;
    event.stopPropagation(); // it is no panic
    close();
  }, { capture: true });
  addEventListener("pointerdown", (event) => {
    removeEventListener("click", swallow, { capture: true });
    lift();
    if (slider && !box.contains(event.target)) {
      document.activeElement.blur(); // takes what was typed
      close();
    }
    const found = event.pointerType === "touch" && under(event);
    if (found) press = { found, x: event.clientX, y: event.clientY, timer: setTimeout(long, LONG) };
  }, { capture: true });
  addEventListener("pointermove", (event) => press && Math.hypot(event.clientX - press.x, event.clientY - press.y) > STILL && lift());
  for (const name of ["pointerup", "pointercancel"]) addEventListener(name, lift);
  addEventListener("focusin", ({ target }) => slider && !box.contains(target) && close());
  state.link.on("say", ({ line, kind }) => slider && kind === "error" && (said.textContent = line));
  state.on("controls", () => slider && (sliders.of(slider.element) ? show() : close()));
}
