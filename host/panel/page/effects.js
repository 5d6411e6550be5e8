// The chain of effects, each with its parameters.

import { make, press } from "./dom.js";

/** Elements of the chain; `rows` are pairs of a control and its element. */
export function effects(state, rows) {
  const sendEffect = (message) => state.link.send({ t: "effect", ...message });
  const chain = state.effects.map(({ index, plugin, title, on }) => {
    const name = title || plugin;
    const button = (text, label, props) => make("button", { textContent: text, "aria-label": `${label} ${name}`, title: label, id: `${label}-${index}`, ...props });
    const power = button("On", "Switch", { "aria-label": `On: ${name}`, onclick: () => sendEffect({ do: "bypass", index, on: !on }) });
    press(power, on);
    const head = make("div", { className: "tools" },
      make("h3", { textContent: name }), power,
      button("↑", "Earlier", { disabled: index === 0, onclick: () => sendEffect({ do: "move", index, to: index - 1 }) }),
      button("↓", "Later", { disabled: index === state.effects.length - 1, onclick: () => sendEffect({ do: "move", index, to: index + 1 }) }),
      button("✕", "Remove", { onclick: () => sendEffect({ do: "remove", index }) }));
    const rowElements = rows.filter(([control]) => control.effect === index).map(([, element]) => element);
    return make("div", { className: on ? "effect" : "effect off" }, head, ...rowElements);
  });
  if (!state.available_effects.length) return chain;
  const pick = make("select", { id: "effect-pick", "aria-label": "Effect to add" }, ...state.available_effects.map((name) => make("option", { textContent: name })));
  const add = make("button", { id: "effect-add", textContent: "Add", onclick: () => sendEffect({ do: "add", plugin: pick.value }) });
  return [...chain, make("div", { className: "tools" }, pick, add)];
}
