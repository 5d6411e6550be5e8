// Three hints for the first run: each goes for good once followed or closed.

import { make, remember, remembered } from "./dom.js";

const FOLLOWED = { map: "#point", knobs: "#knobs .control", keys: "#piano" };

export function hints(notes) {
  const closedHints = new Set(remembered("hints") ?? []);
  const hintByName = new Map();

  /** Takes a hint away; one that was followed leaves its room until the next visit, so that nothing moves under a hand. */
  function close(name, followed) {
    if (closedHints.has(name)) return;
    if (followed) hintByName.get(name).classList.add("followed");
    else hintByName.get(name).hidden = true;
    closedHints.add(name);
    remember("hints", [...closedHints]);
  }
  for (const hint of document.querySelectorAll("[data-hint]")) {
    const { hint: name } = hint.dataset;
    hintByName.set(name, hint);
    hint.hidden = closedHints.has(name);
    hint.append(make("button", { textContent: "✕", "aria-label": "Close the hint", onclick: () => close(name) }));
  }
  addEventListener("pointerup", ({ target }) => {
    for (const [name, place] of Object.entries(FOLLOWED)) if (target.closest?.(place)) close(name, true);
  });
  notes.addEventListener("change", () => notes.keys().size > notes.holds("audition") && close("keys", true));
}
