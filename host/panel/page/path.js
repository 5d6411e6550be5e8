// Paths: drawn on the map, sent as codes, followed until removed.

import { $, colour, press } from "./dom.js";

const POINTS = 24; // codes that a drawing is sent as, evenly along its way
const USUAL = 8; // seconds or beats, where none are typed
const NEAR = 0.004; // of what is seen: places nearer than this to the last add nothing

export function path(state, surface, redraw) {
  let places = [], shownPlaces = null, drawnPlaces = null, knownPoints = "null", typing = false; // drawnPlaces: not in the preset yet
  const [length, unit, loop] = [$("path-length"), $("path-unit"), $("path-loop")];

  const active = () => $("draw").getAttribute("aria-pressed") === "true";
  $("draw").addEventListener("click", () => {
    press($("draw"), !active());
    $("drawing").hidden = !active();
    $("point").classList.toggle("draws", active());
  });
  $("path-remove").addEventListener("click", () => state.link.send({ t: "path", points: null }));
  length.addEventListener("input", () => (typing = true));
  for (const eventType of ["change", "blur"]) length.addEventListener(eventType, () => (typing = false));
  for (const field of [length, unit]) field.addEventListener("change", () => send(timing()));
  loop.addEventListener("change", () => send({ loop: loop.checked }));
  length.addEventListener("blur", show);

  function timing() {
    const typed = Number(length.value.replace(",", "."));
    const value = typed > 0 ? typed : (state.preset.path?.[unit.value] ?? USUAL);
    length.value = value;
    return { [unit.value]: value };
  }

  function send(change) {
    const points = drawnPlaces?.map((place) => surface().code(...place));
    if (points) state.link.send({ t: "path", points, ...timing(), loop: loop.checked });
    else if (state.preset.path) state.link.send({ t: "path", ...change });
    loop.disabled = unit.value === "beats";
  }

  /** Shows the length of the preset's path; what is typed stays. */
  function show() {
    const path = drawnPlaces ? null : state.preset.path;
    if (path && !typing) {
      unit.value = "beats" in path ? "beats" : "seconds";
      length.value = Number(path[unit.value].toFixed(3));
      loop.checked = path.loop;
    }
    loop.disabled = unit.value === "beats"; // which always loop
  }
  state.link.on("say", ({ kind }) => kind === "error" && show());

  // What this page drew stays as it was drawn; a path from elsewhere is looked for on the surface, once.
  function lookUpPath() {
    const points = state.preset.path?.points ?? null;
    $("path-remove").disabled = !points;
    const now = JSON.stringify(points);
    if (now !== knownPoints && surface()) {
      knownPoints = now;
      shownPlaces = drawnPlaces && points ? drawnPlaces : (points?.reduce((places, code) => [...places, surface().find(code, places.at(-1))], []) ?? null);
      drawnPlaces = null;
    }
    show();
  }
  state.on("preset", lookUpPath);

  return {
    active,
    /** Looks for the path on another surface. */
    relocate() {
      knownPoints = "null";
      lookUpPath();
    },
    begin(place) {
      places = [place];
    },
    add(place, zoom) {
      const [x, y] = places.at(-1);
      if (Math.hypot(place[0] - x, place[1] - y) > NEAR / zoom) places.push(place.map((coordinate) => Math.min(Math.max(coordinate, 0), 1)));
      redraw();
    },
    end() {
      if (places.length > 2) {
        shownPlaces = drawnPlaces = evenly(places, POINTS);
        send();
      }
      places = [];
      redraw();
    },
    cancel() {
      places = [];
      redraw();
    },
    draw(context, toPixels) {
      const line = places.length ? places : shownPlaces;
      if (!line) return;
      context.strokeStyle = colour("--ghost");
      context.lineWidth = 2;
      context.globalAlpha = places.length ? 1 : 0.7;
      context.lineJoin = "round";
      context.beginPath();
      for (const place of line) context.lineTo(...toPixels(place));
      if (!places.length && $("path-loop").checked) context.closePath();
      context.stroke();
      context.globalAlpha = 1;
    },
  };
}

/** Places evenly along a line of places, its two ends among them. */
export function evenly(line, count) {
  const distances = [0];
  for (let i = 1; i < line.length; i++) distances.push(distances[i - 1] + Math.hypot(line[i][0] - line[i - 1][0], line[i][1] - line[i - 1][1]));
  let i = 1;
  return Array.from({ length: count }, (_, step) => {
    const goal = (distances.at(-1) * step) / (count - 1);
    while (i < line.length - 1 && distances[i] < goal) i++;
    const fraction = (goal - distances[i - 1]) / (distances[i] - distances[i - 1] || 1);
    return line[i].map((coordinate, axis) => line[i - 1][axis] + (coordinate - line[i - 1][axis]) * fraction);
  });
}
