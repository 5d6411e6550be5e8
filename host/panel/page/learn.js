// Binding knobs by click: pick a control, move a knob; it stays on until it is left.

import { $, capital, press } from "./dom.js";

export function learn(state) {
  let on = false;

  const mode = {
    pick(target) {
      on = true;
      state.link.send({ t: "learn", target: state.learn.target === target ? null : target });
      mode.show();
    },
    forget: (target) => state.link.send({ t: "unlearn", target }),
    leave() {
      if (!mode.on()) return false;
      on = false;
      state.link.send({ t: "learn", target: null });
      mode.show();
      return true;
    },
    on: () => on || state.learn.target !== null,
    show() {
      const now = mode.on();
      press($("learn"), now);
      document.body.classList.toggle("learning", now);
      for (const element of document.querySelectorAll(".control")) {
        const waits = element.dataset.target === state.learn.target;
        element.classList.toggle("waits", waits);
        press(element.querySelector(".badge"), waits);
      }
      $("learning").hidden = !now;
      const title = state.byTarget.get(state.learn.target)?.title;
      const said = title ? `${capital(title)} waits: move a knob` : "pick a control, then move a knob";
      $("learning").textContent = `Learn: ${state.learn.said || said}. Escape or Learn leaves.`;
    },
  };
  $("learn").addEventListener("click", () => mode.leave() || ((on = true), mode.show()));
  state.on("learn", mode.show);
  return mode;
}
