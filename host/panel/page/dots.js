// The still canvas: dots and their names, drawn anew when size, theme, colours, zoom or highlight change.

import { $, clamp, colour } from "./dom.js";
import { dotColour } from "./colours.js";
import { EDGE } from "./map_view.js";

const TOGETHER = 110; // pixels within which dots of one name are together
const FEWEST = 3, SPARSE = 30; // dots together that have a name; fewer where they are further apart than so many pixels
const ROOM = 7, CROWDED = 40; // pixels around a name; more where dots are less than this apart

/** The pixels from dot to dot of the whole map, were they even. */
const crowd = ({ size: [width, height] }, count) => Math.sqrt((width * height) / count);

/** The radius of a dot, in pixels. */
export const dotRadius = (view, count) => clamp(0.2 * crowd(view, count) * Math.sqrt(view.zoom), EDGE / 8, EDGE / 2.4);

/** Draws dots, `scale` pixels of the canvas a pixel of the page; `by` is one of their `choices` or "plain", `lit` a set of labels or null. */
export function drawDots(canvas, surface, view, scale, by, lit) {
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  const radius = dotRadius(view, surface.count) * scale;
  const grey = colour("--dot");
  const stamps = new Map();
  const stamp = (name, size) => {
    if (!stamps.has(name)) stamps.set(name, disc(name, size));
    return stamps.get(name);
  };
  const litDots = [];
  const put = (dot, name, size) => {
    const image = stamp(name, size);
    const [x, y] = view.toPixels(surface.dotPlace(dot));
    context.drawImage(image, x * scale - image.width / 2, y * scale - image.height / 2);
  };
  for (let dot = 0; dot < surface.count; dot++) {
    if (lit) {
      if (lit.has(surface.label[dot])) litDots.push(dot);
      else put(dot, grey, radius * 0.8);
    } else put(dot, dotColour(surface, dot, by) ?? grey, radius);
  }
  const light = colour("--lit");
  for (const dot of litDots) put(dot, light, radius * 1.6);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  write(context, surface, view, lit);
}

/** Writes names in the middle of dots together, those of most first, where they hide no name. */
function write(context, surface, view, lit) {
  const { names, indexByLabel } = surface.groups.label;
  const totals = names.map(() => 0), clusters = new Map();
  for (let dot = 0; dot < surface.count; dot++) {
    const name = indexByLabel[surface.label[dot]] ?? -1;
    if (name < 0 || (lit && !lit.has(surface.label[dot]))) continue;
    totals[name]++;
    const [x, y] = view.toPixels(surface.dotPlace(dot));
    if (x < 0 || y < 0 || x > view.size[0] || y > view.size[1]) continue;
    const key = [name, ...[x, y].map((coordinate) => Math.floor(coordinate / TOGETHER))].join();
    const [count, right, down] = clusters.get(key)?.slice(1) ?? [0, 0, 0];
    clusters.set(key, [name, count + 1, right + x, down + y]);
  }
  const spacing = crowd(view, surface.count) * view.zoom;
  const fewest = clamp(Math.round((FEWEST * SPARSE) / spacing), 1, FEWEST);
  const room = ROOM + clamp(CROWDED - spacing, 0, CROWDED) / 2;
  const corner = $("zoom");
  const size = 0.8125 * parseFloat(getComputedStyle(document.documentElement).fontSize), placedNames = [];
  context.font = `500 ${size}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.lineWidth = 4;
  context.lineJoin = "round";
  context.strokeStyle = colour("--ground");
  context.fillStyle = colour("--text");
  for (const [name, count, right, down] of [...clusters.values()].sort((first, second) => second[1] - first[1])) {
    if (count < Math.min(fewest, totals[name])) continue;
    const half = context.measureText(names[name]).width / 2;
    const x = clamp(right / count, half + 4, view.size[0] - half - 4);
    const y = clamp(down / count + (count > 1 ? 0.35 : -0.7) * size, size, view.size[1] - 4);
    if (x + half > corner.offsetLeft && y > corner.offsetTop) continue;
    const hides = ([placedName, left, base, wide]) =>
      placedName === name ? Math.hypot(left - x, base - y) < 1.5 * TOGETHER : Math.abs(left - x) < half + wide + 2 * room && Math.abs(base - y) < size + room;
    if (placedNames.some(hides)) continue;
    placedNames.push([name, x, y, half]);
    context.strokeText(names[name], x, y);
    context.fillText(names[name], x, y);
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
