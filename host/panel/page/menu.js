// A control's menu: by right click, long press, the menu key or Shift F10.

import { clamp, make, valueText } from "./dom.js";
import { parseValue, valueHint } from "./typed_values.js";

const LONG = 500; // milliseconds of a long press
const STILL = 8; // pixels that the finger may go in one
const EDGE = 8; // pixels from the menu to the window's edge
const CURVE = { log: true, unit: "" };

export function menu(state, learn, sliders) {
  const alertText = make("p", { role: "alert" });
  const box = make("dialog", { className: "menu" });
  document.body.append(box);
  let slider = null; // whose menu is open
  let press = null; // of a finger: its timer, its slider and where it began
  let form = "";

  function open(newSlider, x, y) {
    if (slider) close();
    if (!newSlider.element.contains(document.activeElement)) newSlider.range.focus({ preventScroll: true }); // to come back to
    slider = newSlider;
    alertText.textContent = form = "";
    show();
    box.show();
    const { width, height } = box.getBoundingClientRect();
    box.style.left = `${clamp(x, EDGE, innerWidth - width - EDGE)}px`;
    box.style.top = `${clamp(y, EDGE, innerHeight - height - EDGE)}px`;
  }

  /** Gives the focus back; returns the slider whose menu it was. */
  function close() {
    const closedSlider = slider;
    slider = null;
    box.close();
    return closedSlider;
  }

  const button = (id, textContent, onclick) => make("button", { id: `menu-${id}`, textContent, onclick });

  function show() {
    const { control, unit } = slider;
    const newForm = JSON.stringify([control.default, control.maps]);
    if (newForm === form) return;
    form = newForm;
    const focused = box.contains(document.activeElement) && document.activeElement.id;
    box.setAttribute("aria-label", control.title);
    box.replaceChildren(
      button("reset", `Reset to ${valueText(control.default, control)} ${unit.textContent}`.trim(), () => close().reset()),
      button("type", "Type a value", () => close().number.focus()),
      button("learn", control.maps.length ? "Learn another knob" : "Learn a knob", () => learn.pick(close().control.target)),
      ...control.maps.map((map, index) => binding(control, map, index)),
      alertText,
    );
    if (focused) (document.getElementById(focused) ?? box.querySelector("button")).focus();
  }

  /** The range and the curve of a knob, which are sent as soon as one of them is typed. */
  function binding(control, map, index) {
    const { source, channel, low, high, curve } = map;
    const send = (t, more) => state.link.send({ t, target: control.target, source, channel, ...more });
    const field = (textContent, name, scale) => {
      const oldText = valueText(map[name], scale);
      const input = make("input", { id: `menu-${name}-${index}`, value: oldText, autocomplete: "off" });
      input.addEventListener("change", () => {
        if (!slider) return; // Escape closed the menu
        const value = parseValue(input.value, scale);
        alertText.textContent = value === null ? valueHint(oldText, scale) : "";
        if (value !== null) send("binding", { low, high, curve, [name]: value });
        input.value = oldText;
      });
      return make("label", { textContent }, input);
    };
    const name = [source, channel && `channel ${channel}`, map.takeover !== "jump" && map.takeover].filter(Boolean).join(", ");
    return make("fieldset", {}, make("legend", { textContent: name }), field("From", "low", control), field("To", "high", control), field("Curve", "curve", CURVE),
      button(`forget-${index}`, `Forget ${source}`, () => send("unlearn")));
  }

  const sliderUnder = ({ target }) => !target.closest?.(".typed") && sliders.of(target.closest?.(".control"));

  function ask(event, x, y) {
    const pointedSlider = sliderUnder(event);
    if (!pointedSlider) return;
    event.preventDefault();
    if (press) return long();
    pointedSlider.release();
    open(pointedSlider, x, y);
  }

  function long() {
    const { pressedSlider, x, y } = press;
    lift();
    pressedSlider.hush();
    open(pressedSlider, x, y);
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
    const pressedSlider = event.pointerType === "touch" && sliderUnder(event);
    if (pressedSlider) press = { pressedSlider, x: event.clientX, y: event.clientY, timer: setTimeout(long, LONG) };
  }, { capture: true });
  addEventListener("pointermove", (event) => press && Math.hypot(event.clientX - press.x, event.clientY - press.y) > STILL && lift());
  for (const name of ["pointerup", "pointercancel"]) addEventListener(name, lift);
  addEventListener("focusin", ({ target }) => slider && !box.contains(target) && close());
  state.link.on("say", ({ line, kind }) => slider && kind === "error" && (alertText.textContent = line));
  state.on("controls", () => slider && (sliders.of(slider.element) ? show() : close()));
}
