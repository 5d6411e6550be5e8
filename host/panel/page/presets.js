// Presets: what there is, which one plays, and under which name it is kept; undo, redo and the two sides to compare.

import { $, clamp, make, press } from "./dom.js";

export function presets(state) {
  let list = [], chosen = 0; // the entry of the shown ones that Enter loads
  const say = (message) => state.link.send(message);

  state.on("preset", () => {
    const { name, dirty, can_undo, can_redo, side, description } = state.preset;
    $("preset-name").textContent = name ?? "timbrel";
    $("preset").title = description ?? "";
    $("preset").setAttribute("aria-label", `Preset ${name}${dirty ? ", changed" : ""}`);
    $("dirty").hidden = !dirty;
    $("undo").disabled = !can_undo;
    $("redo").disabled = !can_redo;
    press($("side-a"), side !== "B");
    press($("side-b"), side === "B");
    document.title = `${dirty ? "* " : ""}${name ?? ""} – timbrel`;
    if ($("saving").open && !dirty && name === $("save-name").value) $("saving").close();
  });
  $("undo").addEventListener("click", () => say({ t: "undo" }));
  $("redo").addEventListener("click", () => say({ t: "redo" }));
  $("side-a").addEventListener("click", () => say({ t: "side", side: "A" }));
  $("side-b").addEventListener("click", () => say({ t: "side", side: "B" }));

  function show() {
    const asked = $("preset-find").value.trim().toLowerCase();
    const found = list.filter(({ name, description, model }) => `${name} ${description} ${model}`.toLowerCase().includes(asked));
    $("preset-list").replaceChildren(...found.map(({ name, description, model, shipped, fits }, index) => {
      const about = [description, model, shipped ? "shipped" : "in this folder", fits === false && "another model"].filter(Boolean).join(" · ");
      const row = make("div", { role: "option", id: `preset-${index}`, onclick: () => (say({ t: "load", name }), $("presets").close()) },
        make("b", { textContent: name }), make("small", { textContent: about }));
      if (name === state.preset.name) row.setAttribute("aria-current", "true");
      return row;
    }));
    $("no-preset").textContent = found.length ? "" : list.length ? "No preset of this name." : "Reading …";
    choose(Math.max(asked ? 0 : found.findIndex(({ name }) => name === state.preset.name), 0));
  }

  function choose(index) {
    const rows = [...$("preset-list").children];
    chosen = clamp(index, 0, rows.length - 1);
    rows.forEach((row, at) => row.setAttribute("aria-selected", String(at === chosen)));
    $("preset-find").setAttribute("aria-activedescendant", rows[chosen]?.id ?? "");
    rows[chosen]?.scrollIntoView({ block: "nearest" });
  }
  state.link.on("presets", (message) => {
    list = message.list;
    show();
  });
  $("preset").addEventListener("click", () => {
    say({ t: "presets" });
    $("preset-find").value = "";
    show();
    $("presets").showModal();
  });
  $("preset-find").addEventListener("input", show);
  $("preset-find").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) choose(chosen + step);
    else if (event.key === "Enter") $(`preset-${chosen}`)?.click();
    else return;
    event.preventDefault();
  });

  $("save").addEventListener("click", () => {
    $("save-name").value = state.preset.name ?? "";
    $("save-over").checked = false;
    $("save-said").textContent = "";
    $("saving").showModal();
    $("save-name").select();
  });
  $("save-form").addEventListener("submit", (event) => {
    event.preventDefault();
    $("save-said").textContent = "";
    say({ t: "save", name: $("save-name").value.trim(), overwrite: $("save-over").checked });
  });
  state.link.on("say", ({ line, kind }) => {
    if (!$("saving").open) return;
    if (kind === "error") $("save-said").textContent = line;
    else if (kind === "note") $("saving").close();
  });
}
