// Three hints for the first run: each goes for good once it was followed or closed.

import { make, remember, remembered } from "./dom.js";

const FOLLOWED = { map: "#point", knobs: "#knobs .control", keys: "#piano" };

export function hints(notes) {
  const gone = new Set(remembered("hints") ?? []);
  const shown = new Map();

  /** Takes a hint away; one that was followed leaves its room until the next visit, so that nothing moves under a hand. */
  function close(name, followed) {
    if (gone.has(name)) return;
    if (followed) shown.get(name).classList.add("followed");
    else shown.get(name).hidden = true;
    gone.add(name);
    remember("hints", [...gone]);
  }
  for (const hint of document.querySelectorAll("[data-hint]")) {
    const { hint: name } = hint.dataset;
    shown.set(name, hint);
    hint.hidden = gone.has(name);
    hint.append(make("button", { textContent: "✕", "aria-label": "Close the hint", onclick: () => close(name) }));
  }
  addEventListener("pointerup", ({ target }) => {
    for (const [name, place] of Object.entries(FOLLOWED)) if (target.closest?.(place)) close(name, true);
  });
  notes.addEventListener("change", () => notes.keys().size > notes.holds("audition") && close("keys", true));
}
