// The still canvas: every dot once, drawn anew only where size, theme, colours or what is lit change.

import { clamp, colour } from "./dom.js";
import { dotColour } from "./colours.js";

const NAMED = 150; // dots up to which each has its label beside it, as far as there is room

/** Draws dots on a canvas; `by` is one of their `choices` or "plain", `lit` a set of labels or null. */
export function drawDots(canvas, surface, edge, by, lit) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  const crowd = Math.sqrt((width * height) / surface.count); // from dot to dot, were they even
  const radius = clamp(0.2 * crowd, edge / 8, edge / 3);
  const grey = colour("--dot");
  const stamps = new Map();
  const stamp = (name, size) => {
    if (!stamps.has(name)) stamps.set(name, disc(name, size));
    return stamps.get(name);
  };
  const last = [];
  const put = (dot, name, size) => {
    const image = stamp(name, size);
    const x = edge + surface.places[2 * dot] * (width - 2 * edge), y = edge + surface.places[2 * dot + 1] * (height - 2 * edge);
    context.drawImage(image, x - image.width / 2, y - image.height / 2);
  };
  for (let dot = 0; dot < surface.count; dot++) {
    if (lit) {
      if (lit.has(surface.label[dot])) last.push(dot);
      else put(dot, grey, radius * 0.8);
    } else put(dot, dotColour(surface, dot, by) ?? grey, radius);
  }
  const light = colour("--lit");
  for (const dot of last) put(dot, light, radius * 1.6);
  if (surface.count <= NAMED) name(context, surface, edge);
}

/** Writes labels beside dots, where they hide no dot's label that is there already. */
function name(context, surface, edge) {
  const { width, height } = context.canvas;
  const size = edge * 1.1, taken = [];
  context.font = `${size}px system-ui, sans-serif`;
  context.fillStyle = colour("--dim");
  for (let dot = 0; dot < surface.count; dot++) {
    const text = surface.names[surface.label[dot]] ?? "";
    const wide = context.measureText(text).width;
    const right = edge + surface.places[2 * dot] * (width - 2 * edge) + 0.7 * edge;
    const x = right + wide > width ? right - 1.4 * edge - wide : right;
    const y = Math.min(Math.max(edge + surface.places[2 * dot + 1] * (height - 2 * edge) + size / 3, size), height - 2);
    if (taken.some(([left, base, other]) => Math.abs(base - y) < size && left < x + wide + 4 && x < left + other + 4)) continue;
    taken.push([x, y, wide]);
    context.fillText(text, x, y);
  }
}

function disc(name, radius) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 2 * Math.ceil(radius) + 2;
  const context = canvas.getContext("2d");
  context.fillStyle = name;
  context.beginPath();
  context.arc(canvas.width / 2, canvas.width / 2, radius, 0, 2 * Math.PI);
  context.fill();
  return canvas;
}
