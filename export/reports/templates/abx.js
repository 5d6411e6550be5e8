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
let noteNumber = 0, x = "a", sounds = {};
function draw() { x = Math.random() < 0.5 ? "a" : "b"; }
function hush() { for (const sound of Object.values(sounds)) { sound.pause(); sound.currentTime = 0; } }
function choose(number) {
  hush();
  noteNumber = number;
  sounds = {a: new Audio(notes[noteNumber].a), b: new Audio(notes[noteNumber].b)};
  for (const sound of Object.values(sounds)) sound.preload = "auto";
  draw();
}
function play(letter) { hush(); sounds[letter === "x" ? x : letter].play(); }
function score(count) {
  const p = count.trials ? ", p = " + chance(count.right, count.trials).toFixed(3) : "";
  return count.right + " of " + count.trials + p;
}
function show(last) {
  const all = counts.reduce((sum, count) => ({right: sum.right + count.right, trials: sum.trials + count.trials}));
  counts.forEach((count, number) => { by("count-" + number).textContent = score(count); });
  by("count-all").textContent = score(all);
  by("result").textContent = last;
}
function answer(letter) {
  hush();
  counts[noteNumber].trials += 1;
  if (letter === x) counts[noteNumber].right += 1;
  const last = (letter === x ? "Right" : "Wrong") + ": X was " + x.toUpperCase() + ". X is drawn anew.";
  draw();
  show(last);
}
function resetCounts() { counts.forEach((count) => { count.right = count.trials = 0; }); draw(); show("All counts are 0."); }
const actions = {
  "play-a": () => play("a"), "play-b": () => play("b"), "play-x": () => play("x"),
  "is-a": () => answer("a"), "is-b": () => answer("b"), "stop": hush, "again": resetCounts,
};
for (const [id, action] of Object.entries(actions)) by(id).addEventListener("click", action);
by("note").addEventListener("change", () => choose(Number(by("note").value)));
const keys = {a: "play-a", b: "play-b", x: "play-x", 1: "is-a", 2: "is-b", Escape: "stop"};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.target.tagName === "SELECT") return;
  const id = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (id) actions[id]();
});
choose(0);
show("");
