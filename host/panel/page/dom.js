// Small helpers for elements, numbers and what is drawn.

export const $ = (id) => document.getElementById(id);

/** Makes an element: `props` are its properties, those with a hyphen attributes, `on…` listeners. */
export function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Presses or releases a button that stays down. */
export const press = (button, down) => button.setAttribute("aria-pressed", String(Boolean(down)));

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** A value with as many decimals as a hand can set in its range. */
export function valueText(value, { low, high, log, unit }) {
  const span = (log || unit === "s" ? Math.abs(value) : Math.abs(high - low)) || 1;
  const decimals = clamp(2 - Math.floor(Math.log10(span)), 0, 3);
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? (0).toFixed(decimals) : text; // no minus before zero
}

const NOTES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];
export const noteClass = (key) => NOTES[((key % 12) + 12) % 12];
export const noteName = (key) => noteClass(key) + (Math.floor(key / 12) - 1);

/** Keeps a setting of this browser, as far as it may. */
export function remember(name, value) {
  try {
    localStorage.setItem(`timbrel.${name}`, JSON.stringify(value));
  } catch {} // without storage a reload forgets it
}

export function remembered(name) {
  try {
    return JSON.parse(localStorage.getItem(`timbrel.${name}`));
  } catch {
    return null;
  }
}

/** Calls `draw` before the next picture, once however often it is asked. */
export function eachFrame(draw) {
  let pending = false;
  return () => {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      draw();
    });
  };
}

export const calm = matchMedia("(prefers-reduced-motion: reduce)");
export const dark = matchMedia("(prefers-color-scheme: dark)");
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
