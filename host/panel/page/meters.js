// The meters beside the keys; latency by its parts, the model's card.

import { $, colour, dark, eachFrame, make } from "./dom.js";

const MINUTE = 60; // seconds of underruns that are shown, a column each
const READ = 250; // milliseconds between numbers: faster than this nobody reads
const SHORTER = {
  card: "the sound card; a card without a mixer between (JACK, ASIO) and smaller blocks shorten it",
  ring: "blocks made ahead; blocks half as long halve it, if no underruns come of it",
  timing: "added so that rhythm stays even; the lowest latency does without",
  instrument: "effects and limiter, which look ahead; removing an effect shortens it",
};

export function meters(state) {
  let latest = null, stopped = false, read = -READ, underruns = null, second = 0;
  const history = new Array(MINUTE).fill(0);

  const draw = eachFrame(() => {
    const now = performance.now();
    if (stopped || now - read < READ) return;
    read = now;
    $("load").textContent = `${Math.round(100 * latest.load[0])} / ${Math.round(100 * latest.load[1])} %`;
    $("underruns").textContent = latest.underruns;
    const total = Object.values(latest.latency).reduce((sum, part) => sum + part, 0);
    $("latency").textContent = `${total.toFixed(1)} ms`;
    const voices = `${latest.voices} ${latest.voices === 1 ? "voice" : "voices"}${latest.shed ? `, ${latest.shed} stolen` : ""}`;
    $("voices").textContent = [latest.last, voices].filter(Boolean).join(" · ");
    if ($("about").open) explain();
  });

  function marks() {
    const canvas = $("history");
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (const [index, count] of history.entries()) {
      context.fillStyle = colour(count ? "--bad" : "--line");
      const height = count ? canvas.height : 2;
      context.fillRect(index, canvas.height - height, 1, height);
    }
  }

  state.link.on("meters", (message) => {
    stopped = message.stopped ?? false;
    if (stopped) {
      for (const id of ["load", "latency"]) $(id).textContent = "–";
      $("voices").textContent = "";
      read = -READ;
      return;
    }
    const new_ = underruns === null ? 0 : Math.max(message.underruns - underruns, 0);
    underruns = message.underruns;
    const now = Math.floor(performance.now() / 1000);
    if (!latest) second = now;
    for (; second < now; second++) {
      history.push(0);
      history.shift();
      marks();
    }
    if (new_) {
      history[MINUTE - 1] += new_;
      marks();
    }
    latest = message;
    draw();
  });

  function table(rows) {
    return make("dl", {}, ...rows.flatMap(([name, text]) => [make("dt", { textContent: name }), make("dd", { textContent: text })]));
  }

  function explain() {
    const parts = Object.entries(latest.latency);
    const total = parts.reduce((sum, [, part]) => sum + part, 0);
    const rows = parts.map(([name, part]) => [`${part.toFixed(1)} ms`, SHORTER[name] ?? name]);
    const measured = latest.measured_ms == null ? "not measured before the first note" : `${latest.measured_ms.toFixed(1)} ms measured from the last event to its sound`;
    const minute = history.reduce((sum, count) => sum + count, 0);
    const sound = state.sound ? [state.sound.device && `Card: ${state.sound.device}, ${state.sound.rate} Hz, blocks of ${state.sound.block}.`, `MIDI ports: ${state.sound.ports?.join(", ") || "none"}.`] : [];
    const lines = [
      ...sound.filter(Boolean),
      `Latency ${total.toFixed(1)} ms; ${measured}. From this page to the sound a note takes some milliseconds more, over the socket; MIDI does not.`,
      `${latest.underruns} underruns since the start, ${minute} in the last minute. Each is a gap that is heard: larger blocks end them.`,
    ];
    $("about-sound").replaceChildren(...lines.map((textContent) => make("p", { textContent })), table(rows));
  }

  $("meters").addEventListener("click", () => {
    if (latest) explain();
    const { name, kind, description, card } = state.model;
    $("about-model").replaceChildren(
      make("p", { textContent: [name, kind && `a model of kind ${kind}`].filter(Boolean).join(", ") }),
      make("p", { textContent: description ?? "" }), table(card ?? []));
    $("about").showModal();
  });
  dark.addEventListener("change", marks);
  marks();
}
