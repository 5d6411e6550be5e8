// Binding knobs: pick a control, move a knob.

import { $, capital, press } from "./dom.js";

export function learn(state) {
  let active = false;

  const mode = {
    pick(target) {
      active = true;
      state.link.send({ t: "learn", target: state.learn.target === target ? null : target });
      mode.show();
    },
    forget: (target) => state.link.send({ t: "unlearn", target }),
    leave() {
      if (!mode.active()) return false;
      active = false;
      state.link.send({ t: "learn", target: null });
      mode.show();
      return true;
    },
    active: () => active || state.learn.target !== null,
    show() {
      const now = mode.active();
      press($("learn"), now);
      document.body.classList.toggle("learning", now);
      for (const element of document.querySelectorAll(".control")) {
        const waits = element.dataset.target === state.learn.target;
        element.classList.toggle("waits", waits);
        press(element.querySelector(".badge"), waits);
      }
      $("learning").hidden = !now;
      const title = state.byTarget.get(state.learn.target)?.title;
      const instruction = title ? `${capital(title)} waits: move a knob` : "pick a control, then move a knob";
      $("learning").textContent = `Learn: ${state.learn.said || instruction}. Escape or Learn leaves.`;
    },
  };
  $("learn").addEventListener("click", () => mode.leave() || ((active = true), mode.show()));
  state.on("learn", mode.show);
  return mode;
}
