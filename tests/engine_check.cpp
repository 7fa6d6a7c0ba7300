// Plays and reads a little in several threads, for the sanitizers to look on.

#include "../musicstar/engines/wavenet.cpp"

#include <cstdio>
#include <random>

namespace {

std::mt19937 source(1);

struct Weights {
  std::vector<std::vector<float>> tensors;
  std::vector<const float*> pointers;
  void add(size_t n) {
    std::normal_distribution<float> normal(0.0f, 0.3f);
    tensors.emplace_back(n);
    for (float& w : tensors.back()) w = normal(source);
    pointers.push_back(tensors.back().data());
  }
};

double decode(int bfloat, int C, int S, int streams, int threads) {
  const int latent = 5, steps = 45;
  const std::vector<int32_t> dilations{1, 2, 4, 8, 16, 1, 2, 4, 8, 16};
  Weights w;
  for (const int n : {2 * C, C, S * C, S}) w.add(n);
  for (size_t i = 0; i < dilations.size(); i++)
    for (const int n : {4 * C * C, 2 * C, 2 * C * latent, 2 * C, C * C, C, S * C, S}) w.add(n);
  for (const int n : {S * latent, S, S * S, S, 256 * S, 256}) w.add(n);
  const DecoderSizes sizes{int(dilations.size()), C, S, latent};
  void* decoder = decoder_new(bfloat, &sizes, dilations.data(), w.pointers.data());
  std::vector<float> latents(latent, 0.5f), draws(steps, 0.25f), logits(size_t(streams) * steps * 256);
  std::vector<uint8_t> codes(size_t(streams) * steps);
  std::vector<Item> items;
  for (int i = 0; i < streams; i++) {
    const float* drawn = i % 2 ? draws.data() : nullptr;
    items.push_back({stream_new(bfloat, decoder), latents.data(), drawn, nullptr, &codes[size_t(i) * steps],
                     &logits[size_t(i) * steps * 256], 1.0f});
  }
  for (int again = 0; again < 2; again++)
    Team(threads).share(streams, 18, 18, [&](int, int from, int n) { play(&items[from], n, steps); });
  double sum = 0;
  for (const float v : logits) sum += v;
  for (const Item& item : items) stream_free(item.stream);
  decoder_free(decoder);
  return sum;
}

double encode(int bfloat, int C, int gated, int threads) {
  const int pool = 50;
  const std::vector<int32_t> dilations{1, 2, 4, 8, 16, 1, 2, 4, 8, 16};
  Weights w;
  for (const int n : {3 * C, C}) w.add(n);
  for (size_t i = 0; i < dilations.size(); i++)
    for (const int n : {3 * C * C, C, (1 + gated) * C * C, (1 + gated) * C}) w.add(n);
  const EncoderSizes sizes{int(dilations.size()), C, pool, gated};
  void* encoder = encoder_new(bfloat, &sizes, dilations.data(), w.pointers.data());
  void* reading = reading_new(bfloat, encoder);
  std::vector<float> means(100 * C);
  double sum = 0;
  int heard = 0;
  for (const int n : {1, 7, 3300, 1536}) {
    std::vector<uint8_t> codes(n, uint8_t(n));
    heard += n;
    const int frames = reading_read(reading, codes.data(), n, heard == 4844, threads, means.data());
    for (int i = 0; i < frames * C; i++) sum += means[i];
  }
  reading_free(reading);
  encoder_free(encoder);
  return sum;
}

}  // namespace

int main() {
  if (!engine_permitted()) return 1;
  for (const int bfloat : {0, 1}) {
    for (const int streams : {1, 2, 3, 5, 8, 38}) std::printf("%g\n", decode(bfloat, 40, 20, streams, 3));
    for (const int gated : {0, 1}) std::printf("%g\n", encode(bfloat, 12, gated, 3));
  }
}
