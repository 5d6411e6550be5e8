function chance(right, trials) {
  let term = Math.pow(0.5, trials), sum = 0;
  for (let k = 0; k <= trials; k++) {
    if (k >= right) sum += term;
    term *= (trials - k) / (k + 1);
  }
  return Math.min(sum, 1);
}
const notes = JSON.parse(document.getElementById("notes").textContent);
const counts = notes.map(() => ({right: 0, trials: 0}));
const by = (id) => document.getElementById(id);
let at = 0, x = "a", sounds = {};
function draw() { x = Math.random() < 0.5 ? "a" : "b"; }
function hush() { for (const sound of Object.values(sounds)) { sound.pause(); sound.currentTime = 0; } }
function choose(number) {
  hush();
  at = number;
  sounds = {a: new Audio(notes[at].a), b: new Audio(notes[at].b)};
  for (const sound of Object.values(sounds)) sound.preload = "auto";
  draw();
}
function play(which) { hush(); sounds[which === "x" ? x : which].play(); }
function said(count) {
  const p = count.trials ? ", p = " + chance(count.right, count.trials).toFixed(3) : "";
  return count.right + " of " + count.trials + p;
}
function show(last) {
  const all = counts.reduce((sum, one) => ({right: sum.right + one.right, trials: sum.trials + one.trials}));
  counts.forEach((count, number) => { by("count-" + number).textContent = said(count); });
  by("count-all").textContent = said(all);
  by("result").textContent = last;
}
function answer(which) {
  hush();
  counts[at].trials += 1;
  if (which === x) counts[at].right += 1;
  const last = (which === x ? "Right" : "Wrong") + ": X was " + x.toUpperCase() + ". X is drawn anew.";
  draw();
  show(last);
}
function again() { counts.forEach((count) => { count.right = count.trials = 0; }); draw(); show("All counts are 0."); }
const doings = {
  "play-a": () => play("a"), "play-b": () => play("b"), "play-x": () => play("x"),
  "is-a": () => answer("a"), "is-b": () => answer("b"), "stop": hush, "again": again,
};
for (const [id, does] of Object.entries(doings)) by(id).addEventListener("click", does);
by("note").addEventListener("change", () => choose(Number(by("note").value)));
const keys = {a: "play-a", b: "play-b", x: "play-x", 1: "is-a", 2: "is-b", Escape: "stop"};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.target.tagName === "SELECT") return;
  const id = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (id) doings[id]();
});
choose(0);
show("");
