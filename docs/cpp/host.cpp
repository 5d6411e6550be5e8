// Plays a model of timbrel without timbrel: one side of a held note at rest, as a WAV file at the model's own rate.
// docs/implement.md explains each step; the numbers in comments are the sections of that page.
//
//     c++ -std=c++17 -O2 host.cpp $(pkg-config --cflags --libs libonnxruntime) -o host
//     ./host gm-partials-8.onnx 57 2 note.wav            A3 for two seconds, all knobs where the model rests
//     ./host gm-partials-8.onnx 57 2 note.wav 0.8 0.1    with the first two knobs turned
//
// It leaves out gestures, the stereo image, recordings in the file, learned paths, and keys beyond the recorded ones.
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

using Complex = std::complex<double>;
using Numbers = std::vector<double>;
using Spectrum = std::vector<Complex>;

static const double PI = 3.141592653589793;
static const double LOWEST_HZ = 20;             // nothing below is played
static const double VOICE_LUFS = -20;           // of a voice at full velocity
static const double LOSS_DB = 1.4;              // of partials by stored phases, which the loudness in cards includes
static const double GOLDEN = 0.6180339887498949;  // cycles: the first voice begins here
static const int MIDDLE_C = 60;

[[noreturn]] static void fail(const std::string &reason) {
    std::fprintf(stderr, "host: %s\n", reason.c_str());
    std::exit(2);
}

// 1. The card: JSON ---------------------------------------------------------------------------------------------------

struct Json {
    std::map<std::string, Json> fields;
    std::vector<Json> items;
    std::string text;
    double number = 0;
    bool given = false;  // neither absent nor null

    const Json &operator[](const std::string &name) const {
        static const Json absent;
        const auto found = fields.find(name);
        return found == fields.end() ? absent : found->second;
    }
    int whole() const { return int(number); }
    Numbers numbers() const {
        Numbers all;
        for (const Json &item : items) all.push_back(item.number);
        return all;
    }
};

static void skip(const char *&at) {
    while (*at && std::string(" \t\r\n,:").find(*at) != std::string::npos) at++;
    if (!*at) fail("the card ends early");
}

static Json parse(const char *&at) {
    Json found;
    found.given = true;
    skip(at);
    if (*at == '{') {
        for (at++, skip(at); *at != '}'; skip(at)) {
            const std::string name = parse(at).text;
            found.fields[name] = parse(at);
        }
        at++;
    } else if (*at == '[') {
        for (at++, skip(at); *at != ']'; skip(at)) found.items.push_back(parse(at));
        at++;
    } else if (*at == '"') {
        for (at++; *at && *at != '"'; at++) {
            if (*at == '\\' && at[1]) at++;  // names with other escapes are not needed here
            found.text += *at;
        }
        if (!*at) fail("the card ends early");
        at++;
    } else if (*at == 'n' || *at == 't' || *at == 'f') {
        found.given = *at == 't';
        at += *at == 'f' ? 5 : 4;
    } else {
        char *end;
        found.number = std::strtod(at, &end);
        if (end == at) fail("the card is not JSON");
        at = end;
    }
    return found;
}

// 2. The graph --------------------------------------------------------------------------------------------------------

static const OrtApi *ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);

static void check(OrtStatus *status) {
    if (status) fail(ort->GetErrorMessage(status));
}

struct Decoder {
    OrtSession *session;
    OrtMemoryInfo *memory;
    Json card;

    explicit Decoder(const char *path) {
        OrtEnv *env;
        OrtSessionOptions *options;
        OrtAllocator *allocator;
        OrtModelMetadata *metadata;
        char *text;
        check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "host", &env));
        check(ort->CreateSessionOptions(&options));
        check(ort->SetIntraOpNumThreads(options, 1));  // a run never waits for another core
        check(ort->CreateSession(env, path, options, &session));
        check(ort->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
        check(ort->GetAllocatorWithDefaultOptions(&allocator));
        check(ort->SessionGetModelMetadata(session, &metadata));
        check(ort->ModelMetadataLookupCustomMetadataMap(metadata, allocator, "timbrel.card", &text));
        if (!text) fail(std::string(path) + " has no timbrel card");
        const char *at = text;
        card = parse(at);
    }

    // A frame of one voice; ``state`` becomes the next one. More voices are more rows of one run.
    Numbers step(const Numbers &code, int key, std::map<std::string, std::vector<float>> &state) const {
        std::map<std::string, std::vector<float>> feeds = state;
        feeds["latent"].assign(code.begin(), code.end());
        const auto one_hot = [&](const char *name, size_t count, int place) {
            feeds[name].assign(count, 0);
            feeds[name][place] = 1;
        };
        if (card["chroma"].given) one_hot("chroma", 12, key % 12);
        if (card["partials"].given) feeds["pitch"] = {float(key)};
        if (!card["labels"].items.empty()) one_hot("label", card["labels"].items.size(), 0);
        if (const int noise = card["stream"]["noise"].whole()) feeds["noise"].assign(noise, 0);  // heat 0
        std::vector<const char *> names, asked{"frame"};
        std::vector<std::string> next_names;
        std::vector<OrtValue *> inputs;
        for (auto &[name, numbers] : feeds) {
            std::vector<int64_t> shape{1, int64_t(numbers.size())};
            for (const Json &part : card["state"].items)
                if (part["name"].text == name) {
                    shape = {1};
                    for (double size : part["shape"].numbers()) shape.push_back(int64_t(size));
                }
            inputs.push_back(nullptr);
            names.push_back(name.c_str());
            check(ort->CreateTensorWithDataAsOrtValue(memory, numbers.data(), numbers.size() * sizeof(float),
                                                      shape.data(), shape.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
                                                      &inputs.back()));
        }
        for (const auto &entry : state) next_names.push_back(entry.first + "_next");
        for (const std::string &name : next_names) asked.push_back(name.c_str());
        std::vector<OrtValue *> outputs(asked.size(), nullptr);
        check(ort->Run(session, nullptr, names.data(), inputs.data(), inputs.size(), asked.data(), asked.size(),
                       outputs.data()));
        float *made;
        check(ort->GetTensorMutableData(outputs[0], reinterpret_cast<void **>(&made)));
        const Numbers frame(made, made + width());
        size_t output = 1;
        for (auto &entry : state) {
            check(ort->GetTensorMutableData(outputs[output++], reinterpret_cast<void **>(&made)));
            std::copy(made, made + entry.second.size(), entry.second.begin());
        }
        for (OrtValue *value : inputs) ort->ReleaseValue(value);
        for (OrtValue *value : outputs) ort->ReleaseValue(value);
        return frame;
    }

    // Numbers of a frame.
    size_t width() const {
        const int length = card["frame_length"].whole(), transform = card["transform_length"].whole();
        const int spectra = transform ? length / card["hop_length"].whole() + 1 : 1;
        const int bins = spectra * ((transform ? transform : length) / 2 + 1);
        const std::string domain = card["domain"].text;
        const Json &partials = card["partials"];
        if (partials.given) return partials["harmonics"].whole() + partials["edges_hz"].items.size() - 1;
        const int numbers = domain == "samples" ? length : domain == "magnitude" ? bins : 2 * bins;
        return numbers + card["envelope_points"].whole();
    }

    std::map<std::string, std::vector<float>> at_rest() const {
        std::map<std::string, std::vector<float>> state;
        for (const Json &part : card["state"].items) {
            size_t size = 1;
            for (double side : part["shape"].numbers()) size *= size_t(side);
            state[part["name"].text].assign(size, 0);
        }
        return state;
    }
};

// 3. Transforms, windows and noise ------------------------------------------------------------------------------------

// The sum of x[k] exp(sign 2 pi i k n / N) over k, for each n.
static Spectrum transform(const Spectrum &x, int sign) {
    const size_t count = x.size(), half = count / 2;
    Spectrum sums(count);
    if (count % 2) {
        Spectrum turns(count);
        for (size_t n = 0; n < count; n++) turns[n] = std::polar(1.0, sign * 2 * PI * double(n) / double(count));
        for (size_t n = 0; n < count; n++)
            for (size_t k = 0; k < count; k++) sums[n] += x[k] * turns[k * n % count];
        return sums;
    }
    Spectrum even(half), odd(half);
    for (size_t k = 0; k < half; k++) (even[k] = x[2 * k], odd[k] = x[2 * k + 1]);
    even = transform(even, sign), odd = transform(odd, sign);
    for (size_t n = 0; n < half; n++) {
        const Complex turned = odd[n] * std::polar(1.0, sign * 2 * PI * double(n) / count);
        sums[n] = even[n] + turned, sums[n + half] = even[n] - turned;
    }
    return sums;
}

static Spectrum spectrum_of(const Numbers &sound) {
    Spectrum bins = transform(Spectrum(sound.begin(), sound.end()), -1);
    bins.resize(sound.size() / 2 + 1);
    return bins;
}

// The real sound whose transform has these bins, as numpy.fft.irfft gives it.
static Numbers sound_of(const Spectrum &bins, size_t length) {
    Spectrum whole(length);
    for (size_t n = 0; n < bins.size(); n++) {
        whole[n] = bins[n];
        if (n && 2 * n < length) whole[length - n] = std::conj(bins[n]);
    }
    whole[0].imag(0);
    if (length % 2 == 0) whole[length / 2].imag(0);
    Numbers sound(length);
    const Spectrum sums = transform(whole, 1);
    for (size_t n = 0; n < length; n++) sound[n] = sums[n].real() / double(length);
    return sound;
}

static Numbers window_of(const std::string &name, int length) {
    Numbers window(length, 1);
    for (int n = 0; n < length && name != "rectangular"; n++) {
        const double turn = 2 * PI * n / length;
        const bool hann = name == "hann";  // else Blackman's
        window[n] = hann ? 0.5 - 0.5 * std::cos(turn) : 0.42 - 0.5 * std::cos(turn) + 0.08 * std::cos(2 * turn);
    }
    return window;
}

// Linear between numbers; the last one beyond them.
static double between(const Numbers &numbers, double place) {
    const int last = int(numbers.size()) - 1, low = std::clamp(int(place), 0, std::max(0, last - 1));
    return numbers[low] + (std::min(place, double(last)) - low) * (numbers[std::min(low + 1, last)] - numbers[low]);
}

static uint64_t mixed(uint64_t number) {  // splitmix64
    number *= 0x9E3779B97F4A7C15u;
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9u;
    number = (number ^ (number >> 27)) * 0x94D049BB133111EBu;
    return number ^ (number >> 31);
}

// Stored noise on [-1, 1), the same everywhere.
static double stored(uint64_t place) { return double(float(double(mixed(2020 + place)) / 9223372036854775808.0 - 1)); }

static std::mt19937_64 chance(1);
static std::uniform_real_distribution<double> uniform(0, 1);
static std::normal_distribution<double> normal(0, 1);

// 4. Spectra: magnitudes with the phase of stored noise ---------------------------------------------------------------

// A frame moved by ``ratio``: each bin sums the frame between its edges. The bins in range keep their energy.
static Numbers moved(const Numbers &frame, double ratio) {
    const int bins = int(frame.size());
    if (ratio == 1) return frame;
    Numbers sums(bins + 1, 0), result(bins, 0);
    for (int n = 0; n < bins; n++) sums[n + 1] = sums[n] + frame[n];
    const auto below = [&](double edge) {
        edge = std::clamp(edge, 0.0, double(bins));
        const int whole = std::min(int(edge), bins - 1);
        return sums[whole] + (edge - whole) * frame[whole];
    };
    const int count = std::min(bins, int(std::ceil(bins * ratio)) + 1);
    const int kept = int(std::ceil(std::clamp((count - 0.5) / ratio + 0.5, 0.0, double(bins))));
    double before = 0, after = 0;
    for (int n = 0; n < kept; n++) before += frame[n] * frame[n];
    for (int n = 0; n < count; n++) {
        result[n] = below((n + 0.5) / ratio + 0.5) - below((n - 0.5) / ratio + 0.5);
        after += result[n] * result[n];
    }
    for (double &magnitude : result) magnitude *= std::sqrt(before / std::max(after, 1e-30));
    return result;
}

static Numbers play_spectrum(const Decoder &decoder, const Numbers &code, int key, int count) {
    const Json &card = decoder.card;
    const int length = card["frame_length"].whole(), hop = card["hop_length"].whole(), loop_frames = 64, stride = 29;
    auto state = decoder.at_rest();
    const bool tonal = card["chroma"].given;
    const double octaves = tonal ? key / 12 - 1 - card["chroma"]["octave"].whole() : (key - MIDDLE_C) / 12.0;
    const Numbers magnitudes = moved(decoder.step(code, key, state), std::exp2(octaves));
    const Numbers window = window_of(card["window"].text, length), hann = window_of("hann", length);
    const int lowest = int(std::ceil(LOWEST_HZ * length / card["sample_rate"].number));
    double overlap = 0;
    for (double weight : window) overlap += weight * weight / hop;
    Numbers sound(count, 0), piece(length);
    int frame = stride;  // where the first voice enters the loop of noise
    for (int start = hop / 9 - length; start < count; start += hop, frame++) {
        const int entry = frame % loop_frames * hop;
        for (int n = 0; n < length; n++) piece[n] = hann[n] * stored((entry + n) % (loop_frames * hop));
        Spectrum bins = spectrum_of(piece);
        for (int n = 0; n < int(bins.size()); n++)
            bins[n] = n < lowest ? 0 : bins[n] * (magnitudes[n] / std::max(std::abs(bins[n]), 1e-20));
        const Numbers part = sound_of(bins, length);
        for (int n = std::max(0, -start); n < length && start + n < count; n++)
            sound[start + n] += part[n] * window[n] / overlap;
    }
    return sound;
}

// 5. Partials: sinusoids, and noise in bands --------------------------------------------------------------------------

// Mean square of noise bins at a frequency: linear over log frequency between the middles of bands.
static double noise_power(const Numbers &powers, const Numbers &edges, double hertz) {
    const int bands = int(powers.size());
    const bool offset = edges[0] < LOWEST_HZ && edges[1] < 60;  // an inaudible lowest band may be an offset
    if (hertz < std::max(edges[0], LOWEST_HZ)) return 0;
    if (hertz < edges[1]) return offset ? 0 : powers[0];
    const auto middle = [&](int band) {
        return std::log(std::max(edges[band], 1.0) * std::max(edges[band + 1], 1.0)) / 2;
    };
    int band = std::min(1, bands - 1);  // the lowest one stays apart
    while (band + 1 < bands && middle(band + 1) < std::log(hertz)) band++;
    if (band + 1 == bands || middle(band) >= std::log(hertz)) return powers[band];
    const double share = (std::log(hertz) - middle(band)) / (middle(band + 1) - middle(band));
    return powers[band] + share * (powers[band + 1] - powers[band]);
}

// Levels of bins, averaged twice with their neighbours, so that a filter rings for less than half a frame.
static Numbers tapered(Numbers level) {
    const int last = int(level.size()) - 1;
    for (int turn = 0; turn < 2; turn++) {
        const Numbers before = level;
        for (int n = 0; n <= last; n++)
            level[n] = before[n] / 2 + (before[n ? n - 1 : 1] + before[n < last ? n + 1 : last - 1]) / 4;
    }
    return level;
}

static Numbers play_partials(const Decoder &decoder, const Numbers &code, int key, int count) {
    const Json &card = decoder.card, &layout = card["partials"];
    const int length = card["frame_length"].whole(), harmonics = layout["harmonics"].whole();
    const double rate = card["sample_rate"].number, first_hz = 440 * std::exp2((key - 69) / 12.0);
    auto state = decoder.at_rest();
    const Numbers frame = decoder.step(code, key, state), edges = layout["edges_hz"].numbers();
    const double amplitude = 4.0 / length * std::pow(10, -LOSS_DB / 20);
    const double loudest = *std::max_element(frame.begin(), frame.begin() + harmonics);
    const Numbers stretch = layout["stretch"].numbers();
    const double stiffness = stretch.empty() ? 0 : std::exp(stretch[0] + stretch[1] * key);
    const int synthesis = 1 << int(std::lround(std::log2(0.0232 * rate))), hop = synthesis / 4;  // timbrel's frames
    Numbers sound(count, 0);
    for (int k = 1; k <= harmonics; k++) {
        const double order = k * std::sqrt((1 + stiffness * k * k) / (1 + stiffness)), cycles = first_hz * order / rate;
        const double fade = std::clamp((0.5 - cycles) * synthesis / 8, 0.0, 1.0), height = frame[k - 1];
        if (height < 1e-4 * loudest || fade == 0) continue;
        const double begin = GOLDEN * order + cycles * (synthesis / 2 + hop - hop / 4) + stored(k - 1);
        for (int n = 0; n < count; n++)
            sound[n] += amplitude * height * fade * std::cos(2 * PI * std::fmod(begin + cycles * n, 1.0));
    }
    // Noise is a loop of stored noise through a filter: at rest one transform of the whole loop is exact.
    const int loop = (std::max(65536, 64 * synthesis) + hop - 1) / hop * hop, entry = 29 * hop - hop / 4 + synthesis;
    Numbers powers(frame.begin() + harmonics, frame.end()), white(loop), level(synthesis / 2 + 1, 0), high(level);
    for (double &power : powers) power *= power;
    for (int n = 0; n < loop; n++) white[n] = std::sqrt(3) * stored(n);
    const double bin_hz = rate / synthesis;
    const int least = std::max(2, int(std::ceil(edges[1] / bin_hz + 0.5))), lows = least > 16 ? 2 : least;
    for (int n = lows; n <= synthesis / 2; n++) {  // each bin has the mean power over its width
        for (int fine = 0; fine < 8; fine++)
            level[n] += noise_power(powers, edges, (n + (fine - 3.5) / 8) * bin_hz) / 8;
        level[n] = std::sqrt(level[n]), high[n] = 1;
    }
    level = tapered(level), high = tapered(high);
    Spectrum bins = spectrum_of(white);
    for (int n = 0; n < int(bins.size()); n++) {  // below the first such bins, the bands themselves
        const double place = double(n) * synthesis / loop, hertz = std::min(place, lows - 1e-6) * bin_hz;
        const double low = std::sqrt(noise_power(powers, edges, hertz)) * (1 - between(high, place));
        bins[n] *= amplitude * std::sqrt(length / 6.0) * (low + between(level, place));
    }
    const Numbers noise = sound_of(bins, loop);
    for (int n = 0; n < count; n++) sound[n] += noise[(entry + n) % loop];
    return sound;
}

// 6. Grains: short sounds, each anew ----------------------------------------------------------------------------------

static Numbers play_grains(const Decoder &decoder, const Numbers &code, int key, int count) {
    const Json &card = decoder.card;
    const int length = card["frame_length"].whole(), bins = length / 2 + 1, points = card["envelope_points"].whole();
    const double rate = card["sample_rate"].number, ratio = std::exp2((key - MIDDLE_C) / 12.0), density = 100 / rate;
    if (card["domain"].text != "magnitude" && ratio != 1) fail("grains of samples play at key 60 alone here");
    auto state = decoder.at_rest();
    const Numbers frame = decoder.step(code, key, state);
    const Numbers magnitudes(frame.begin(), frame.begin() + bins), envelope(frame.end() - points, frame.end());
    Numbers window(length), sound(count, 0), fixed = frame;
    double energy = 0;
    for (int n = 0; n < length; n++) {
        const double turn = 2 * PI * (n + 0.5) / length;
        window[n] = 0.42 - 0.5 * std::cos(turn) + 0.08 * std::cos(2 * turn);
        energy += window[n] * window[n];
    }
    const double gain = std::sqrt(1 / std::max(1.0, density * energy));  // on each of two sides
    Spectrum spectrum(bins);
    if (card["domain"].text == "magnitude_phase") {
        for (int n = 0; n < bins; n++) spectrum[n] = std::polar(frame[n], frame[bins + n]);
        fixed = sound_of(spectrum, length);
    }
    for (double time = -length; time < count; time += 1 / density) {
        const int start = int(time + uniform(chance) / density);
        if (card["domain"].text == "magnitude") {  // noise with these magnitudes: E|X|^2 = m^2
            for (int n = 0; n < bins; n++) {
                const double magnitude = n / ratio > bins - 1 ? 0 : between(magnitudes, n / ratio);
                spectrum[n] = Complex(normal(chance), normal(chance)) * (magnitude * std::sqrt(0.5));
            }
            fixed = sound_of(spectrum, length);
            for (int n = 0; n < length && points; n++)
                fixed[n] *= between(envelope, double(n) * (points - 1) / (length - 1));
        }
        for (int n = std::max(0, -start); n < length && start + n < count; n++)
            sound[start + n] += gain * window[n] * fixed[n];
    }
    return sound;
}

// 7. Clips: samples, or magnitudes whose phases are found -------------------------------------------------------------

// The root mean squares of parts, averaged over ``pooled`` of them, for a gain that is linear in dB between middles.
static Numbers levelled(Numbers sound, const Numbers &levels, int part, int pooled) {
    const int count = int(levels.size());
    if (!count) return sound;
    Numbers squares(count, 0), gains(count);
    for (int p = 0; p < count; p++)
        for (int n = p * part; n < (p + 1) * part; n++) squares[p] += sound[n] * sound[n] / part;
    for (int p = 0; p < count; p++) {
        double asked = 0, found = 0;
        for (int other = std::max(0, p - pooled / 2); other <= std::min(count - 1, p + pooled / 2); other++)
            asked += levels[other] * levels[other] / pooled, found += squares[other] / pooled;
        const double least = pooled > 1 ? 1e-7 : 0.25;  // at the end, spectra may be far above the levels
        gains[p] = std::log(std::clamp(std::sqrt(asked) / std::max(std::sqrt(found), 1e-7), least, 4.0));
    }
    for (int n = 0; n < int(sound.size()); n++)
        sound[n] *= std::exp(between(gains, std::max(0.0, double(n) / part - 0.5)));
    return sound;
}

static Numbers overlapped(const std::vector<Spectrum> &spectra, const Numbers &window, int hop) {
    const int length = int(window.size()), count = int(spectra.size());
    Numbers sum(length + (count - 1) * hop, 0), cover(sum.size(), 0);
    for (int s = 0; s < count; s++) {
        const Numbers piece = sound_of(spectra[s], length);
        for (int n = 0; n < length; n++) {
            sum[s * hop + n] += piece[n] * window[n];
            cover[s * hop + n] += window[n] * window[n];
        }
    }
    Numbers sound((count - 1) * hop);
    for (int n = 0; n < int(sound.size()); n++) sound[n] = sum[length / 2 + n] / std::max(cover[length / 2 + n], 1e-3);
    return sound;
}

static std::vector<Spectrum> transformed(const Numbers &sound, const Numbers &window, int hop) {
    const int length = int(window.size());
    std::vector<Spectrum> spectra;
    for (int middle = 0; middle <= int(sound.size()); middle += hop) {
        Numbers piece(length, 0);
        for (int n = 0; n < length; n++)
            if (const int at = middle - length / 2 + n; at >= 0 && at < int(sound.size()))
                piece[n] = sound[at] * window[n];
        spectra.push_back(spectrum_of(piece));
    }
    return spectra;
}

// Phases from the slopes of the magnitudes, integrated from the loudest spectrum on.
static std::vector<Numbers> first_phases(const std::vector<Numbers> &magnitudes, int length, int hop) {
    const int count = int(magnitudes.size()), bins = length / 2 + 1;
    const double width = 0.25645 * length * length;  // of the Gaussian that is like a Hann window
    double highest = 0, most = -1;
    int loudest = 0;
    for (int s = 0; s < count; s++) {
        double energy = 0;
        for (double magnitude : magnitudes[s]) highest = std::max(highest, magnitude), energy += magnitude * magnitude;
        if (energy > most) most = energy, loudest = s;
    }
    const auto level = [&](int s, int n) {
        return std::log(std::max(magnitudes[s][n], std::max(highest * 1e-6, 1e-20)));
    };
    const auto advance = [&](int s, int n) {  // from a spectrum to the next
        const double slope = n && n < bins - 1 ? (level(s, n + 1) - level(s, n - 1)) / 2 : 0;
        return double(hop) * length / width * slope + 2 * PI * hop / length * n;
    };
    const auto slope = [&](int n) {  // from a bin to the next, in the loudest spectrum
        const int before = std::max(0, loudest - 1), after = std::min(count - 1, loudest + 1);
        return -width / (double(hop) * length) * (level(after, n) - level(before, n)) / (after - before);
    };
    std::vector<Numbers> phases(count, Numbers(bins, 0));
    for (int n = 1; n < bins; n++) phases[loudest][n] = phases[loudest][n - 1] + (slope(n) + slope(n - 1)) / 2;
    for (int n = 0; n < bins; n++) {
        for (int s = loudest + 1; s < count; s++)
            phases[s][n] = phases[s - 1][n] + (advance(s, n) + advance(s - 1, n)) / 2;
        for (int s = loudest - 1; s >= 0; s--)
            phases[s][n] = phases[s + 1][n] - (advance(s, n) + advance(s + 1, n)) / 2;
        for (int s = 0; s < count; s++) phases[s][n] += PI * (n % 2);  // of the window, whose middle is the time
    }
    return phases;
}

// A clip of ``length`` samples of spectra, one after the other, and then of its loudness.
static Numbers clip_of(const Numbers &frame, int length, int transform_length, int hop, int points) {
    const int bins = transform_length / 2 + 1, part = points ? length / points : length;
    int count = length / hop + 1;
    std::vector<Numbers> magnitudes(count);
    const auto peak = [](const Numbers &numbers) { return *std::max_element(numbers.begin(), numbers.end()); };
    double highest = 0;
    for (int s = 0; s < count; s++) {
        magnitudes[s].assign(frame.begin() + s * bins, frame.begin() + (s + 1) * bins);
        highest = std::max(highest, peak(magnitudes[s]));
    }
    Numbers levels(frame.begin() + count * bins, frame.begin() + count * bins + points);
    if (hop % part == 0) {  // silence at the end is left out
        while (count > 2 && peak(magnitudes[count - 1]) <= 3e-4 * highest) count--;
        magnitudes.resize(count), levels.resize((count - 1) * hop / part);
    }
    const Numbers window = window_of("hann", transform_length);
    const std::vector<Numbers> phases = first_phases(magnitudes, transform_length, hop);
    std::vector<Spectrum> spectra(count, Spectrum(bins)), before;
    for (int s = 0; s < count; s++)
        for (int n = 0; n < bins; n++) spectra[s][n] = std::polar(magnitudes[s][n], phases[s][n]);
    for (int turn = 0; turn < 10; turn++) {  // the accelerated algorithm of Griffin and Lim
        const Numbers heard = levelled(overlapped(spectra, window, hop), levels, part, 1);
        const std::vector<Spectrum> found = transformed(heard, window, hop);
        for (int s = 0; s < count; s++)
            for (int n = 0; n < bins; n++) {
                const Complex ahead = before.empty() ? found[s][n] : found[s][n] + 0.9 * (found[s][n] - before[s][n]);
                spectra[s][n] = ahead * (magnitudes[s][n] / std::max(std::abs(ahead), 1e-12));
            }
        before = found;
    }
    Numbers sound = levelled(overlapped(spectra, window, hop), levels, part, 5);
    sound.resize(length, 0);
    return sound;
}

static Numbers sound_of_frame(const Json &card, const Numbers &frame) {
    const int length = card["frame_length"].whole();
    if (const int transform_length = card["transform_length"].whole())
        return clip_of(frame, length, transform_length, card["hop_length"].whole(), card["envelope_points"].whole());
    if (card["domain"].text != "real_imag") return frame;
    Spectrum bins(length / 2 + 1);
    for (size_t n = 0; n < bins.size(); n++) bins[n] = Complex(frame[n], frame[bins.size() + n]);
    return sound_of(bins, length);
}

static Numbers play_clip(const Decoder &decoder, const Numbers &code, int key, int count) {
    if (key != MIDDLE_C) fail("clips play at key 60 alone here; others read them 2^((key - 60) / 12) times as fast");
    auto state = decoder.at_rest();
    Numbers sound = sound_of_frame(decoder.card, decoder.step(code, key, state));
    sound.resize(count, 0);
    return sound;
}

// 8. Streams: frames that follow one another --------------------------------------------------------------------------

static Numbers play_stream(const Decoder &decoder, const Numbers &code, int key, int count) {
    if (key != MIDDLE_C) fail("streams play at key 60 alone here");
    const Json &card = decoder.card, &stream = card["stream"], &scaling = card["scaling"];
    const int length = card["frame_length"].whole(), step = stream["step_length"].whole(), fade = length - step;
    const bool magnitudes = card["domain"].text == "magnitude";
    const double loudest = std::pow(10, stream["levels_db"].items[1].number / 20);
    auto state = decoder.at_rest();
    Numbers sound(count, 0);
    for (int start = -fade; start < count; start += step) {
        Numbers frame = decoder.step(code, key, state);
        for (size_t n = 0; n < frame.size() && scaling.given; n++) {
            const Json &mean = scaling["mean"], &deviation = scaling["deviation"];
            frame[n] = frame[n] * (deviation.items.empty() ? deviation : deviation.items[n]).number +
                       (mean.items.empty() ? mean : mean.items[n]).number;
        }
        const Numbers part = sound_of_frame(card, frame);
        double power = 0;
        for (double sample : part) power += sample * sample / length;
        const double gain = std::min(1.0, loudest / std::max(std::sqrt(power), 1e-20));
        if (!magnitudes && state["previous"].size() == frame.size())
            for (float &number : state["previous"]) number = float(number * gain);
        for (int n = std::max(0, -start); n < length && start + n < count; n++) {
            const double in = start < 0 ? 1 : std::min(1.0, (n + 0.5) / fade);
            const double out = std::min(1.0, (length - n - 0.5) / fade);
            const double weight = magnitudes ? std::sin(PI / 2 * in) * std::sin(PI / 2 * out) : in * out;
            sound[start + n] += part[n] * gain * weight;
        }
    }
    return sound;
}

// 9. A note -----------------------------------------------------------------------------------------------------------

static void write_wav(const char *path, const Numbers &sound, int rate) {
    std::ofstream file(path, std::ios::binary);
    const auto put = [&](uint32_t number, int bytes) {
        for (int n = 0; n < bytes; n++) file.put(char(number >> 8 * n & 255));
    };
    const uint32_t bytes = uint32_t(4 * sound.size());
    file << "RIFF", put(36 + bytes, 4), file << "WAVEfmt ";
    put(16, 4), put(3, 2), put(1, 2), put(rate, 4), put(4 * rate, 4), put(4, 2), put(32, 2);  // 32-bit floats
    file << "data", put(bytes, 4);
    for (double sample : sound) {
        const float single = float(sample);
        file.write(reinterpret_cast<const char *>(&single), 4);
    }
    if (!file.flush()) fail(std::string("cannot write ") + path);
}

int main(int count, char **words) {
    if (count < 5) return std::fprintf(stderr, "host MODEL.onnx KEY SECONDS NOTE.wav [KNOB ...]\n"), 2;
    const Decoder decoder(words[1]);
    const Json &card = decoder.card;
    const int key = std::atoi(words[2]), rate = card["sample_rate"].whole();
    const double seconds = std::atof(words[3]);
    if (key < 0 || key > 127) fail("the key must be a MIDI note, 0 to 127");
    if (!(seconds > 0 && seconds <= 60)) fail("the seconds must be more than 0, and 60 at most");
    Numbers code;
    for (const Json &latent : card["latents"].items) code.push_back(latent["default"].number);
    for (int knob = 0; knob + 5 < count && knob < int(code.size()); knob++) code[knob] = std::atof(words[knob + 5]);

    static const std::map<std::string, Numbers (*)(const Decoder &, const Numbers &, int, int)> voices{
        {"spectrum", play_spectrum}, {"partials", play_partials}, {"grain", play_grains},
        {"clip", play_clip},         {"stream", play_stream}};
    const auto voice = voices.find(card["kind"].text);
    if (voice == voices.end()) fail("kind " + card["kind"].text + " is unknown to this program");
    Numbers sound = voice->second(decoder, code, key, int(seconds * rate));
    const double voice_gain = std::pow(10, (VOICE_LUFS - card["loudness_lufs"].number) / 20), ramp = 0.005 * rate;
    const double gain = voice_gain * std::sqrt(0.5);  // on each of two sides
    const bool struck = voice->first == "clip" || voice->first == "stream";  // these have attacks of their own
    for (size_t n = 0; n < sound.size(); n++)
        sound[n] *= gain * (struck ? 1 : std::min(1.0, n / ramp)) * std::min(1.0, (sound.size() - n) / ramp);
    write_wav(words[4], sound, rate);
}
