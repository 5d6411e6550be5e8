// Replays a trace of the voice core (core_trace.py) by a module of WebAssembly: `node wasm.mjs MODULE FOLDER ROUNDS`.
//
// FOLDER has steps.json and data.bin; outputs.bin, all that is read in the first round, is written there. Prints the
// seconds that the calls took in each round.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const PAGE = 65536; // bytes
const [modulePath, folder, rounds] = process.argv.slice(2);
const { steps, sizes, base, end, outputLength } = JSON.parse(readFileSync(join(folder, "steps.json"), "utf8"));
const data = readFileSync(join(folder, "data.bin"));

const { instance } = await WebAssembly.instantiate(readFileSync(modulePath), {});
const core = instance.exports;
core._initialize();
core.memory.grow(Math.ceil(end / PAGE) - core.memory.buffer.byteLength / PAGE);
const memory = new Uint8Array(core.memory.buffer);
sizes.forEach((size, structure) => {
  if (core.core_sizes(structure) !== BigInt(size)) throw new Error(`structure ${structure} is not of ${size} bytes`);
});
if (core.__heap_base.value > base) throw new Error("the trace lies in the module's own memory");

function replay(outputs) {
  let seconds = 0;
  let written = 0;
  for (const [kind, ...rest] of steps) {
    if (kind === "write") {
      const [address, offset, length] = rest;
      if (offset === null) memory.fill(0, address, address + length);
      else memory.set(data.subarray(offset, offset + length), address);
    } else if (kind === "read") {
      const [address, length] = rest;
      outputs.set(memory.subarray(address, address + length), written);
      written += length;
    } else {
      const [name, values] = rest;
      const began = performance.now();
      core[name](...values);
      seconds += (performance.now() - began) / 1000;
    }
  }
  return seconds;
}

// Numbers of 64 bits are strings in JSON.
for (const step of steps)
  if (step[0] === "call") step[2] = step[2].map((value) => (typeof value === "string" ? BigInt(value) : value));
const seconds = [];
for (let round = 0; round < Number(rounds); ++round) {
  const outputs = new Uint8Array(outputLength);
  seconds.push(replay(outputs));
  if (round === 0) writeFileSync(join(folder, "outputs.bin"), outputs);
}
console.log(JSON.stringify(seconds));
