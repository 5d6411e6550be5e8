// The map: a still canvas of dots; above it the point, the path and the ghost of the sounding code.

import { $, calm, clamp, colour, dark, eachFrame, make, noteClass, remember, remembered } from "./dom.js";
import { audition } from "./audition.js";
import { choices, legend } from "./colours.js";
import { dotRadius, drawDots } from "./dots.js";
import { path } from "./path.js";
import { Surface } from "./map_data.js";
import { View } from "./map_view.js";

const REACH = { mouse: 10, pen: 14, touch: 22 }; // pixels within which a dot is meant
const CLICK = 4; // pixels that a click may move, in which it is no drag
const MOVES = "onpointerrawupdate" in window ? "pointerrawupdate" : "pointermove";
const STEP = 0.01; // of the plane, that an arrow key moves the point; a fifth with Shift
const CLOSER = 1.5; // of a key or a button
const WHEEL = { 0: 0.002, 1: 0.03, 2: 0.5 }; // by the wheel's unit: pixels, lines, pages

export function map(state, notes) {
  const [dots, top, plane] = [$("dots"), $("point"), $("plane")];
  let surface = null, lit = null, place = [0.5, 0.5], ghost = null, grip = null, key = null, moved = false, pointedDot = -1;
  let rem = 1, inks = {}; // a usual pixel in pixels, and colours by name: each question for them would lay the page out
  const view = new View(), fingers = new Map(); // on the map: by pointer, where it is in pixels
  const hearing = audition(state, notes);
  const drawing = path(state, () => surface, () => draw());

  const { toPixels } = view;
  const pixels = (event) => {
    const { left, top: canvasTop } = top.getBoundingClientRect();
    return [event.clientX - left, event.clientY - canvasTop];
  };
  const toPlane = (event) => view.place(pixels(event));
  /** The dot at a place, no further than some pixels away; -1 where there is none. */
  const dotAt = (spot, reach) => surface.nearest(...spot, ...view.size.map((length) => (view.zoom * length) / reach));
  const targets = () => state.latents().map((_, index) => `latent.${index}`);
  const asValues = (code) => Object.fromEntries(code.map((value, index) => {
    const { low, high } = state.latents()[index];
    return [`latent.${index}`, clamp(value, low, high)];
  }));

  const drawStill = eachFrame(() => {
    const scale = devicePixelRatio || 1;
    const [width, height] = (view.size = [plane.clientWidth, plane.clientHeight]);
    if (!width || !height) return;
    rem = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    inks = Object.fromEntries(["ghost", "ground", "point", "text"].map((ink) => [ink, colour(`--${ink}`)]));
    for (const canvas of [dots, top]) [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    top.getContext("2d").font = `bold ${13 * rem}px system-ui`;
    if (surface) drawDots(dots, surface, view, scale, $("colour").value, lit);
    draw();
  });

  const draw = eachFrame(() => {
    const context = top.getContext("2d"), [width, height] = view.size;
    if (!width) return;
    context.setTransform(top.width / width, 0, 0, top.height / height, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!surface) return;
    drawing.draw(context, toPixels);
    if (pointedDot >= 0) {
      ring(context, toPixels(surface.dotPlace(pointedDot)), dotRadius(view, surface.count) + 3, inks.text, 2);
    }
    if (ghost) ring(context, toPixels(ghost), 9 * rem, inks.ghost, 2);
    const [x, y] = toPixels(place);
    ring(context, [x, y], 11 * rem, inks.ground, 5);
    ring(context, [x, y], 11 * rem, inks.point, 2.5);
    context.fillStyle = inks.point;
    context.beginPath();
    context.arc(x, y, 3 * rem, 0, 2 * Math.PI);
    context.fill();
    numbers(context);
  });

  function ring(context, [x, y], radius, stroke, width) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.stroke();
  }

  /** What a dot is, in words: its name and its note. */
  function words(dot) {
    const note = surface.notes[dot] < 0 ? "" : noteClass(surface.notes[dot]);
    return [surface.names[surface.label[dot]], note].filter(Boolean).join(" · ") || "a sound without a name";
  }

  const soundOf = (dot) => ({ label: surface.labels[surface.label[dot]], note: surface.notes[dot], values: asValues(surface.dotCode(dot)) });

  function take(dot) {
    place = surface.dotPlace(dot);
    view.show(place);
    state.set(soundOf(dot).values);
    hearing.tap(soundOf(dot));
    $("there").textContent = words(dot);
    drawStill();
  }

  // A grab keeps the difference between surface and code, so that nothing jumps.
  function grab(from) {
    const soundingCode = state.preset.motion && state.code ? state.code : state.knobs();
    const surfaceCode = surface.code(...from);
    release();
    grip = { from, shift: soundingCode.map((value, index) => value - surfaceCode[index]), targets: targets() };
    state.grab(grip.targets);
  }

  function follow(to) {
    place = to.map((coordinate) => clamp(coordinate, 0, 1));
    state.move(asValues(surface.code(...place).map((value, index) => value + grip.shift[index])));
    draw();
  }

  function release() {
    if (grip) state.drop(grip.targets);
    grip = key = null;
  }

  /** Marks a dot and says what it is; -1: none. */
  function point(dot) {
    if (pointedDot !== dot) {
      draw();
      hearing.rest(dot < 0 ? null : soundOf(dot));
    }
    pointedDot = dot;
    $("hover").hidden = dot < 0;
    if (dot < 0) return;
    $("hover").textContent = words(dot);
    const [x, y] = toPixels(surface.dotPlace(dot));
    const half = $("hover").offsetWidth / 2;
    $("hover").style.left = `${clamp(x, half, view.size[0] - half)}px`;
    $("hover").style.top = `${y}px`;
    $("hover").classList.toggle("under", y < 50);
  }

  function zoom(factor, center) {
    point(-1);
    view.scale(factor, center);
    drawStill();
  }

  /** Carries the map along with fingers that moved. */
  function carry(oldFingers, newFingers) {
    const middle = (points) => [0, 1].map((axis) => points.reduce((sum, touch) => sum + touch[axis], 0) / points.length);
    const spread = ([first, second]) => (second && Math.hypot(first[0] - second[0], first[1] - second[1])) || 1;
    const anchor = view.place(middle(oldFingers));
    zoom(spread(newFingers) / spread(oldFingers), middle(oldFingers));
    view.carry(anchor, middle(newFingers));
  }

  let finger = null; // that moves the sound; without it fingers move the map
  top.addEventListener("pointerdown", (event) => {
    if (event.button || !surface) return;
    top.setPointerCapture(event.pointerId);
    point(-1);
    fingers.set(event.pointerId, pixels(event));
    if (fingers.size > 1 || event.shiftKey) {
      if (finger && drawing.active()) drawing.cancel();
      finger = null;
      return release();
    }
    finger = { id: event.pointerId, x: event.clientX, y: event.clientY, from: toPlane(event), dragged: false };
    if (drawing.active()) drawing.begin(toPlane(event));
  });
  top.addEventListener(MOVES, (event) => {
    if (!fingers.has(event.pointerId)) return;
    const oldFingers = [...fingers.values()];
    fingers.set(event.pointerId, pixels(event));
    if (!finger) return carry(oldFingers, [...fingers.values()]);
    if (drawing.active()) return drawing.add(toPlane(event), view.zoom);
    if (!finger.dragged && Math.hypot(event.clientX - finger.x, event.clientY - finger.y) <= CLICK) return;
    if (!finger.dragged) grab(finger.from);
    finger.dragged = true;
    follow(toPlane(event));
  });
  top.addEventListener("pointerup", (event) => {
    fingers.delete(event.pointerId);
    if (finger?.id !== event.pointerId) return;
    const { dragged } = finger;
    finger = null;
    if (drawing.active()) return drawing.end();
    if (dragged) return release();
    const spot = toPlane(event);
    const dot = dotAt(spot, REACH[event.pointerType]);
    if (dot >= 0) return take(dot);
    place = spot.map((coordinate) => clamp(coordinate, 0, 1));
    state.set(asValues(surface.code(...place)));
    $("there").textContent = "between the sounds";
    draw();
  });
  for (const name of ["pointercancel", "lostpointercapture"]) {
    top.addEventListener(name, (event) => {
      fingers.delete(event.pointerId);
      if (finger && drawing.active()) drawing.end();
      finger = null;
      release();
    });
  }
  addEventListener("blur", () => (fingers.clear(), release()));
  top.addEventListener("pointermove", (event) => {
    if (!fingers.size && event.pointerType !== "touch" && surface) point(dotAt(toPlane(event), REACH.mouse));
  });
  top.addEventListener("pointerleave", () => point(-1));
  top.addEventListener("wheel", (event) => {
    event.preventDefault();
    const gain = event.ctrlKey ? 5 : 1; // as two fingers on a touchpad are told
    zoom(Math.exp(-event.deltaY * WHEEL[event.deltaMode] * gain), pixels(event));
  });
  const zooms = { "zoom-in": CLOSER, "zoom-out": 1 / CLOSER, "zoom-whole": 0 };
  for (const [id, factor] of Object.entries(zooms)) $(id).addEventListener("click", () => zoom(factor));
  top.addEventListener("keydown", (event) => {
    if (!surface) return;
    if (event.key === "Enter") return takeNearest();
    const closer = { "+": CLOSER, "=": CLOSER, "-": 1 / CLOSER }[event.key];
    if (closer && !event.ctrlKey && !event.metaKey) {
      event.stopPropagation(); // elsewhere these keys move the octave
      return zoom(closer, toPixels(place));
    }
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    if (!grip) {
      grab(place);
      key = event.key;
    }
    follow(place.map((coordinate, axis) => coordinate + (step[axis] * STEP * (event.shiftKey ? 0.2 : 1)) / view.zoom));
    view.show(place);
    drawStill();
  });
  top.addEventListener("keyup", (event) => event.key === key && release());
  top.addEventListener("blur", () => key && release());

  function search() {
    const query = $("search").value.trim().toLowerCase();
    lit = null;
    if (surface && query) {
      const entries = surface.names.map((name, index) => [name.toLowerCase(), index]);
      const exactEntries = entries.filter(([name]) => name === query);
      lit = new Set((exactEntries.length ? exactEntries : entries.filter(([name]) => name.includes(query))).map(([, index]) => index));
      const count = surface.label.reduce((sum, label) => sum + lit.has(label), 0);
      const names = [...new Set([...lit].map((index) => surface.names[index]))];
      $("there").textContent = count ? `${names.slice(0, 3).join(", ")}${names.length > 3 ? " …" : ""}: ${count} lit` : `no sound is called ${$("search").value.trim()}`;
    } else $("there").textContent = "";
    drawStill();
  }
  $("search").addEventListener("input", search);
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && surface && lit?.size) takeNearest();
  });

  /** Takes the dot nearest to the point, of those that a search lights, if there is one. */
  function takeNearest() {
    const dot = surface.nearest(...place, 1, 1, lit);
    if (dot >= 0) take(dot);
  }

  /** Offers the colours that tell dots apart, and chooses those that this browser remembers. */
  function offer() {
    const offered = [...(surface ? choices(surface) : []), "plain"];
    $("colour").replaceChildren(...offered.map((textContent) => make("option", { textContent })));
    $("colour").value = [remembered("colour"), "timbre"].find((by) => offered.includes(by)) ?? offered[0];
    explain();
  }

  function explain() {
    const swatch = ([paint, text]) => {
      const box = make("i");
      box.style.background = paint;
      return make("span", {}, box, text);
    };
    const entries = surface ? legend(surface, $("colour").value) : [];
    $("key").replaceChildren(...entries.map((entry) => (typeof entry === "string" ? entry : swatch(entry))));
  }
  $("colour").addEventListener("change", () => (remember("colour", $("colour").value), explain(), drawStill()));
  dark.addEventListener("change", () => (explain(), drawStill()));

  state.link.on("binary", (buffer) => {
    surface = new Surface(buffer, state.map?.labels ?? []);
    zoom(0);
    place = surface.find(state.knobs(), place);
    $("labels").replaceChildren(...surface.groups.label.names.map((value) => make("option", { value })));
    $("no-map").hidden = true;
    drawing.relocate();
    offer();
    search();
  });
  state.on("map", () => {
    if (state.map) return;
    point(-1);
    surface = null;
    $("no-map").hidden = false;
    offer();
    drawStill();
  });
  // Where another hand moves the knobs, the point goes along.
  state.on("value controls", (target) => (moved ||= !target || target.startsWith("latent.")));
  state.link.on("meters", () => {
    if (!surface || !view.size[0]) return;
    if (moved && !grip) place = surface.find(state.knobs(), place);
    const knobs = state.knobs();
    const codeDiffers = state.code?.length === surface.latents && surface.differs(state.code, knobs);
    const oldGhost = ghost;
    if (codeDiffers) {
      const codePlace = surface.find(state.code, ghost ?? place);
      ghost = ghost && !calm.matches ? ghost.map((coordinate, axis) => coordinate + (codePlace[axis] - coordinate) * 0.5) : codePlace;
    } else ghost = null;
    if (ghost || oldGhost || moved) draw();
    moved = false;
  });
  new ResizeObserver(drawStill).observe(plane);

  const marks = new Map(); // by place: the numbers of the snapshots with latents there
  function mark() {
    marks.clear();
    for (const [slot, values] of Object.entries(surface ? state.preset.snapshots ?? {} : {})) {
      if (!Object.keys(values).some((target) => target.startsWith("latent."))) continue;
      const placeKey = surface.find(state.latents().map((latent, index) => values[`latent.${index}`] ?? latent.default)).join();
      marks.set(placeKey, [...(marks.get(placeKey) ?? []), slot]);
    }
    draw();
  }
  function numbers(context) {
    Object.assign(context, { textAlign: "center", textBaseline: "middle", lineWidth: 4, strokeStyle: inks.ground, fillStyle: inks.text });
    for (const [placeKey, slots] of marks) for (const write of ["strokeText", "fillText"]) context[write](slots.join(" "), ...toPixels(placeKey.split(",")));
  }
  state.on("preset map", mark);
  state.link.on("binary", mark);
}
