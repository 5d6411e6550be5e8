// Plays a note with docs/js/play.mjs and writes its samples: drive.mjs PLAY.mjs MODEL.onnx KEY SECONDS OUT.f32 [ORT | FRAME.json]
// ORT is the folder of onnxruntime-web; FRAME.json holds the frame that another runtime gives for the inputs in it.
import {readFileSync, writeFileSync} from 'node:fs';
import {isDeepStrictEqual} from 'node:util';
import {createRequire} from 'node:module';
import {pathToFileURL} from 'node:url';

const [script, file, key, seconds, target, runtime] = process.argv.slice(2);
const {open, cardOf, play} = await import(pathToFileURL(script));
const bytes = new Uint8Array(readFileSync(file));
let model;
if (runtime.endsWith('.json')) {
    const known = JSON.parse(readFileSync(runtime));
    const run = async inputs => {
        const plain = Object.fromEntries(Object.entries(inputs).map(([name, [numbers, shape]]) => [name, [Array.from(numbers), shape]]));
        if (!isDeepStrictEqual(plain, known.inputs)) throw new Error(`inputs ${JSON.stringify(plain)} are not the known ones`);
        return Float32Array.from(known.frame);
    };
    model = {card: cardOf(bytes), run};
} else {
    const ort = await import(pathToFileURL(createRequire(`${runtime}/`).resolve('onnxruntime-web')));
    ort.env.wasm.numThreads = 1;
    model = await open(ort, bytes);
}
const sound = await play(model, Number(key), Number(seconds));
writeFileSync(target, new Uint8Array(sound.buffer));
