// The map's binary frame: a surface of codes, read bilinearly, and training codes as dots.

import { clamp } from "./dom.js";
import { family, shownName } from "./label_families.js";

const HEADER = 16; // bytes: nodes a side, latents, dots, nothing, each of 32 bits
const SAME = 0.001; // deviations that rounding may put between two codes
const FINEST = 1 / 2048; // of the plane: the last step with which a code is looked for

export class Surface {
  constructor(buffer, labels) {
    const [side, latents, count] = new Uint32Array(buffer, 0, 3);
    let offset = HEADER;
    const take = (Kind, length) => {
      const array = new Kind(buffer, offset, length);
      offset += 4 * length;
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
    this.groups = { label: groupNames(this.names), family: groupNames(this.names.map(family)) };
    this.ends = { brightness: ends(this.brightness), loudness: ends(this.loudness) };
  }

  /** The code at a place, x and y from 0 to 1. */
  code(x, y) {
    const { side, latents, nodes } = this;
    const [u, v] = [x, y].map((place) => clamp(place, 0, 1) * (side - 1));
    const [column, row] = [u, v].map((place) => Math.min(Math.floor(place), side - 2));
    const [a, b] = [u - column, v - row];
    const upper = (row * side + column) * latents;
    const lower = upper + side * latents;
    return Array.from({ length: latents }, (_, k) =>
      (nodes[upper + k] * (1 - a) + nodes[upper + latents + k] * a) * (1 - b) +
      (nodes[lower + k] * (1 - a) + nodes[lower + latents + k] * a) * b);
  }

  /** Whether two codes differ by more than rounding; the second may stand in a longer array. */
  differs(code, otherCode, offset = 0) {
    return this.scale.some((scale, k) => Math.abs(code[k] - otherCode[offset + k]) * scale > SAME);
  }

  /** The place of a code: of a dot which has it, else the nearest in deviations; of equals the nearest to `near`. */
  find(code, near = [0.5, 0.5]) {
    const { side, latents, scaled, scale } = this;
    const squaredDistance = ([x, y]) => (x - near[0]) ** 2 + (y - near[1]) ** 2;
    let place = null;
    for (let dot = 0; dot < this.count; dot++) {
      if (Math.abs(code[0] - this.codes[dot * latents]) * scale[0] > SAME || this.differs(code, this.codes, dot * latents)) continue;
      if (!place || squaredDistance(this.dotPlace(dot)) < squaredDistance(place)) place = this.dotPlace(dot);
    }
    if (place) return place;
    const scaledCode = Float32Array.from(code, (value, k) => value * scale[k]);
    const last = side - 1;
    const begin = Math.round(clamp(near[1], 0, 1) * last) * side + Math.round(clamp(near[0], 0, 1) * last); // so that most others end early
    let best = Infinity;
    for (let step = 0; step < side * side; step++) {
      const node = (begin + step) % (side * side);
      const nodePlace = [(node % side) / last, Math.floor(node / side) / last];
      let sum = 1e-3 * squaredDistance(nodePlace);
      for (let k = 0; k < latents && sum < best; k++) sum += (scaled[node * latents + k] - scaledCode[k]) ** 2;
      if (sum < best) [best, place] = [sum, nodePlace];
    }
    const mismatch = ([x, y]) => this.code(x, y).reduce((sum, value, k) => sum + ((value - code[k]) * scale[k]) ** 2, 0);
    best = mismatch(place);
    for (let step = 0.5 / last; step > FINEST; ) {
      const improved = [[step, 0], [-step, 0], [0, step], [0, -step]].some((direction) => {
        const candidate = place.map((coordinate, axis) => clamp(coordinate + direction[axis], 0, 1));
        const sum = mismatch(candidate);
        if (sum < best) [best, place] = [sum, candidate];
        return place === candidate;
      });
      if (!improved) step /= 2;
    }
    return place;
  }

  /** The dot nearest to a place where each axis is as long as is said, no further than 1 or, among `lit` labels, at all; -1: none. */
  nearest(x, y, width, height, lit = null) {
    let best = lit ? Infinity : 1, nearestDot = -1;
    for (let dot = 0; dot < this.count; dot++) {
      const squaredDistance = ((this.places[2 * dot] - x) * width) ** 2 + ((this.places[2 * dot + 1] - y) * height) ** 2;
      if (squaredDistance <= best && (!lit || lit.has(this.label[dot]))) [best, nearestDot] = [squaredDistance, dot];
    }
    return nearestDot;
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
  return [0.02, 0.98].map((quantile) => sorted[Math.floor(quantile * values.length)]);
}

/** The names, and by label the index of its name, -1 without. */
function groupNames(nameByLabel) {
  const names = [...new Set(nameByLabel)].filter(Boolean).sort();
  return { names, indexByLabel: nameByLabel.map((name) => names.indexOf(name)) };
}
