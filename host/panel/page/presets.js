// Presets: the list, the present one, its name; undo, redo and the two sides to compare.

import { $, clamp, make, press } from "./dom.js";

const KINDS = { spectrum: "Notes", partials: "Notes", grain: "Textures", clip: "Hits and words", stream: "Loops" };
const TAGS = [["Favourites"], ["My own", "Shipped"], [...new Set(Object.values(KINDS))]];
// Of a row of tags one must fit, of several rows each.
const tagsOf = ({ kind, shipped, favourite }) => [favourite && "Favourites", shipped ? "Shipped" : "My own", KINDS[kind]];

export function presets(state) {
  let list = null, matches = [], chosenIndex = 0; // the index of the match that Enter loads
  let loadingName = null, nextName = null; // the preset that loads, and that which loads once changes are saved
  let pendingSteps = 0; // that wait for the list
  let phraseName = null; // the preset whose phrase plays once it is loaded
  let proposedName = ""; // name to save under
  const tags = new Set();
  const send = (message) => state.link.send(message);

  function title() {
    const { name, dirty } = state.preset;
    const loading = loadingName !== null && `loading ${loadingName} …`;
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
    if ($("saving").open && !dirty && name === $("save-name").value) finishSaving();
  });
  $("undo").addEventListener("click", () => send({ t: "undo" }));
  $("redo").addEventListener("click", () => send({ t: "redo" }));
  $("side-a").addEventListener("click", () => send({ t: "side", side: "A" }));
  $("side-b").addEventListener("click", () => send({ t: "side", side: "B" }));

  /** Loads a preset, after a question where changes would be lost: no undo brings them back. */
  function load(name) {
    if (!state.preset.dirty) return go(name);
    nextName = name;
    $("unsaved-title").textContent = `Save the changes of ${state.preset.name}?`;
    $("unsaved").returnValue = "cancel";
    $("unsaved").showModal();
  }
  function go(name) {
    loadingName = name;
    nextName = null;
    if (name !== phraseName) phraseName = null;
    title();
    send({ t: "load", name });
  }
  function finishLoading() {
    loadingName = null;
    title();
  }
  function cancelLoading() {
    phraseName = null;
    finishLoading();
  }
  state.on("controls", () => {
    finishLoading();
    if (state.preset.name !== phraseName) return;
    phraseName = null;
    send({ t: "listen", on: true });
  });
  state.link.on("down", cancelLoading);
  $("unsaved").addEventListener("close", () => {
    const answer = $("unsaved").returnValue;
    if (answer === "save") save();
    else if (answer === "discard") go(nextName);
    else nextName = phraseName = null;
  });

  /** Plays the phrase of a shipped preset, which it loads first, or stops it. */
  function listen({ name, shipped }) {
    if (!shipped) return;
    if (name === state.preset.name && !loadingName) return send({ t: "listen", on: !state.listening });
    phraseName = name;
    load(name);
  }

  function search() {
    const query = $("preset-find").value.trim().toLowerCase();
    const rows = TAGS.map((row) => row.filter((tag) => tags.has(tag))).filter((row) => row.length);
    matches = (list ?? []).filter((entry) => `${entry.name} ${entry.description} ${entry.model}`.toLowerCase().includes(query))
      .filter((entry) => rows.every((row) => row.some((tag) => tagsOf(entry).includes(tag))));
  }

  function show() {
    search();
    const usedTags = new Set((list ?? []).flatMap(tagsOf));
    $("preset-tags").replaceChildren(...TAGS.flat().filter((tag) => usedTags.has(tag) || tags.has(tag)).map((tag) =>
      make("button", { textContent: tag, "aria-pressed": String(tags.has(tag)), onclick: () => toggleTag(tag) })));
    $("preset-list").replaceChildren(...matches.map((entry, index) => {
      const { name, description, model, shipped, fits, favourite } = entry;
      const summary = [description, model, shipped ? "shipped" : "in this folder", fits === false && "another model", favourite && "favourite"].filter(Boolean).join(" · ");
      const star = make("span", { className: "star", textContent: favourite ? "★" : "☆", title: "Favourite", "aria-hidden": "true", onclick: (event) => (event.stopPropagation(), favour(entry)) });
      const phrase = make("span", { className: "phrase", title: "Listen", hidden: !shipped, "aria-hidden": "true", onclick: (event) => (event.stopPropagation(), choose(index), listen(entry)) });
      const row = make("div", { role: "option", id: `preset-${index}`, onclick: () => ($("presets").close(), load(name)) },
        make("b", { textContent: name }), make("small", { textContent: summary }), phrase, star);
      return row;
    }));
    mark();
    $("no-preset").textContent = matches.length ? "" : list ? "No preset of this name or kind." : "Reading …";
  }

  /** Marks the present preset and its phrase. */
  function mark() {
    press($("listen"), state.listening);
    [...$("preset-list").children].forEach((row, index) => {
      const current = matches[index].name === state.preset.name;
      row.setAttribute("aria-current", String(current));
      row.querySelector(".phrase").textContent = current && state.listening ? "■" : "▶";
    });
  }
  state.on("listening preset", mark);
  $("listen").addEventListener("click", () => listen(matches[chosenIndex]));

  function toggleTag(tag) {
    tags[tags.has(tag) ? "delete" : "add"](tag);
    const tagList = [...tags].join(", ");
    for (const [id, words] of [["preset-previous", "Previous preset"], ["preset-next", "Next preset"]]) $(id).title = words + (tagList && ` of: ${tagList}`);
    refresh();
    [...$("preset-tags").children].find(({ textContent }) => textContent === tag)?.focus();
  }
  function refresh() {
    show();
    choose(Math.max($("preset-find").value.trim() ? 0 : matches.findIndex(({ name }) => name === state.preset.name), 0));
  }
  const favour = ({ name, favourite }) => send({ t: "favourite", name, on: !favourite });

  function choose(index) {
    const rows = [...$("preset-list").children];
    chosenIndex = clamp(index, 0, rows.length - 1);
    $("listen").disabled = !matches[chosenIndex]?.shipped;
    $("listen").setAttribute("aria-label", `Listen to ${matches[chosenIndex]?.name}`);
    rows.forEach((row, place) => row.setAttribute("aria-selected", String(place === chosenIndex)));
    $("preset-find").setAttribute("aria-activedescendant", rows[chosenIndex]?.id ?? "");
    rows[chosenIndex]?.scrollIntoView({ block: "nearest" });
  }
  state.link.on("presets", (message) => {
    const chosenName = list && matches[chosenIndex]?.name;
    list = message.list;
    refresh();
    if (chosenName) choose(matches.findIndex(({ name }) => name === chosenName)); // a star moves nothing
    if (pendingSteps) step(pendingSteps);
    if ($("saving").open && $("save-name").value === proposedName) propose();
  });
  $("preset").addEventListener("click", () => {
    send({ t: "presets" });
    refresh();
    $("presets").showModal();
  });
  $("presets").addEventListener("close", () => ($("preset-find").value = ""));
  $("preset-find").addEventListener("input", refresh);
  $("preset-find").addEventListener("keydown", (event) => {
    const to = { ArrowDown: chosenIndex + 1, ArrowUp: chosenIndex - 1, Home: 0, End: matches.length - 1 }[event.key];
    if (to !== undefined) choose(to);
    else if (event.key === "Enter" && event.ctrlKey) matches[chosenIndex] && favour(matches[chosenIndex]);
    else if (event.key === "Enter" && event.shiftKey) matches[chosenIndex] && listen(matches[chosenIndex]);
    else if (event.key === "Enter") $(`preset-${chosenIndex}`)?.click();
    else return;
    event.preventDefault();
  });

  /** Goes to the next preset (1) or the previous one (-1) of the narrowed list, round and round. */
  function step(by) {
    pendingSteps = list ? 0 : by;
    if (!list) return send({ t: "presets" });
    search();
    const names = matches.filter(({ fits }) => fits !== false).map(({ name }) => name);
    const position = names.indexOf(loadingName ?? state.preset.name);
    if (names.length) load(names[position < 0 ? (by > 0 ? 0 : names.length - 1) : (position + by + names.length) % names.length]);
  }
  $("preset-previous").addEventListener("click", () => step(-1));
  $("preset-next").addEventListener("click", () => step(1));

  const isOwn = () => !(list ?? []).some(({ name, shipped }) => shipped && name === state.preset.name);
  /** Proposes a name that is free: "pad", "pad 2", "pad 3"; to replace the user's own preset, its name. */
  function propose() {
    const takenNames = new Set((list ?? []).map(({ name }) => name));
    const [, stem, number] = /^(.*?)(?: (\d+))?$/.exec(state.preset.name ?? "mine");
    let nextNumber = Number(number ?? 1);
    do proposedName = `${stem} ${++nextNumber}`;
    while (takenNames.has(proposedName));
    if ($("save-over").checked && isOwn()) proposedName = state.preset.name;
    $("save-name").value = proposedName;
    $("save-name").select();
  }
  function save() {
    $("save-over").checked = false;
    $("save-said").textContent = "";
    send({ t: "presets" });
    propose();
    $("saving").showModal();
    $("save-name").select();
  }
  function finishSaving() {
    const name = nextName;
    $("saving").close();
    if (name !== null) go(name);
  }
  $("save").addEventListener("click", save);
  $("saving").addEventListener("close", () => (nextName = null));
  $("save-over").addEventListener("change", () => $("save-name").value === proposedName && propose());
  $("save-form").addEventListener("submit", (event) => {
    event.preventDefault();
    $("save-said").textContent = "";
    send({ t: "save", name: $("save-name").value.trim(), overwrite: $("save-over").checked });
  });
  state.link.on("say", ({ line, kind }) => {
    if (kind === "error") cancelLoading();
    if (!$("saving").open) return;
    if (kind === "error") $("save-said").textContent = line;
    else if (line.startsWith("saved as")) finishSaving();
  });
}
