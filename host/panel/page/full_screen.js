// Full screen, where the browser has it.

import { $, press } from "./dom.js";

export function full() {
  $("full").hidden = !document.fullscreenEnabled;
  $("full").addEventListener("click", () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen({ keyboardLock: "browser" }); // so that Escape stays panic
  });
  document.addEventListener("fullscreenchange", () => press($("full"), document.fullscreenElement));
}
