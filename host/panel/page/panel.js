// Joins the parts of the page.

import { $, make, press, remember, remembered } from "./dom.js";
import { controls } from "./controls.js";
import { full } from "./full_screen.js";
import { hints } from "./hints.js";
import { keyboard } from "./keyboard.js";
import { knobs } from "./knobs.js";
import { learn } from "./learn.js";
import { Link } from "./socket.js";
import { map } from "./map.js";
import { menu } from "./menu.js";
import { meters } from "./meters.js";
import { Notes } from "./notes.js";
import { levelMeter } from "./level_meter.js";
import { piano } from "./piano.js";
import { presets } from "./presets.js";
import { report } from "./report.js";
import { session } from "./session.js";
import { Sliders } from "./sliders.js";
import { snapshots } from "./snapshots.js";
import { State } from "./state.js";

const told = new Set(); // warnings that were shown: each appears once
const READ = 6000; // milliseconds for which a note is shown; warnings and errors stay until they are clicked away

// An installed page has no token in its address: it takes the last that was good at this address, and each newer one.
const token = decodeURIComponent(location.hash.slice(1)) || remembered("token") || "";
addEventListener("hashchange", () => location.reload()); // another token
addEventListener("storage", ({ key }) => key === "timbrel.token" && !location.hash && location.reload());
const link = new Link(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`, token);
const state = new State(link);
const mode = learn(state);
const notes = new Notes(link);
const sliders = new Sliders(state, mode);
controls(state, mode, $("controls"), sliders);
knobs(state, mode, sliders);
menu(state, mode, sliders);
snapshots(state);
map(state, notes);
meters(state);
levelMeter(state);
hints(notes);
presets(state);
report(state, notes, token);
session(state, token);
keyboard(state, notes, piano(state, notes, $("piano")), mode);
full();

function line(text, kind) {
  for (const other of $("lines").children) if (other.dataset.text === text) other.remove();
  const close = make("button", { textContent: "✕", "aria-label": "Dismiss", onclick: () => element.remove() });
  const element = make("p", { className: kind }, make("span", { textContent: text, title: text, onclick: () => element.classList.toggle("open") }), close);
  element.dataset.text = text;
  $("lines").append(element);
  if (kind === "note") setTimeout(() => element.remove(), READ);
}

const lost = make("p", { className: "error", hidden: true, id: "lost" });
const learning = make("p", { className: "note", hidden: true, id: "learning" });
const away = make("p", { className: "error", hidden: true, textContent: "The sound card has gone: playing goes on as soon as it is back, or with another one of Session." });
$("lines").append(lost, away, learning);
state.on("model", () => document.body.classList.toggle("loading", !state.model.name));
state.on("sound", () => (away.hidden = !state.sound?.away));
link.on("down", ({ refused }) => {
  lost.hidden = false;
  document.body.classList.add("lost");
  lost.textContent = refused
    ? "This address has no or an old token: open the one that timbrel prints."
    : "No connection to timbrel. Held notes are let go; this page comes back by itself.";
});
link.on("welcome", () => {
  lost.hidden = true;
  document.body.classList.remove("lost");
  document.body.dataset.ready = "";
  remember("token", token);
});
link.on("say", ({ line: text, kind }) => line(text, kind));
state.on("preset", () => {
  for (const warning of state.preset.warnings ?? []) {
    if (!told.has(warning)) line(warning, "warning");
    told.add(warning);
  }
});
for (const view of ["map", "controls"]) {
  $(`view-${view}`).addEventListener("click", () => {
    document.body.dataset.view = view;
    press($("view-map"), view === "map");
    press($("view-controls"), view === "controls");
  });
}
