// Presets: what there is, which one plays, and under which name it is kept; undo, redo and the two sides to compare.

import { $, clamp, make, press } from "./dom.js";

const KINDS = { spectrum: "Notes", partials: "Notes", grain: "Textures", clip: "Hits and words", stream: "Loops" };
const TAGS = [["Favourites"], ["My own", "Shipped"], [...new Set(Object.values(KINDS))]];
// Of a row of tags one must fit, of several rows each.
const tagsOf = ({ kind, shipped, favourite }) => [favourite && "Favourites", shipped ? "Shipped" : "My own", KINDS[kind]];

export function presets(state) {
  let list = null, found = [], chosen = 0; // the entry of the found ones that Enter loads
  let going = null, after = null; // the preset that loads, and that which loads once changes are saved
  let steps = 0; // that wait for the list
  let proposed = ""; // name to save under
  const tags = new Set();
  const say = (message) => state.link.send(message);

  function title() {
    const { name, dirty } = state.preset;
    const loading = going !== null && `loading ${going} …`;
    $("preset-name").textContent = loading || (name ?? "timbrel");
    $("preset").setAttribute("aria-busy", String(Boolean(loading)));
    $("preset").setAttribute("aria-label", loading || `Preset ${name}${dirty ? ", changed" : ""}`);
    $("dirty").hidden = !dirty || Boolean(loading);
  }
  state.on("preset", () => {
    const { name, dirty, can_undo, can_redo, side, description } = state.preset;
    title();
    $("preset").title = description ?? "";
    $("undo").disabled = !can_undo;
    $("redo").disabled = !can_redo;
    press($("side-a"), side !== "B");
    press($("side-b"), side === "B");
    document.title = `${dirty ? "* " : ""}${name ?? ""} – timbrel`;
    if ($("saving").open && !dirty && name === $("save-name").value) saved();
  });
  $("undo").addEventListener("click", () => say({ t: "undo" }));
  $("redo").addEventListener("click", () => say({ t: "redo" }));
  $("side-a").addEventListener("click", () => say({ t: "side", side: "A" }));
  $("side-b").addEventListener("click", () => say({ t: "side", side: "B" }));

  /** Loads a preset, after a question where changes would be lost: no undo brings them back. */
  function load(name) {
    if (!state.preset.dirty) return go(name);
    after = name;
    $("unsaved-title").textContent = `Save the changes of ${state.preset.name}?`;
    $("unsaved").returnValue = "cancel";
    $("unsaved").showModal();
  }
  function go(name) {
    going = name;
    after = null;
    title();
    say({ t: "load", name });
  }
  function came() {
    going = null;
    title();
  }
  state.on("controls", came);
  state.link.on("down", came);
  $("unsaved").addEventListener("close", () => {
    const answer = $("unsaved").returnValue;
    if (answer === "save") save();
    else if (answer === "discard") go(after);
    else after = null;
  });

  function search() {
    const asked = $("preset-find").value.trim().toLowerCase();
    const rows = TAGS.map((row) => row.filter((tag) => tags.has(tag))).filter((row) => row.length);
    found = (list ?? []).filter((one) => `${one.name} ${one.description} ${one.model}`.toLowerCase().includes(asked))
      .filter((one) => rows.every((row) => row.some((tag) => tagsOf(one).includes(tag))));
  }

  function show() {
    search();
    const known = new Set((list ?? []).flatMap(tagsOf));
    $("preset-tags").replaceChildren(...TAGS.flat().filter((tag) => known.has(tag) || tags.has(tag)).map((tag) =>
      make("button", { textContent: tag, "aria-pressed": String(tags.has(tag)), onclick: () => narrow(tag) })));
    $("preset-list").replaceChildren(...found.map((one, index) => {
      const { name, description, model, shipped, fits, favourite } = one;
      const about = [description, model, shipped ? "shipped" : "in this folder", fits === false && "another model", favourite && "favourite"].filter(Boolean).join(" · ");
      const star = make("span", { className: "star", textContent: favourite ? "★" : "☆", title: "Favourite", "aria-hidden": "true", onclick: (event) => (event.stopPropagation(), favour(one)) });
      const row = make("div", { role: "option", id: `preset-${index}`, onclick: () => ($("presets").close(), load(name)) },
        make("b", { textContent: name }), make("small", { textContent: about }), star);
      if (name === state.preset.name) row.setAttribute("aria-current", "true");
      return row;
    }));
    $("no-preset").textContent = found.length ? "" : list ? "No preset of this name or kind." : "Reading …";
  }

  function narrow(tag) {
    tags[tags.has(tag) ? "delete" : "add"](tag);
    const within = [...tags].join(", ");
    for (const [id, words] of [["preset-previous", "Previous preset"], ["preset-next", "Next preset"]]) $(id).title = words + (within && ` of: ${within}`);
    fresh();
    [...$("preset-tags").children].find(({ textContent }) => textContent === tag)?.focus();
  }
  function fresh() {
    show();
    choose(Math.max($("preset-find").value.trim() ? 0 : found.findIndex(({ name }) => name === state.preset.name), 0));
  }
  const favour = ({ name, favourite }) => say({ t: "favourite", name, on: !favourite });

  function choose(index) {
    const rows = [...$("preset-list").children];
    chosen = clamp(index, 0, rows.length - 1);
    rows.forEach((row, at) => row.setAttribute("aria-selected", String(at === chosen)));
    $("preset-find").setAttribute("aria-activedescendant", rows[chosen]?.id ?? "");
    rows[chosen]?.scrollIntoView({ block: "nearest" });
  }
  state.link.on("presets", (message) => {
    const before = list && found[chosen]?.name;
    list = message.list;
    fresh();
    if (before) choose(found.findIndex(({ name }) => name === before)); // a star moves nothing
    if (steps) step(steps);
    if ($("saving").open && $("save-name").value === proposed) propose();
  });
  $("preset").addEventListener("click", () => {
    say({ t: "presets" });
    fresh();
    $("presets").showModal();
  });
  $("presets").addEventListener("close", () => ($("preset-find").value = ""));
  $("preset-find").addEventListener("input", fresh);
  $("preset-find").addEventListener("keydown", (event) => {
    const to = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, Home: 0, End: found.length - 1 }[event.key];
    if (to !== undefined) choose(to);
    else if (event.key === "Enter" && event.ctrlKey) found[chosen] && favour(found[chosen]);
    else if (event.key === "Enter") $(`preset-${chosen}`)?.click();
    else return;
    event.preventDefault();
  });

  /** Goes to the next preset (1) or the previous one (-1) of the narrowed list, round and round. */
  function step(by) {
    steps = list ? 0 : by;
    if (!list) return say({ t: "presets" });
    search();
    const names = found.filter(({ fits }) => fits !== false).map(({ name }) => name);
    const at = names.indexOf(going ?? state.preset.name);
    if (names.length) load(names[at < 0 ? (by > 0 ? 0 : names.length - 1) : (at + by + names.length) % names.length]);
  }
  $("preset-previous").addEventListener("click", () => step(-1));
  $("preset-next").addEventListener("click", () => step(1));

  const own = () => !(list ?? []).some(({ name, shipped }) => shipped && name === state.preset.name);
  /** Proposes a name that is free: "pad", "pad 2", "pad 3"; to replace the user's own preset, its name. */
  function propose() {
    const taken = new Set((list ?? []).map(({ name }) => name));
    const [, stem, number] = /^(.*?)(?: (\d+))?$/.exec(state.preset.name ?? "mine");
    let next = Number(number ?? 1);
    do proposed = `${stem} ${++next}`;
    while (taken.has(proposed));
    if ($("save-over").checked && own()) proposed = state.preset.name;
    $("save-name").value = proposed;
    $("save-name").select();
  }
  function save() {
    $("save-over").checked = false;
    $("save-said").textContent = "";
    say({ t: "presets" });
    propose();
    $("saving").showModal();
    $("save-name").select();
  }
  function saved() {
    const next = after;
    $("saving").close();
    if (next !== null) go(next);
  }
  $("save").addEventListener("click", save);
  $("saving").addEventListener("close", () => (after = null));
  $("save-over").addEventListener("change", () => $("save-name").value === proposed && propose());
  $("save-form").addEventListener("submit", (event) => {
    event.preventDefault();
    $("save-said").textContent = "";
    say({ t: "save", name: $("save-name").value.trim(), overwrite: $("save-over").checked });
  });
  state.link.on("say", ({ line, kind }) => {
    if (kind === "error") came();
    if (!$("saving").open) return;
    if (kind === "error") $("save-said").textContent = line;
    else if (line.startsWith("saved as")) saved();
  });
}
