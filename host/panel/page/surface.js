// The map as it comes in one binary frame: a surface of codes, read bilinearly, and the codes of training as dots.

const HEADER = 16; // bytes: nodes a side, latents, dots, nothing, each of 32 bits
const REFINE = 5; // halvings of the step with which a code is looked for, from a node's distance

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
    const sorted = this.brightness.toSorted();
    this.dull = sorted[Math.floor(0.02 * count)];
    this.bright = sorted[Math.floor(0.98 * count)];
  }

  /** The code at a place, x and y from 0 to 1. */
  code(x, y) {
    const { side, latents, nodes } = this;
    const [u, v] = [x, y].map((place) => Math.min(Math.max(place, 0), 1) * (side - 1));
    const [column, row] = [u, v].map((place) => Math.min(Math.floor(place), side - 2));
    const [a, b] = [u - column, v - row];
    const first = (row * side + column) * latents;
    const below = first + side * latents;
    return Array.from({ length: latents }, (_, k) =>
      (nodes[first + k] * (1 - a) + nodes[first + latents + k] * a) * (1 - b) +
      (nodes[below + k] * (1 - a) + nodes[below + latents + k] * a) * b);
  }

  /** The place whose code is nearest to one; of equals the nearest to `near`. */
  find(code, near = [0.5, 0.5]) {
    const { side, latents, nodes } = this;
    let best = Infinity, place = near;
    for (let node = 0; node < side * side; node++) {
      let far = 0;
      for (let k = 0; k < latents; k++) far += (nodes[node * latents + k] - code[k]) ** 2;
      const x = (node % side) / (side - 1), y = Math.floor(node / side) / (side - 1);
      far += 1e-3 * ((x - near[0]) ** 2 + (y - near[1]) ** 2);
      if (far < best) [best, place] = [far, [x, y]];
    }
    const away = (x, y) => this.code(x, y).reduce((sum, value, k) => sum + (value - code[k]) ** 2, 0);
    best = away(...place);
    for (let step = 0.5 / (side - 1), round = 0; round < REFINE; step /= 2, round++) {
      for (const [dx, dy] of [[step, 0], [-step, 0], [0, step], [0, -step]]) {
        const next = [place[0] + dx, place[1] + dy].map((at) => Math.min(Math.max(at, 0), 1));
        const far = away(...next);
        if (far < best) [best, place] = [far, next];
      }
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

  /** How bright a dot is among the others, 0 to 1: a few that stand out do not make all others alike. */
  shade(dot) {
    return Math.min(Math.max((this.brightness[dot] - this.dull) / (this.bright - this.dull || 1), 0), 1);
  }

  dotCode(dot) {
    return Array.from(this.codes.subarray(dot * this.latents, (dot + 1) * this.latents));
  }

  dotPlace(dot) {
    return [this.places[2 * dot], this.places[2 * dot + 1]];
  }
}
