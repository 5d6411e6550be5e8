// Plays models of partials and of clips without timbrel, in a browser or in node: one note at rest, a side of it.
//
//     import * as ort from 'onnxruntime-web';
//     const model = await open(ort, new Uint8Array(await (await fetch('gm-partials-8.onnx')).arrayBuffer()));
//     const sound = await play(model, 57, 2);             // A3 for two seconds, Float32Array at model.card.sample_rate
//
// docs/implement.md explains each step. It leaves out gestures, the stereo image, recordings in the file, keys beyond
// the recorded ones, and keys other than 60 for clips.

const LOWEST_HZ = 20, VOICE_LUFS = -20, LOSS_DB = 1.4, GOLDEN = 0.6180339887498949, MIDDLE_C = 60;

// A model: its card, and a function from inputs, [numbers, shape] by name, to a frame. Any runtime of ONNX will do.
export async function open(ort, bytes) {
    const session = await ort.InferenceSession.create(bytes);
    const run = async inputs => {
        const feeds = {};
        for (const [name, numbers] of Object.entries(inputs)) feeds[name] = new ort.Tensor('float32', ...numbers);
        return (await session.run(feeds)).frame.data;
    };
    return {card: cardOf(bytes), run};
}

// The card is in the metadata of the file: fields 14 of protobuf, each a key (1) and a value (2).
export function cardOf(bytes) {
    function* parts(at, end) {
        const number = () => {
            let value = 0, scale = 1, byte;
            do (byte = bytes[at++], value += (byte & 127) * scale, scale *= 128); while (byte > 127);
            return value;
        };
        while (at < end) {
            const tag = number();
            const size = tag % 8 === 2 ? number() : tag % 8 === 0 ? (number(), 0) : tag % 8 === 1 ? 8 : 4;
            yield [Math.floor(tag / 8), at, at + size];
            at += size;
        }
    }
    for (const [field, begin, end] of parts(0, bytes.length)) {
        if (field !== 14) continue;
        const texts = {}, utf8 = new TextDecoder();
        for (const [part, from, to] of parts(begin, end)) texts[part] = utf8.decode(bytes.subarray(from, to));
        if (texts[1] === 'timbrel.card') return JSON.parse(texts[2]);
    }
    throw new Error('the file has no timbrel card');
}

export async function play(model, key, seconds) {
    const {card, run} = model, voice = {partials: playPartials, clip: playClip}[card.kind];
    if (!voice) throw new Error(`kind ${card.kind} is not played here`);
    const inputs = {latent: [Float32Array.from(card.latents, latent => latent.default), [1, card.latents.length]]};
    if (card.partials) inputs.pitch = [Float32Array.of(key), [1, 1]];
    const shares = Float32Array.from(card.labels, (_, n) => n ? 0 : 1);
    if (card.labels.length) inputs.label = [shares, [1, card.labels.length]];
    const sound = voice(card, await run(inputs), key, Math.floor(seconds * card.sample_rate));
    const gain = 10 ** ((VOICE_LUFS - card.loudness_lufs) / 20) * Math.SQRT1_2, ramp = 0.005 * card.sample_rate;
    return Float32Array.from(sound, (sample, n) => sample * gain * Math.min(1, (sound.length - n) / ramp,
                                                                            card.partials ? n / ramp : 1));
}

// Transforms and noise

// In place, of a power of two: sums of x[k] exp(sign 2 pi i k n / N).
function transform(real, imaginary, sign) {
    const count = real.length;
    for (let n = 1, other = 0; n < count; n++) {
        for (let bit = count >> 1; (other ^= bit) < bit; bit >>= 1);
        if (n < other) for (const x of [real, imaginary]) [x[n], x[other]] = [x[other], x[n]];
    }
    for (let size = 2; size <= count; size *= 2) for (let k = 0; k < size / 2; k++) {
        const angle = sign * 2 * Math.PI * k / size, cosine = Math.cos(angle), sine = Math.sin(angle);
        for (let n = k, far = k + size / 2; n < count; n += size, far += size) {
            const re = real[far] * cosine - imaginary[far] * sine, im = real[far] * sine + imaginary[far] * cosine;
            real[far] = real[n] - re, imaginary[far] = imaginary[n] - im, real[n] += re, imaginary[n] += im;
        }
    }
}

function spectrumOf(sound) {
    const real = Float64Array.from(sound), imaginary = new Float64Array(sound.length);
    transform(real, imaginary, -1);
    return [real.subarray(0, sound.length / 2 + 1), imaginary.subarray(0, sound.length / 2 + 1)];
}

function soundOf([re, im]) {
    const count = 2 * (re.length - 1), real = new Float64Array(count), imaginary = new Float64Array(count);
    for (let n = 0; n < re.length; n++) {
        real[n] = re[n] / count, imaginary[n] = n % (count / 2) ? im[n] / count : 0;
        if (n % (count / 2)) real[count - n] = real[n], imaginary[count - n] = -imaginary[n];
    }
    transform(real, imaginary, 1);
    return real;
}

// Stored noise on [-1, 1), the same everywhere: splitmix64.
function stored(place) {
    const wrap = number => BigInt.asUintN(64, number);
    let bits = wrap(BigInt(2020 + place) * 0x9E3779B97F4A7C15n);
    bits = wrap((bits ^ bits >> 30n) * 0xBF58476D1CE4E5B9n), bits = wrap((bits ^ bits >> 27n) * 0x94D049BB133111EBn);
    return Number(bits ^ bits >> 31n) / 2 ** 63 - 1;
}

const clamp = (number, low, high) => Math.min(Math.max(number, low), high);

function between(numbers, place) {
    const last = numbers.length - 1, at = clamp(place, 0, last), low = Math.min(Math.floor(at), Math.max(0, last - 1));
    return numbers[low] + (at - low) * (numbers[Math.min(low + 1, last)] - numbers[low]);
}

// Partials: sinusoids, and noise in bands

function noisePower(powers, edges, hertz) {
    if (hertz < Math.max(edges[0], LOWEST_HZ)) return 0;
    if (hertz < edges[1]) return edges[0] < LOWEST_HZ && edges[1] < 60 ? 0 : powers[0];
    const middles = powers.map((_, band) => Math.log(Math.max(edges[band], 1) * Math.max(edges[band + 1], 1)) / 2);
    let band = Math.min(1, powers.length - 1);  // the lowest one stays apart
    while (band + 1 < powers.length && middles[band + 1] < Math.log(hertz)) band++;
    if (band + 1 === powers.length || middles[band] >= Math.log(hertz)) return powers[band];
    const share = (Math.log(hertz) - middles[band]) / (middles[band + 1] - middles[band]);
    return powers[band] + share * (powers[band + 1] - powers[band]);
}

function tapered(level) {
    const last = level.length - 1, mean = before => before.map((middle, n) =>
        middle / 2 + (before[n ? n - 1 : 1] + before[n < last ? n + 1 : last - 1]) / 4);
    return mean(mean(level));
}

function playPartials(card, frame, key, count) {
    const {harmonics, edges_hz: edges, stretch} = card.partials, {frame_length: length, sample_rate: rate} = card;
    const amplitude = 4 / length * 10 ** (-LOSS_DB / 20), sound = new Float64Array(count);
    const heights = Array.from(frame.slice(0, harmonics)), loudest = Math.max(...heights);
    const powers = Array.from(frame.slice(harmonics), level => level ** 2);
    const stiffness = stretch ? Math.exp(stretch[0] + stretch[1] * key) : 0;
    const synthesis = 2 ** Math.round(Math.log2(0.0232 * rate)), hop = synthesis / 4;  // of timbrel's own frames
    heights.forEach((height, index) => {
        const order = (index + 1) * Math.sqrt((1 + stiffness * (index + 1) ** 2) / (1 + stiffness));
        const cycles = 440 * 2 ** ((key - 69) / 12) * order / rate, fade = clamp((0.5 - cycles) * synthesis / 8, 0, 1);
        if (height < 1e-4 * loudest || fade === 0) return;
        const begin = GOLDEN * order + cycles * (synthesis / 2 + hop - hop / 4) + stored(index);
        for (let n = 0; n < count; n++)
            sound[n] += amplitude * height * fade * Math.cos(2 * Math.PI * ((begin + cycles * n) % 1));
    });
    const loop = Math.max(65536, 64 * synthesis), entry = 29 * hop - hop / 4 + synthesis, binHz = rate / synthesis;
    const least = Math.max(2, Math.ceil(edges[1] / binHz + 0.5)), lows = least > 16 ? 2 : least;
    const width = Array.from({length: 8}, (_, fine) => (fine - 3.5) / 8);  // a bin has the mean power over its width
    const bins = Array.from({length: synthesis / 2 + 1}, (_, n) => n);
    const level = tapered(bins.map(n => n < lows ? 0 : Math.sqrt(width.reduce(
        (sum, offset) => sum + noisePower(powers, edges, (n + offset) * binHz) / 8, 0))));
    const high = tapered(bins.map(n => n < lows ? 0 : 1));
    const white = spectrumOf(Float64Array.from({length: loop}, (_, n) => Math.sqrt(3) * stored(n)));
    for (let n = 0; n <= loop / 2; n++) {  // below those bins, the bands themselves
        const place = n * synthesis / loop;
        const low = Math.sqrt(noisePower(powers, edges, Math.min(place, lows - 1e-6) * binHz));
        const gain = amplitude * Math.sqrt(length / 6) * (low * (1 - between(high, place)) + between(level, place));
        white[0][n] *= gain, white[1][n] *= gain;
    }
    const noise = soundOf(white);
    return sound.map((sample, n) => sample + noise[(entry + n) % loop]);
}

// Clips: samples, or magnitudes whose phases are found

function levelled(sound, levels, part, pooled) {
    const squares = levels.map((_, p) =>
        sound.subarray(p * part, (p + 1) * part).reduce((sum, x) => sum + x * x / part, 0));
    const mean = (numbers, p) => numbers.slice(Math.max(0, p - (pooled >> 1)), p + (pooled >> 1) + 1)
        .reduce((sum, square) => sum + square / pooled, 0);
    const asked = levels.map(level => level * level);
    const least = pooled > 1 ? 1e-7 : 0.25;  // at the end, spectra may be far above the levels
    const gains = levels.map((_, p) =>
        Math.log(clamp(Math.sqrt(mean(asked, p)) / Math.max(Math.sqrt(mean(squares, p)), 1e-7), least, 4)));
    return levels.length ? sound.map((sample, n) => sample * Math.exp(between(gains, n / part - 0.5))) : sound;
}

function overlapped(spectra, window, hop) {
    const length = window.length, sum = new Float64Array(length + (spectra.length - 1) * hop), cover = sum.slice();
    spectra.forEach((spectrum, s) => soundOf(spectrum).forEach((sample, n) => {
        sum[s * hop + n] += sample * window[n], cover[s * hop + n] += window[n] ** 2;
    }));
    return sum.map((sample, n) => sample / Math.max(cover[n], 1e-3)).subarray(length / 2, sum.length - length / 2);
}

function playClip(card, frame, key, count) {
    if (key !== MIDDLE_C) throw new Error('clips play at key 60 alone here');
    const {frame_length: length, transform_length: size, hop_length: hop, envelope_points: points} = card;
    if (!size) return Float64Array.from({length: count}, (_, n) => frame[n] || 0);
    const bins = size / 2 + 1, part = points ? length / points : length, whole = length / hop + 1;
    let magnitudes = Array.from({length: whole}, (_, s) => Float64Array.from(frame.slice(s * bins, (s + 1) * bins)));
    let levels = Array.from(frame.slice(whole * bins)), peaks = magnitudes.map(each => Math.max(...each));
    const highest = Math.max(...peaks);
    if (hop % part === 0) {  // silence at the end is left out
        const audible = Math.max(2, peaks.findLastIndex(peak => peak > 3e-4 * highest) + 1);
        magnitudes = magnitudes.slice(0, audible), levels = levels.slice(0, (audible - 1) * hop / part);
    }
    const window = Float64Array.from({length: size}, (_, n) => 0.5 - 0.5 * Math.cos(2 * Math.PI * n / size));
    let spectra = firstPhases(magnitudes, highest, size, hop).map((phases, s) => [
        magnitudes[s].map((m, n) => m * Math.cos(phases[n])), magnitudes[s].map((m, n) => m * Math.sin(phases[n]))]);
    for (let turn = 0, before; turn < 10; turn++) {  // the accelerated algorithm of Griffin and Lim
        const heard = levelled(overlapped(spectra, window, hop), levels, part, 1);
        const found = magnitudes.map((_, s) =>
            spectrumOf(window.map((w, n) => w * (heard[s * hop - size / 2 + n] || 0))));
        const ahead = found.map((pair, s) => pair.map((side, part) =>
            before ? side.map((v, n) => v + 0.9 * (v - before[s][part][n])) : side));
        spectra = ahead.map(([re, im], s) => [re, im].map(side => side.map((v, n) =>
            v * magnitudes[s][n] / Math.max(Math.hypot(re[n], im[n]), 1e-12))));
        before = found;
    }
    const sound = levelled(overlapped(spectra, window, hop), levels, part, 5);
    return Float64Array.from({length: count}, (_, n) => sound[n] || 0);
}

// Phases from the slopes of the magnitudes, integrated from the loudest spectrum on.
function firstPhases(magnitudes, highest, size, hop) {
    const width = 0.25645 * size * size, last = magnitudes.length - 1, bins = magnitudes[0].length;
    const level = magnitudes.map(each => each.map(m => Math.log(Math.max(m, highest * 1e-6, 1e-20))));
    const energies = magnitudes.map(each => each.reduce((sum, m) => sum + m * m, 0));
    const loudest = energies.indexOf(Math.max(...energies));
    const advance = (s, n) => 2 * Math.PI * hop / size * n
        + (n && n < bins - 1 ? hop * size / width * (level[s][n + 1] - level[s][n - 1]) / 2 : 0);
    const [from, to] = [Math.max(0, loudest - 1), Math.min(last, loudest + 1)];
    const slope = n => -width / (hop * size) * (level[to][n] - level[from][n]) / (to - from);
    const phases = magnitudes.map(() => new Float64Array(bins));
    for (let n = 0; n < bins; n++) {
        if (n) phases[loudest][n] = phases[loudest][n - 1] + (slope(n) + slope(n - 1)) / 2;
        for (let s = loudest + 1; s <= last; s++)
            phases[s][n] = phases[s - 1][n] + (advance(s, n) + advance(s - 1, n)) / 2;
        for (let s = loudest - 1; s >= 0; s--)
            phases[s][n] = phases[s + 1][n] - (advance(s, n) + advance(s + 1, n)) / 2;
    }
    return phases.map(each => each.map((phase, n) => phase + Math.PI * (n % 2)));
}
