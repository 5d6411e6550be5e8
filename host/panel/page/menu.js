// The menu of a control: by a right click, a long press, the menu key or Shift F10.

import { make, shown } from "./dom.js";
import { typed, wanted } from "./values.js";

const LONG = 500; // milliseconds of a long press
const STILL = 8; // pixels that the finger may go in one
const CURVE = { log: true, unit: "" };
const EDGE = 8; // pixels between the menu and the window's edge

export function menu(state, learn, sliders) {
  const box = make("dialog", { className: "menu" });
  const said = make("p", { role: "alert" });
  document.body.append(box);
  let slider = null; // whose menu is open
  let press = null; // of a finger: its timer and where it began
  let form = "";

  function open(of, x, y) {
    if (slider) close();
    if (!of.element.contains(document.activeElement)) of.range.focus({ preventScroll: true }); // to come back to
    slider = of;
    said.textContent = form = "";
    show();
    box.setAttribute("aria-label", slider.control.title);
    box.show();
    const { width, height } = box.getBoundingClientRect();
    box.style.left = `${Math.max(Math.min(x, innerWidth - width - EDGE), EDGE)}px`;
    box.style.top = `${Math.max(Math.min(y, innerHeight - height - EDGE), EDGE)}px`;
  }

  /** Gives the focus back where it was; returns the slider whose menu it was. */
  function close() {
    const left = slider;
    slider = null;
    box.close();
    return left;
  }

  function show() {
    const { control } = slider;
    const now = JSON.stringify([control.target, control.default, control.maps]);
    if (now === form) return;
    form = now;
    const focused = box.contains(document.activeElement) ? document.activeElement.id : "";
    const item = (id, textContent, onclick) => make("button", { id: `menu-${id}`, textContent, onclick });
    const unit = slider.unit.textContent;
    box.replaceChildren(
      item("reset", `Reset to ${shown(control.default, control)} ${unit}`.trim(), () => close().reset()),
      item("type", "Type a value", () => close().number.focus()),
      item("learn", control.maps.length ? "Learn another knob" : "Learn a knob", () => learn.pick(close().control.target)),
      ...control.maps.map(binding),
      said,
    );
    if (focused) (document.getElementById(focused) ?? box.querySelector("button")).focus();
  }

  /** Its range and its curve, which are sent as soon as one of them is typed. */
  function binding(map, index) {
    const { control } = slider;
    const one = { target: control.target, source: map.source, channel: map.channel };
    const field = (name, label, of) => {
      const input = make("input", { id: `menu-${name}-${index}`, value: shown(map[name], of), autocomplete: "off" });
      input.addEventListener("change", () => {
        if (!slider) return; // Escape closed the menu
        const value = typed(input.value, of);
        said.textContent = value === null ? wanted(shown(map[name], of), of) : "";
        if (value !== null) state.link.send({ t: "binding", ...one, low: map.low, high: map.high, curve: map.curve, [name]: value });
        input.value = shown(map[name], of);
      });
      return make("label", { textContent: label }, input);
    };
    const forget = make("button", { id: `menu-forget-${index}`, textContent: "Forget", "aria-label": `Forget ${map.source}`, onclick: () => state.link.send({ t: "unlearn", ...one }) });
    return make("fieldset", {},
      make("legend", { textContent: [map.source, map.channel && `channel ${map.channel}`, map.takeover === "jump" ? "" : map.takeover].filter(Boolean).join(", ") }),
      field("low", "From", control), field("high", "To", control), field("curve", "Curve", CURVE), forget);
  }

  const under = (event) => (event.target.closest?.(".typed") ? null : sliders.of(event.target.closest?.(".control")));

  addEventListener("contextmenu", (event) => {
    const found = under(event);
    if (!found) return;
    event.preventDefault();
    if (press) return long();
    found.release();
    open(found, event.clientX, event.clientY);
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "ContextMenu" && !(event.key === "F10" && event.shiftKey)) return;
    const found = under(event);
    if (!found) return;
    event.preventDefault();
    found.release();
    const { left, bottom } = found.range.getBoundingClientRect();
    open(found, left, bottom);
  });

  function long() {
    const { found, x, y } = press;
    lift();
    found.hush();
    open(found, x, y);
    addEventListener("click", swallow, { capture: true, once: true }); // that of the finger when it is lifted
  }

  function swallow(event) {
    if (box.contains(event.target)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  function lift() {
    clearTimeout(press?.timer);
    press = null;
  }

  addEventListener("pointerdown", (event) => {
    removeEventListener("click", swallow, { capture: true });
    lift();
    if (slider && !box.contains(event.target)) {
      document.activeElement.blur(); // takes what was typed
      close();
    }
    const found = under(event);
    if (event.pointerType !== "touch" || !found) return;
    press = { found, x: event.clientX, y: event.clientY, timer: setTimeout(long, LONG) };
  }, { capture: true });
  addEventListener("pointermove", (event) => press && Math.hypot(event.clientX - press.x, event.clientY - press.y) > STILL && lift());
  for (const name of ["pointerup", "pointercancel"]) addEventListener(name, lift);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("input")) event.target.blur();
    if (event.key !== "Escape") return;
    event.stopPropagation(); // it is no panic
    close();
  });
  addEventListener("focusin", ({ target }) => slider && !box.contains(target) && close());
  state.link.on("say", ({ line, kind }) => {
    if (slider && kind === "error") said.textContent = line;
  });
  state.on("controls", () => slider && (sliders.of(slider.element) ? show() : close()));
}
