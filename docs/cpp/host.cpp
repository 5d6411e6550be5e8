// The least that a host does: it opens a model of spectra, reads its card, decodes one code and writes the magnitudes.
//
//     c++ -std=c++17 host.cpp $(pkg-config --cflags --libs libonnxruntime) -o host
//     ./host gm-chroma-8.onnx 9 > a.f32                  the knobs at rest, pitch class 9 (A)
//     ./host gm-chroma-8.onnx 9 0.8 0.1 > b.f32          with the first two knobs turned
#include <onnxruntime_c_api.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

static const OrtApi *ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);

static void check(OrtStatus *status) {
    if (!status) return;
    std::fprintf(stderr, "host: %s\n", ort->GetErrorMessage(status));
    std::exit(1);
}

// The numbers that follow a key of the card, wherever it stands: the card is JSON without spaces.
static std::vector<float> numbers(const std::string &card, const std::string &key) {
    std::vector<float> found;
    const std::string mark = "\"" + key + "\":";
    for (size_t at = card.find(mark); at != std::string::npos; at = card.find(mark, at + 1))
        found.push_back(std::strtof(card.c_str() + at + mark.size(), nullptr));
    return found;
}

int main(int count, char **words) {
    if (count < 3) return std::fprintf(stderr, "host MODEL.onnx PITCH_CLASS [KNOB ...]\n"), 2;
    OrtEnv *env;
    OrtSessionOptions *options;
    OrtSession *session;
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "host", &env));
    check(ort->CreateSessionOptions(&options));
    check(ort->SetIntraOpNumThreads(options, 1));  // a run never waits for another core
    check(ort->CreateSession(env, words[1], options, &session));

    OrtAllocator *allocator;
    OrtModelMetadata *metadata;
    char *text;
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
    check(ort->SessionGetModelMetadata(session, &metadata));
    check(ort->ModelMetadataLookupCustomMetadataMap(metadata, allocator, "timbrel.card", &text));
    if (!text) return std::fprintf(stderr, "host: %s has no timbrel card\n", words[1]), 2;
    const std::string card = text;

    std::vector<float> code = numbers(card, "default"), chroma(12, 0.0f);  // where each knob rests
    for (int knob = 0; knob + 3 < count && knob < int(code.size()); knob++)
        code[knob] = std::strtof(words[knob + 3], nullptr);
    chroma[(std::atoi(words[2]) % 12 + 12) % 12] = 1.0f;

    OrtMemoryInfo *memory;
    OrtValue *inputs[2], *frame = nullptr;
    const int64_t shapes[2][2] = {{1, int64_t(code.size())}, {1, 12}};  // one voice; more are decoded in one run
    check(ort->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
    check(ort->CreateTensorWithDataAsOrtValue(memory, code.data(), code.size() * sizeof(float), shapes[0], 2,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &inputs[0]));
    check(ort->CreateTensorWithDataAsOrtValue(memory, chroma.data(), chroma.size() * sizeof(float), shapes[1], 2,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &inputs[1]));
    const char *names[] = {"latent", "chroma"}, *asked[] = {"frame"};
    const size_t given = card.find("\"chroma\":null") == std::string::npos ? 2 : 1;
    check(ort->Run(session, nullptr, names, inputs, given, asked, 1, &frame));

    float *magnitudes;
    check(ort->GetTensorMutableData(frame, reinterpret_cast<void **>(&magnitudes)));
    const int length = int(numbers(card, "frame_length").at(0)), bins = length / 2 + 1;
    std::fprintf(stderr, "%d bins of %d samples at %g Hz, a frame every %g samples\n", bins, length,
                 numbers(card, "sample_rate").at(0), numbers(card, "hop_length").at(0));
    return std::fwrite(magnitudes, sizeof(float), bins, stdout) == size_t(bins) ? 0 : 1;
}
