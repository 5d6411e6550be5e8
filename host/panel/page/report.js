// The report on the model, in a frame: this page's scripts make its picture of codes playable.

import { $, make } from "./dom.js";

const PICTURE = 'img[src="embedding.png"]';
const TOLD = "report/embedding.json"; // where its dots lie, as parts of it
const HOLDER = "report"; // of the note that sounds while a dot is pressed
const VELOCITY = 100;
const RING = 14; // pixels across

export function report(state, notes, token) {
  const [open, dialog] = [$("report"), $("reading")];
  const frame = dialog.querySelector("iframe");
  const release = () => notes.release(HOLDER);

  state.on("report", () => (open.hidden = !state.report));
  open.addEventListener("click", async () => {
    // a frame's requests carry no token: this gives it a cookie for its files alone
    const entered = await fetch("report", { method: "POST", headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
    if (!entered?.ok) return; // the page says already that timbrel is not there
    frame.src = "report/index.html";
    dialog.showModal();
  });
  dialog.addEventListener("close", release);
  frame.addEventListener("load", () => {
    release();
    play(frame.contentDocument);
  });

  async function play(page) {
    const picture = page.querySelector(PICTURE);
    const answer = picture && (await fetch(TOLD));
    if (!answer?.ok) return; // another page, or a report of before pictures told their dots
    const { places, codes, pitch_classes } = await answer.json();
    if (codes[0].length !== state.latents().length) return;
    page.getElementById("press")?.replaceChildren("Press a dot: its code sounds, on a key of its pitch class.");

    /** The place of the dot that is nearest in pixels, and which one it is. */
    function nearest(x, y, width, height) {
      let best = { far: Infinity };
      for (const axes of places) axes.forEach(([left, top], dot) => {
        const far = Math.hypot((left - x) * width, (top - y) * height);
        if (far < best.far) best = { far, dot, left, top };
      });
      return best;
    }

    const ring = make("span");
    Object.assign(ring.style, {
      position: "absolute", width: `${RING}px`, height: `${RING}px`, boxSizing: "border-box", transform: "translate(-50%, -50%)",
      border: "2px solid var(--ink)", borderRadius: "50%", pointerEvents: "none", visibility: "hidden",
    });
    picture.parentElement.append(ring);
    Object.assign(picture.parentElement.style, { position: "relative", display: "block" });
    picture.draggable = false;
    picture.style.cursor = "crosshair";
    picture.addEventListener("mousedown", (event) => event.preventDefault()); // or the page would lose focus, and let keys go
    picture.addEventListener("contextmenu", (event) => event.preventDefault()); // of a finger that rests
    picture.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const { clientWidth: width, clientHeight: height } = picture;
      const { dot, left, top } = nearest(event.offsetX / width, event.offsetY / height, width, height);
      Object.assign(ring.style, { left: `${left * width}px`, top: `${top * height}px`, visibility: "visible" });
      picture.setPointerCapture(event.pointerId);
      state.set(Object.fromEntries(codes[dot].map((value, latent) => [`latent.${latent}`, value])));
      const { center, high } = state.keys;
      const key = center + ((pitch_classes[dot] - center) % 12 + 12) % 12;
      notes.press(HOLDER, key > high ? key - 12 : key, VELOCITY);
    });
    for (const ended of ["pointerup", "pointercancel", "lostpointercapture"]) picture.addEventListener(ended, release);
  }
}
