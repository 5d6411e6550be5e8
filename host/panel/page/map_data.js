// The map as it comes in one binary frame: a surface of codes, read bilinearly, and the codes of training as dots.

import { clamp } from "./dom.js";
import { family, shownName } from "./label_families.js";

const HEADER = 16; // bytes: nodes a side, latents, dots, nothing, each of 32 bits
const SAME = 0.001; // deviations that rounding may put between two codes
const FINEST = 1 / 2048; // of the plane: the last step with which a code is looked for

export class Surface {
  constructor(buffer, labels) {
    const [side, latents, count] = new Uint32Array(buffer, 0, 3);
    let at = HEADER;
    const take = (Kind, length) => {
      const array = new Kind(buffer, at, length);
      at += 4 * length;
      return array;
    };
    Object.assign(this, { side, latents, count, labels });
    this.nodes = take(Float32Array, side * side * latents);
    this.places = take(Float32Array, count * 2);
    this.codes = take(Float32Array, count * latents);
    this.notes = take(Float32Array, count);
    this.brightness = take(Float32Array, count);
    this.label = take(Int32Array, count);
    this.loudness = take(Float32Array, count);
    this.scale = take(Float32Array, latents);
    this.scaled = this.nodes.map((value, index) => value * this.scale[index % latents]);
    this.names = labels.map(shownName);
    this.groups = { label: grouped(this.names), family: grouped(this.names.map(family)) };
    this.ends = { brightness: ends(this.brightness), loudness: ends(this.loudness) };
  }

  /** The code at a place, x and y from 0 to 1. */
  code(x, y) {
    const { side, latents, nodes } = this;
    const [u, v] = [x, y].map((place) => clamp(place, 0, 1) * (side - 1));
    const [column, row] = [u, v].map((place) => Math.min(Math.floor(place), side - 2));
    const [a, b] = [u - column, v - row];
    const first = (row * side + column) * latents;
    const below = first + side * latents;
    return Array.from({ length: latents }, (_, k) =>
      (nodes[first + k] * (1 - a) + nodes[first + latents + k] * a) * (1 - b) +
      (nodes[below + k] * (1 - a) + nodes[below + latents + k] * a) * b);
  }

  /** Whether two codes differ by more than rounding; the second may stand in a longer array. */
  apart(code, other, first = 0) {
    return this.scale.some((scale, k) => Math.abs(code[k] - other[first + k]) * scale > SAME);
  }

  /** The place of a code: of a dot which has it, else the nearest in deviations; of equals the nearest to `near`. */
  find(code, near = [0.5, 0.5]) {
    const { side, latents, scaled, scale } = this;
    const far = ([x, y]) => (x - near[0]) ** 2 + (y - near[1]) ** 2;
    let place = null;
    for (let dot = 0; dot < this.count; dot++) {
      if (Math.abs(code[0] - this.codes[dot * latents]) * scale[0] > SAME || this.apart(code, this.codes, dot * latents)) continue;
      if (!place || far(this.dotPlace(dot)) < far(place)) place = this.dotPlace(dot);
    }
    if (place) return place;
    const wanted = Float32Array.from(code, (value, k) => value * scale[k]);
    const last = side - 1;
    const begin = Math.round(clamp(near[1], 0, 1) * last) * side + Math.round(clamp(near[0], 0, 1) * last); // so that most others end early
    let best = Infinity;
    for (let step = 0; step < side * side; step++) {
      const node = (begin + step) % (side * side);
      const there = [(node % side) / last, Math.floor(node / side) / last];
      let sum = 1e-3 * far(there);
      for (let k = 0; k < latents && sum < best; k++) sum += (scaled[node * latents + k] - wanted[k]) ** 2;
      if (sum < best) [best, place] = [sum, there];
    }
    const away = ([x, y]) => this.code(x, y).reduce((sum, value, k) => sum + ((value - code[k]) * scale[k]) ** 2, 0);
    best = away(place);
    for (let step = 0.5 / last; step > FINEST; ) {
      const better = [[step, 0], [-step, 0], [0, step], [0, -step]].some((way) => {
        const next = place.map((at, axis) => clamp(at + way[axis], 0, 1));
        const sum = away(next);
        if (sum < best) [best, place] = [sum, next];
        return place === next;
      });
      if (!better) step /= 2;
    }
    return place;
  }

  /** The dot nearest to a place where each axis is as long as is said, no further than 1 or, among `lit` labels, at all; -1: none. */
  nearest(x, y, width, height, lit = null) {
    let best = lit ? Infinity : 1, found = -1;
    for (let dot = 0; dot < this.count; dot++) {
      const far = ((this.places[2 * dot] - x) * width) ** 2 + ((this.places[2 * dot + 1] - y) * height) ** 2;
      if (far <= best && (!lit || lit.has(this.label[dot]))) [best, found] = [far, dot];
    }
    return found;
  }

  /** How bright or loud a dot is among the others, 0 to 1. */
  level(values, dot) {
    const [low, high] = this.ends[values];
    return clamp((this[values][dot] - low) / (high - low || 1), 0, 1);
  }

  dotCode(dot) {
    return Array.from(this.codes.subarray(dot * this.latents, (dot + 1) * this.latents));
  }

  dotPlace(dot) {
    return [this.places[2 * dot], this.places[2 * dot + 1]];
  }
}

/** The low and the high end of values, without the few that would make all others alike. */
function ends(values) {
  const sorted = values.toSorted();
  return [0.02, 0.98].map((part) => sorted[Math.floor(part * values.length)]);
}

/** The names, and by label the index of its name, -1 without. */
function grouped(each) {
  const names = [...new Set(each)].filter(Boolean).sort();
  return { names, of: each.map((name) => names.indexOf(name)) };
}
