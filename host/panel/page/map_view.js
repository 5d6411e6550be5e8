// The visible part of the map: zoom and corner.

import { clamp } from "./dom.js";

export const EDGE = 12; // pixels around the plane, so that dots at its rim are whole
const CLOSEST = 24;

export class View {
  zoom = 1; begin = [0, 0]; size = [0, 0]; // of the canvas, in pixels

  #span = (axis) => this.zoom * (this.size[axis] - 2 * EDGE);

  /** The pixels of a place of the plane. */
  toPixels = (place) => place.map((coordinate, axis) => EDGE + (clamp(coordinate, 0, 1) - this.begin[axis]) * this.#span(axis));

  /** The place at pixels. */
  place = (pixels) => pixels.map((pixel, axis) => this.begin[axis] + (pixel - EDGE) / this.#span(axis));

  /** Brings a place under pixels, as far as the plane fills the canvas. */
  carry(place, pixels = this.size.map((length) => length / 2)) {
    this.begin = pixels.map((pixel, axis) => clamp(place[axis] - (pixel - EDGE) / this.#span(axis), 0, 1 - 1 / this.zoom));
  }

  /** Zooms about pixels, the middle of the canvas where none are given. */
  scale(factor, pixels = this.size.map((length) => length / 2)) {
    const place = this.place(pixels);
    this.zoom = clamp(this.zoom * factor, 1, CLOSEST);
    this.carry(place, pixels);
  }

  /** Brings a place into sight. */
  show(place) {
    if (place.some((coordinate, axis) => coordinate < this.begin[axis] || coordinate > this.begin[axis] + 1 / this.zoom)) this.carry(place);
  }
}
