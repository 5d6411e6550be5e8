// The session: card, MIDI, block and recording. A plugin's panel has none of it.

import { $, make, press } from "./dom.js";

const BLOCKS = [32, 64, 128, 256, 512, 1024, 2048];
const ALL = "all", NONE = "none";

export function session(state, token) {
  const [form, button] = [$("settings"), $("record")];
  const fields = form.elements, edited = new Set();
  let recordingStart = 0, buttonText = "", devices = { cards: [], ports: [] };

  const clock = () => {
    const seconds = Math.floor((performance.now() - recordingStart) / 1000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  };

  function tick() {
    const text = { on: clock(), coming: "…", option: "Recording" }[state.session?.recording] ?? "Record";
    if (text !== buttonText) button.textContent = buttonText = text;
  }

  /** The settings as they are, each as the value of its field. */
  function currentSettings() {
    const { ports, channel, block, lowest_latency } = state.session;
    const device = state.sound?.device ?? "";
    return {
      device: devices.cards.find((card) => device === card || device.startsWith(`${card}, `)) ?? device,
      ports: ports === null ? NONE : ports.length ? ports.join(", ") : ALL,
      channel: String(channel ?? ALL), block: String(block), lowest_latency,
    };
  }

  function offer(select, values, now, text = (value) => value) {
    const selection = edited.has(select.name) ? select.value : now;
    const all = values.includes(now) ? values : [now, ...values];
    select.replaceChildren(...all.map((value) => make("option", { value, textContent: text(value) })));
    select.value = all.includes(selection) ? selection : now;
  }

  function fill() {
    const now = currentSettings();
    offer(fields.device, devices.cards, now.device);
    offer(fields.ports, [ALL, NONE, ...devices.ports], now.ports);
    offer(fields.channel, [ALL, ...Array.from({ length: 16 }, (_, index) => String(index))], now.channel, (value) => (value === ALL ? ALL : Number(value) + 1));
    offer(fields.block, BLOCKS.map(String), now.block);
    if (!edited.has("lowest_latency")) fields.lowest_latency.checked = now.lowest_latency;
    compare();
  }

  const formSettings = () => ({ ...Object.fromEntries(new FormData(form)), lowest_latency: fields.lowest_latency.checked });

  /** What of the settings is chosen otherwise. */
  function changes() {
    const now = currentSettings();
    return Object.entries(formSettings()).filter(([name, value]) => value !== now[name]);
  }

  function compare() {
    const { restarting, recording } = state.session;
    const recordingRuns = recording !== "off";
    $("settings-said").textContent = restarting ? "The sound begins again…" : recordingRuns ? "The settings stay as they are while a recording runs." : "";
    fields.apply.disabled = restarting || recordingRuns || !changes().length;
  }

  const parsers = {
    device: String, lowest_latency: Boolean, block: Number,
    ports: (value) => (value === NONE ? null : value === ALL ? [] : [value]),
    channel: (value) => (value === ALL ? null : Number(value)),
  };
  form.addEventListener("change", ({ target }) => {
    edited.add(target.name);
    compare();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const settings = changes().map(([name, value]) => [name, parsers[name](value)]);
    edited.clear();
    if (settings.length) state.link.send({ t: "settings", ...Object.fromEntries(settings) });
  });

  function files() {
    const links = state.session.files.map((name) => make("a", { href: `recording/${encodeURIComponent(name)}`, download: name, textContent: name }));
    $("recorded").replaceChildren(...(links.length ? ["Last recording: ", ...links] : []));
    // a link can show no token: this gives it a cookie
    if (links.length && $("about").open) fetch("recording", { method: "POST", headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
  }

  state.on("session", () => {
    const { session } = state;
    for (const element of [form, button, $("session")]) element.hidden = !session;
    if (!session) return;
    recordingStart = performance.now() - 1000 * session.seconds;
    press(button, session.recording !== "off");
    button.disabled = session.recording === "coming";
    button.title = session.recording === "off" ? "Record sound and MIDI" : session.recording === "option" ? "--record writes all that is played" : "Stop recording";
    tick();
    fill();
    files();
  });
  state.on("sound", () => state.session && fill());
  state.link.on("meters", tick);
  state.link.on("devices", (message) => {
    devices = message;
    fill();
  });
  button.addEventListener("click", () => state.link.send({ t: "record", on: state.session.recording !== "on" }));
  $("session").addEventListener("click", () => $("meters").click());
  $("meters").addEventListener("click", () => {
    if (!state.session) return;
    edited.clear();
    fill();
    files();
    state.link.send({ t: "devices" });
  });
}
