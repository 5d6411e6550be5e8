// What part of the map is seen: how much larger than whole, and where on the plane it begins.

import { clamp } from "./dom.js";

export const EDGE = 12; // pixels around the plane, so that dots at its rim are whole
const CLOSEST = 24;

export class View {
  zoom = 1; begin = [0, 0]; size = [0, 0]; // of the canvas, in pixels

  /** The pixels of a whole plane at this zoom. */
  #span(axis) {
    return this.zoom * (this.size[axis] - 2 * EDGE);
  }

  /** Where on the canvas a place of the plane is, in pixels. */
  at(place) {
    return place.map((at, axis) => EDGE + (clamp(at, 0, 1) - this.begin[axis]) * this.#span(axis));
  }

  /** The place of the plane at pixels of the canvas. */
  place(pixels) {
    return pixels.map((at, axis) => this.begin[axis] + (at - EDGE) / this.#span(axis));
  }

  /** Brings a place of the plane under pixels of the canvas, as far as the plane fills it. */
  carry(place, pixels) {
    this.begin = pixels.map((at, axis) => clamp(place[axis] - (at - EDGE) / this.#span(axis), 0, 1 - 1 / this.zoom));
  }

  /** Zooms about pixels of the canvas, which stay where they are. */
  scale(factor, pixels = this.middle) {
    const place = this.place(pixels);
    this.zoom = clamp(this.zoom * factor, 1, CLOSEST);
    this.carry(place, pixels);
  }

  /** Moves a place into sight, where it is not. */
  show(place) {
    if (place.some((at, axis) => at < this.begin[axis] || at > this.begin[axis] + 1 / this.zoom)) this.carry(place, this.middle);
  }

  get middle() {
    return this.size.map((length) => length / 2);
  }
}
