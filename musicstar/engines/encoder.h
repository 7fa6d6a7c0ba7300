// An encoder, block by block.
//
// In float32 four outputs of a dilated convolution, a dilation apart from each other, take six products in place of
// twelve: minimal filtering, F(4, 3) of Winograd 1980, "Arithmetic Complexity of Computations", at 0, 1, -1, 2, -2 and
// infinity.

#pragma once

#include "product.h"
#include "threads.h"

namespace {

struct EncoderSizes {
  int32_t layers, channels, pool, gated;
};

struct AnyEncoder {
  virtual ~AnyEncoder() = default;
};

template <class T> struct Encoder : AnyEncoder {
  static constexpr int FARTHEST = std::is_same<T, float>::value ? 4096 : 0;  // four times as much is waited for
  int layers, channels, width, pool;
  bool gated_;
  std::vector<int> dilations;
  Large<T> weights;
  std::vector<Packed<T>> dilated, pointwise;
  std::vector<Packed<T>> filtered[6];  // of the layers that it pays for; of others empty
  std::vector<Array<float>> dilated_bias, pointwise_bias;
  Array<float> taps[3], first_bias;

  Encoder(const EncoderSizes& sizes, const int32_t* dilations_, Reader from)
      : layers(sizes.layers), channels(sizes.channels), width(padded(sizes.channels)), pool(sizes.pool),
        gated_(sizes.gated), dilations(dilations_, dilations_ + sizes.layers), dilated(layers), pointwise(layers),
        dilated_bias(layers), pointwise_bias(layers) {
    const int C = channels;
    const Pairs pairs{C, width};
    const float *first = from.next(), *bias = from.next();
    for (int tap = 0; tap < 3; tap++) {
      taps[tap].assign(width, 0.0f);
      for (int c = 0; c < C; c++) taps[tap][c] = first[3 * c + tap];
    }
    widen(first_bias, bias, C);
    for (auto& part : filtered) part.resize(layers);
    for (int i = 0; i < layers; i++) {
      const float* weight = from.next();
      static constexpr double TAPS[6][3] = {{1 / 4.0, 0, 0},
                                            {-1 / 6.0, -1 / 6.0, -1 / 6.0},
                                            {-1 / 6.0, 1 / 6.0, -1 / 6.0},
                                            {1 / 24.0, 1 / 12.0, 1 / 6.0},
                                            {1 / 24.0, -1 / 12.0, 1 / 6.0},
                                            {0, 0, 1}};
      for (int p = 0; p < 6 && dilations[i] <= FARTHEST; p++)
        filtered[p][i].pack(weights, C, width, [&](int r, int k) {
          double sum = 0;
          for (int tap = 0; tap < 3 && k < C; tap++) sum += TAPS[p][tap] * weight[(size_t(r) * C + k) * 3 + tap];
          return float(sum);
        });
      dilated[i].pack(weights, C, 3 * width, [&](int r, int k) {
        return k % width < C ? weight[(size_t(r) * C + k % width) * 3 + k / width] : 0.0f;
      });
      widen(dilated_bias[i], from.next(), C);
      const float *point = from.next(), *point_bias = from.next();
      if (!gated_) {
        pointwise[i].pack(weights, C, width, [&](int r, int k) { return k < C ? point[size_t(r) * C + k] : 0.0f; });
        widen(pointwise_bias[i], point_bias, C);
        continue;
      }
      // The first half passes, the second decides: the other way about than in a decoder.
      const auto scale = [](int r) { return r % PANEL < LANES ? 1.0f : -LOG2E; };
      pointwise[i].pack(weights, pairs.rows(), width, [&](int r, int k) {
        const int row = pairs.row(r);
        return row < 0 || k >= C ? 0.0f : scale(r) * point[size_t(row) * C + k];
      });
      pointwise_bias[i].assign(pairs.rows(), 0.0f);
      for (int r = 0; r < pairs.rows(); r++)
        if (const int row = pairs.row(r); row >= 0) pointwise_bias[i][r] = scale(r) * point_bias[row];
    }
    weights.shrink_to_fit();
  }
};

// A clip on its way through an encoder. Each layer keeps its last inputs, two dilations of them, and gives what it has
// heard the future of, where it filters whole fours, which are counted from the clip's beginning, so that it does not
// matter in what blocks it comes. Before the clip and behind it there are zeros at every layer, as in the network.
struct AnyReading {
  virtual ~AnyReading() = default;
  virtual int read(const uint8_t* codes, int n, bool last, int threads, float* means) = 0;
};

template <class T> struct Reading : AnyReading {
  // What a thread takes at once: its sums stay in its second cache, which is larger where vectors are.
  static constexpr int MOMENTS = LANES > 8 ? 192 : 96;
  static constexpr int BLOCK = 8192;  // and all layers, so that what lies between them does not grow with the clip
  const Encoder<T>& net;
  struct Inputs {
    Array<T> x;        // as the products take them
    Array<float> sum;  // as updates are added to them; empty where both are one
  };
  std::vector<Inputs> inputs;
  std::vector<float> levels{0.0f};
  Array<float> mean;
  int heard = 0;

  explicit Reading(const Encoder<T>& net_) : net(net_), inputs(net_.layers), mean(net_.width, 0.0f) {
    for (int i = 0; i < net.layers; i++) {
      const size_t before = size_t(net.dilations[i]) * net.width;
      inputs[i].x.assign(before, T(0.0f));
      if (separate) inputs[i].sum.assign(before, 0.0f);
    }
  }

  static constexpr bool separate = !std::is_same<T, float>::value;

  // `size` values from one on, zeros where there are no more. A vector would go value by value.
  template <class Value> static Array<Value> part(const Array<Value>& of, size_t from, size_t size) {
    Array<Value> some(size);
    const size_t there = std::min(size, of.size() - from);
    if (there) std::memcpy(some.data(), of.data() + from, there * sizeof(Value));
    return some;
  }

  // Appends to a layer's inputs, taking no more memory than needed; behind the last are zeros.
  void append(int layer, const Array<float>& values, bool last) {
    Inputs& to = inputs[layer];
    const size_t old = to.x.size(), behind = last ? size_t(net.dilations[layer]) * net.width : 0;
    const size_t size = old + values.size() + behind;
    to.x = part(to.x, 0, size);
    for (size_t i = 0; i < values.size(); i += LANES) store_as(&to.x[old + i], load(&values[i]));
    if (separate) {
      to.sum = part(to.sum, 0, size);
      std::copy(values.begin(), values.end(), to.sum.begin() + old);
    }
  }

  // What one thread works with.
  struct Bench {
    Array<float> sums, inputs;
    Array<T> hidden;
    int at[MOMENTS];  // the moments, counted from the first that the layer can give
  };

  // hidden = ReLU(dilated convolution) at moments `from` and later ones.
  void convolve(int layer, size_t from, int n, Bench& bench) const {
    const size_t W = net.width, d = net.dilations[layer];
    const T* x = &inputs[layer].x[from * W];
    bench.sums.resize(n * W);
    multiply<T>(net.dilated[layer], {{x, W, int(W)}, {x + d * W, W, int(W)}, {x + 2 * d * W, W, int(W)}}, n,
                bench.sums.data());
    for (int m = 0; m < n; m++) {
      bench.at[m] = int(from) + m;
      for (size_t c = 0; c < W; c += LANES) {
        const Vec v = load(&bench.sums[m * W + c]) + load(&net.dilated_bias[layer][c]);
        store_as(&bench.hidden[m * W + c], v > 0.0f ? v : Vec{});
      }
    }
  }

  // The same by filtering, for `n` fours of moments, from the one of number `from` on.
  void filter(int layer, size_t from, int n, Bench& bench) const {
    const size_t W = net.width, d = net.dilations[layer], part = n * W;
    const float* x = inputs[layer].x.data();
    bench.inputs.resize(6 * part), bench.sums.resize(6 * part);
    for (size_t q = 0; q < size_t(n); q++) {
      const size_t four = from + q, first = four / d * 4 * d + four % d;
      for (int i = 0; i < 4; i++) bench.at[i * n + q] = int(first + i * d);
      for (size_t c = 0; c < W; c += LANES) {
        Vec v[6];
        for (int i = 0; i < 6; i++) v[i] = load(x + (first + i * d) * W + c);
        const Vec odd = v[3] - 4.0f * v[1], even = v[4] - 4.0f * v[2];
        const Vec odd2 = 2.0f * (v[3] - v[1]), even2 = v[4] - v[2];
        float* to = &bench.inputs[q * W + c];
        store(to, 4.0f * v[0] - 5.0f * v[2] + v[4]);
        store(to + part, even + odd);
        store(to + 2 * part, even - odd);
        store(to + 3 * part, even2 + odd2);
        store(to + 4 * part, even2 - odd2);
        store(to + 5 * part, 4.0f * v[1] - 5.0f * v[3] + v[5]);
      }
    }
    for (int p = 0; p < 6; p++)
      multiply<T>(net.filtered[p][layer], {{&bench.inputs[p * part], W, int(W)}}, n,
                  &bench.sums[p * part]);
    for (size_t q = 0; q < size_t(n); q++)
      for (size_t c = 0; c < W; c += LANES) {
        Vec m[6];
        for (int p = 0; p < 6; p++) m[p] = load(&bench.sums[p * part + q * W + c]);
        const Vec sum1 = m[1] + m[2], less1 = m[1] - m[2], sum2 = m[3] + m[4], less2 = m[3] - m[4];
        const Vec bias = load(&net.dilated_bias[layer][c]);
        const Vec out[4] = {m[0] + sum1 + sum2, less1 + 2.0f * less2, sum1 + 4.0f * sum2, less1 + 8.0f * less2 + m[5]};
        for (int i = 0; i < 4; i++) {
          const Vec v = out[i] + bias;
          store_as(&bench.hidden[(i * n + q) * W + c], v > 0.0f ? v : Vec{});
        }
      }
  }

  // What the layer gives at the `n` moments of the bench.
  void add(int layer, int n, Bench& bench, Array<float>& out) const {
    const size_t W = net.width, d = net.dilations[layer];
    const int rows = net.pointwise[layer].rows;
    bench.sums.resize(size_t(n) * rows);
    multiply<T>(net.pointwise[layer], {{bench.hidden.data(), W, int(W)}}, n, bench.sums.data());
    const float* stream;
    if constexpr (separate) stream = &inputs[layer].sum[d * W];
    else stream = &inputs[layer].x[d * W];
    const float* bias = net.pointwise_bias[layer].data();
    for (int m = 0; m < n; m++) {
      const float* sum = &bench.sums[size_t(m) * rows];
      const size_t at = bench.at[m] * W;
      for (size_t c = 0; c < W; c += LANES) {
        Vec more;
        if (net.gated_)
          more = (load(sum + 2 * c) + load(bias + 2 * c)) /
                 (1.0f + exp2(within(load(sum + 2 * c + LANES) + load(bias + 2 * c + LANES), 60)));
        else more = load(sum + c) + load(bias + c);
        store(&out[at + c], load(stream + at + c) + more);
      }
    }
  }

  // The layer's outputs for as many moments as it can give; their number.
  int update(int layer, bool last, int threads, Array<float>& out) const {
    const int W = net.width, d = net.dilations[layer];
    const bool filtering = d <= net.FARTHEST;
    const int heard = std::max(int(inputs[layer].x.size() / W) - 2 * d, 0);
    const int fours = filtering ? heard / (4 * d) * d : 0, ready = filtering && !last ? 4 * fours : heard;
    constexpr int MOST_FOURS = MOMENTS / 4;
    const int pieces = (fours + MOST_FOURS - 1) / MOST_FOURS, others = (ready - 4 * fours + MOMENTS - 1) / MOMENTS;
    out.resize(size_t(ready) * W);
    share(pieces + others, threads, [&](int piece) {
      static thread_local Bench bench;
      bench.hidden.resize(size_t(MOMENTS) * W);
      int n;
      if (piece < pieces) {
        const int from = piece * MOST_FOURS, count = std::min(MOST_FOURS, fours - from);
        if constexpr (!separate) filter(layer, from, count, bench);
        n = 4 * count;
      } else {
        const int from = 4 * fours + (piece - pieces) * MOMENTS;
        n = std::min(MOMENTS, ready - from);
        convolve(layer, from, n, bench);
      }
      add(layer, n, bench, out);
    });
    return ready;
  }

  int read(const uint8_t* codes, int n, bool last, int threads, float* means) override {
    int frames = 0, from = 0;
    do {
      const int some = std::min(BLOCK, n - from);
      frames += pass(codes + from, some, last && from + some == n, threads, means + size_t(frames) * net.channels);
      from += some;
    } while (from < n);
    return frames;
  }

  int pass(const uint8_t* codes, int n, bool last, int threads, float* means) {
    const size_t W = net.width;
    for (int i = 0; i < n; i++) levels.push_back(level(codes[i]));
    if (last) levels.push_back(0.0f);
    const int given = std::max(int(levels.size()) - 2, 0);
    Array<float> values(given * W);
    for (int t = 0; t < given; t++)
      for (size_t c = 0; c < W; c += LANES)
        store(&values[t * W + c], load(&net.first_bias[c]) + load(&net.taps[0][c]) * levels[t] +
                                      load(&net.taps[1][c]) * levels[t + 1] + load(&net.taps[2][c]) * levels[t + 2]);
    levels.erase(levels.begin(), levels.begin() + given);
    for (int i = 0; i < net.layers; i++) {
      append(i, values, last);
      Inputs& held = inputs[i];
      const int ready = update(i, last, threads, values);
      if (!ready && !last) continue;
      // What was given is let go of, and the memory with it.
      const size_t from = ready * W, left = last ? 0 : held.x.size() - from;
      held.x = part(held.x, from, left);
      if (separate) held.sum = part(held.sum, from, left);
    }
    int frames = 0;
    for (size_t t = 0; t < values.size() / W; t++) {
      for (size_t c = 0; c < W; c++) mean[c] += values[t * W + c];
      if (++heard < net.pool) continue;
      for (int c = 0; c < net.channels; c++) means[size_t(frames) * net.channels + c] = mean[c] / net.pool;
      std::fill(mean.begin(), mean.end(), 0.0f);
      heard = 0, frames++;
    }
    return frames;
  }
};

}  // namespace
