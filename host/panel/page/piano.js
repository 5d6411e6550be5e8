// The piano: two to four octaves, or twelve keys in a row, for mouse and fingers.

import { letter, readLayout } from "./keyboard.js";
import { $, clamp, make, noteClass, noteName, press, remember, remembered } from "./dom.js";

const COLUMNS = [1, 9, 13, 21, 25, 37, 45, 49, 57, 61, 69, 73]; // of an octave's 84, where its keys begin
const STRIPS = { 0: "33%", 4: "67%", 5: "33%", 11: "67%" }; // of white keys, the middle of what black ones leave free
const BLACK = new Set([1, 3, 6, 8, 10]);
const SOFTEST = 24; // the velocity at a key's upper edge; its lower edge gives 127
const BY_KEYBOARD = 100; // the velocity of Enter
const SHORT = 2; // letters of a label that stand side by side on a key
const MOVES = "onpointerrawupdate" in window ? "pointerrawupdate" : "pointermove";

export function piano(state, notes, box) {
  let lowest = 48, chroma = remembered("chroma") === true, octaves = 0, focus = 60, drawnForm = "", heldKeys = [], soundingKeys = [];
  let range = ""; // of the preset's keys

  const width = () => (box.clientWidth / parseFloat(getComputedStyle(document.documentElement).fontSize)) * 16;
  const rows = () => (chroma || width() >= 616 ? 1 : 2); // one octave below another where keys would be too narrow

  function build() {
    const count = chroma ? 1 : clamp(Math.floor(width() / 308), 2, 4); // of seven white keys, 44 pixels each
    if (count !== octaves) lowest = clamp(lowest + 12 * Math.trunc((octaves - count) / 2), 0, 120);
    octaves = count;
    lowest = Math.min(lowest, 12 * (11 - octaves) > 0 ? 12 * (11 - octaves) : 0);
    const form = JSON.stringify([lowest, chroma, octaves, rows(), state.keys]);
    if (form === drawnForm) return;
    drawnForm = form;
    box.className = chroma ? "row" : rows() === 2 ? "stacked" : "";
    if (focus < lowest || focus >= lowest + 12 * octaves) focus = lowest;
    const octaveElements = Array.from({ length: octaves }, (_, octave) => {
      const start = lowest + 12 * octave;
      const keys = Array.from({ length: 12 }, (_, step) => key(start + step));
      return make("div", { className: "octave" }, ...keys.filter(Boolean));
    });
    box.replaceChildren(...(rows() === 2 ? octaveElements.reverse() : octaveElements));
    $("octave").textContent = noteName(lowest);
    light();
  }

  function key(number) {
    if (number > 127) return null;
    const step = number % 12;
    const label = state.keys.labels[number] ?? "";
    const element = make("button", { className: BLACK.has(step) ? "key black" : "key", tabIndex: number === focus ? 0 : -1, "aria-label": [label, noteName(number)].filter(Boolean).join(" "), "aria-pressed": "false", title: label });
    element.style.setProperty("--column", COLUMNS[step]);
    if (STRIPS[step]) element.style.setProperty("--strip", STRIPS[step]);
    element.dataset.key = number;
    element.disabled = !state.plays(number);
    if (label) element.append(make("b", { textContent: label, className: label.length > SHORT ? "long" : "" }));
    element.append(make("small", { textContent: letter(number - lowest), "aria-hidden": "true" }));
    if (step === 0 || chroma) element.append(make("span", { textContent: chroma ? noteClass(number) : noteName(number) }));
    return element;
  }

  function light() {
    const ownKeys = notes.keys();
    for (const element of box.querySelectorAll(".key")) {
      const number = Number(element.dataset.key);
      const down = ownKeys.has(number) || heldKeys.includes(number);
      if ((element.ariaPressed === "true") !== down) press(element, down);
      element.classList.toggle("sounds", !down && soundingKeys.includes(number));
    }
    press($("hold"), notes.latched);
  }

  function keyUnder(event) {
    const element = document.elementFromPoint(event.clientX, event.clientY)?.closest?.("#piano .key");
    if (!element || element.disabled) return null;
    const { top, height } = element.getBoundingClientRect();
    const place = clamp((event.clientY - top) / (height * 0.9), 0, 1);
    return [Number(element.dataset.key), Math.round(SOFTEST + (127 - SOFTEST) * place)];
  }

  function touch(event) {
    const [number, velocity] = keyUnder(event) ?? [];
    if (number === undefined) notes.release(event.pointerId);
    else notes.press(event.pointerId, number, velocity);
  }

  const fingers = new Set();
  box.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    event.target.closest(".key")?.focus({ preventScroll: true });
    box.setPointerCapture(event.pointerId);
    fingers.add(event.pointerId);
    touch(event);
  });
  box.addEventListener(MOVES, (event) => fingers.has(event.pointerId) && touch(event));
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    box.addEventListener(name, (event) => {
      fingers.delete(event.pointerId);
      notes.release(event.pointerId);
    });
  }
  box.addEventListener("contextmenu", (event) => event.preventDefault());
  box.addEventListener("focusin", ({ target }) => {
    box.querySelector('.key[tabindex="0"]')?.setAttribute("tabindex", "-1");
    target.tabIndex = 0;
    focus = Number(target.dataset.key);
  });
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 12, ArrowDown: -12 }[event.key];
    if (step) box.querySelector(`[data-key="${focus + step}"]`)?.focus();
    else if (event.key !== "Enter") return;
    else if (!event.repeat) notes.press("focus", focus, BY_KEYBOARD);
    event.preventDefault();
    event.stopPropagation();
  });
  box.addEventListener("keyup", (event) => event.key === "Enter" && notes.release("focus"));
  box.addEventListener("focusout", () => notes.release("focus"));

  function rebuild() {
    build();
    remember("octave", { range, lowest });
  }

  function shift(by) {
    lowest = clamp(lowest + by, 0, 12 * (11 - octaves));
    rebuild();
  }
  $("octave-down").addEventListener("click", () => shift(-12));
  $("octave-up").addEventListener("click", () => shift(12));
  $("chroma").addEventListener("click", () => {
    chroma = !chroma;
    remember("chroma", chroma);
    press($("chroma"), chroma);
    rebuild();
  });
  press($("chroma"), chroma);
  $("hold").addEventListener("click", () => notes.hold(!notes.latched));
  $("panic").addEventListener("click", () => notes.panic());
  notes.addEventListener("change", light);
  state.link.on("meters", ({ held, sounding }) => {
    if (String(held) === String(heldKeys) && String(sounding) === String(soundingKeys)) return;
    [heldKeys, soundingKeys] = [held, sounding];
    light();
  });
  state.on("keys", () => {
    build(); // so that it knows how many octaves there are
    const { low, high, center, labels } = state.keys;
    if (range !== `${low}-${high}`) { // each edit sends the keys again
      range = `${low}-${high}`;
      const savedOctave = remembered("octave");
      const octaveOf = (key) => 12 * Math.floor(key / 12);
      const labelledKeys = Object.keys(labels).map(Number); // of a kit, which begins with its first sound
      const first = labelledKeys.length ? octaveOf(Math.min(...labelledKeys)) : Math.max(octaveOf(center) - (octaves > 2 ? 12 : 0), octaveOf(low));
      lowest = savedOctave?.range === range ? savedOctave.lowest : first;
    }
    build();
  });
  new ResizeObserver(build).observe(box);
  readLayout().then(() => {
    drawnForm = "";
    build();
  });
  return { shift, lowest: () => lowest };
}
