// Presets: what there is, which one plays, and under which name it is kept; undo, redo and the two sides to compare.

import { $, make, press } from "./dom.js";

export function presets(state) {
  let list = [];
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
    const rows = list.filter(({ name, description, model }) => `${name} ${description} ${model}`.toLowerCase().includes(asked));
    $("preset-list").replaceChildren(...rows.map(({ name, description, model, shipped, fits }) => {
      const about = [description, model, shipped ? "shipped" : "in this folder", fits === false && "another model"].filter(Boolean).join(" · ");
      const row = make("button", { onclick: () => (say({ t: "load", name }), $("presets").close()) },
        make("b", { textContent: name }), make("small", { textContent: about }));
      if (name === state.preset.name) row.setAttribute("aria-current", "true");
      return row;
    }));
    if (!rows.length) $("preset-list").replaceChildren(make("p", { textContent: list.length ? "No preset of this name." : "Reading …" }));
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
