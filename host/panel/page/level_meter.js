// The output: a level meter for both channels, and the spectrum.

import { $, clamp, colour, dark, eachFrame, press, remember, remembered } from "./dom.js";

const FLOOR = -60; // dB at the left end of the level
const FALL = 20; // dB a second that a bar falls after a peak
const HOLD = 1500; // milliseconds for which a peak is marked
const HOT = -1; // dB, above which a level is shown as too high
const BENT = 0.01; // share of the samples that the limiter changed, from which on a level is too high
const LOW = -84, HIGH = -6; // dB at the lower and upper edge of the spectrum
const READ = 250; // milliseconds between numbers: faster than this nobody reads

export function levelMeter(state) {
  const bars = [0, 1].map(() => ({ level: FLOOR, peak: FLOOR, peaked: 0 }));
  let latest = null, previousTime = performance.now(), readTime = -READ, bands = [];
  const spectrumOn = () => $("spectrum-on").ariaPressed === "true";
  press($("spectrum-on"), remembered("spectrum") !== false);

  function context(canvas) {
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((size) => Math.round(size * scale));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const brush = canvas.getContext("2d");
    brush.clearRect(0, 0, width, height);
    return brush;
  }

  const draw = eachFrame(() => {
    const now = performance.now();
    const brush = context($("level-bars"));
    const { width, height } = brush.canvas;
    const place = (db) => clamp((db - FLOOR) / -FLOOR, 0, 1) * width;
    const thick = Math.floor(height * 0.42);
    for (const [channel, bar] of bars.entries()) {
      const y = channel ? height - thick : 0;
      brush.fillStyle = colour("--raised");
      brush.fillRect(0, y, width, thick);
      brush.fillStyle = colour(bar.peak > HOT || latest.limited > BENT ? "--bad" : "--accent");
      brush.fillRect(0, y, place(bar.level), thick);
      brush.fillStyle = colour("--text");
      if (bar.peak > FLOOR) brush.fillRect(place(bar.peak) - 2, y, 2, thick);
    }
    if (now - readTime >= READ) {
      readTime = now;
      const highest = Math.max(...bars.map(({ peak }) => peak));
      $("level-number").textContent = highest > FLOOR ? `${highest.toFixed(0)} dB` : "silent";
      $("level").setAttribute("aria-label", `Level: ${$("level-number").textContent}`);
    }
    if (spectrumOn()) spectrum();
  });

  function spectrum() {
    const brush = context($("spectrum"));
    const { width, height } = brush.canvas;
    const step = width / bands.length;
    brush.beginPath();
    brush.moveTo(0, height);
    for (const [band, db] of bands.entries()) brush.lineTo((band + 0.5) * step, height * (1 - clamp((db - LOW) / (HIGH - LOW), 0, 1)));
    brush.lineTo(width, height);
    brush.fillStyle = brush.strokeStyle = colour("--accent");
    brush.globalAlpha = 0.35;
    brush.fill();
    brush.globalAlpha = 1;
    brush.stroke();
  }

  state.link.on("meters", (message) => {
    const now = performance.now();
    const fallen = (FALL * (now - previousTime)) / 1000;
    for (const [channel, bar] of bars.entries()) {
      const db = message.peaks_db[channel];
      bar.level = Math.max(db, bar.level - fallen, FLOOR);
      if (message.stopped) bar.level = bar.peak = FLOOR;
      else if (db >= bar.peak || now - bar.peaked > HOLD) [bar.peak, bar.peaked] = [bar.level, now];
    }
    [latest, previousTime, bands] = [message, now, message.spectrum_db ?? []];
    if (message.stopped) readTime = -READ;
    if ($("level-number").textContent !== "silent" || bars.some(({ peak }) => peak > FLOOR)) draw();
  });
  $("spectrum-on").addEventListener("click", () => {
    press($("spectrum-on"), !spectrumOn());
    remember("spectrum", spectrumOn());
    ask();
    context($("spectrum"));
  });
  const ask = () => state.link.send({ t: "spectrum", on: spectrumOn() });
  state.link.on("welcome", ask);
  dark.addEventListener("change", () => latest && draw());
}
