// Joins the parts of the page.

import { $, capital, make, press, remember, remembered } from "./dom.js";
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

const shownWarnings = new Set(); // warnings that were shown: each appears once
const READ = 6000; // milliseconds for which a note is shown; warnings and errors stay until they are clicked away

// An installed page has no token in its address: it takes the newest that was good there.
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

/** A line with a button that closes it. */
function banner(kind, close, props = {}) {
  const element = make("p", { className: kind, ...props },
    make("span", { onclick: () => element.classList.toggle("open") }),
    make("button", { textContent: "✕", "aria-label": "Dismiss", onclick: () => close(element) }));
  return element;
}

function showText(element, text) {
  const span = element.firstChild;
  element.hidden = !text;
  if (span.textContent !== text) span.textContent = span.title = text;
}

function line(text, kind) {
  for (const oldBanner of $("lines").children) if (!oldBanner.id && oldBanner.firstChild.textContent === text) oldBanner.remove();
  const element = banner(kind, () => element.remove());
  showText(element, text);
  $("lines").append(element);
  if (kind === "note") setTimeout(() => element.remove(), READ);
}

const DOWN = {
  refused: "This address has no or an old token: open the one that timbrel prints.",
  ended: "timbrel has ended: start it again, then open the address that it prints.",
  none: "No connection to timbrel. Held notes are released; this page tries again by itself.",
};
const standingBanner = (id) => banner("error", (element) => (element.hidden = true), { id, hidden: true });
const [soundless, lost] = ["soundless", "lost"].map(standingBanner);
$("lines").append(soundless, lost);
state.on("model", () => document.body.classList.toggle("loading", !state.model.name));
state.on("sound session", () => {
  const [lostReason, fault] = [state.sound?.away, state.session?.card_fault];
  if (lostReason) showText(soundless, `${capital(lostReason)}: playing goes on as soon as the sound is back, or with another card of Session.`);
  else showText(soundless, fault ? `No sound: ${fault}. Choose a card in Session.` : "");
});
link.on("down", ({ reason }) => {
  document.body.classList.add("lost");
  showText(lost, DOWN[reason]);
});
link.on("welcome", () => {
  showText(lost, "");
  document.body.classList.remove("lost");
  document.body.dataset.ready = "";
  remember("token", token);
});
link.on("say", ({ line: text, kind }) => line(text, kind));
state.on("preset", () => {
  for (const warning of state.preset.warnings ?? []) {
    if (!shownWarnings.has(warning)) line(warning, "warning");
    shownWarnings.add(warning);
  }
});
for (const view of ["map", "controls"]) {
  $(`view-${view}`).addEventListener("click", () => {
    document.body.dataset.view = view;
    press($("view-map"), view === "map");
    press($("view-controls"), view === "controls");
  });
}
