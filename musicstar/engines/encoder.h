// An encoder, block by block.

#pragma once

#include "product.h"

namespace {

struct EncoderSizes {
  int32_t layers, channels, pool, gated;
};

struct AnyEncoder {
  virtual ~AnyEncoder() = default;
};

template <class T> struct Encoder : AnyEncoder {
  int layers, channels, width, pool;
  bool gated_;
  std::vector<int> dilations;
  std::vector<Packed<T>> dilated, pointwise;
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
    for (int i = 0; i < layers; i++) {
      const float* weight = from.next();
      dilated[i].pack(C, 3 * width, [&](int r, int k) {
        return k % width < C ? weight[(size_t(r) * C + k % width) * 3 + k / width] : 0.0f;
      });
      widen(dilated_bias[i], from.next(), C);
      const float *point = from.next(), *point_bias = from.next();
      if (!gated_) {
        pointwise[i].pack(C, width, [&](int r, int k) { return k < C ? point[size_t(r) * C + k] : 0.0f; });
        widen(pointwise_bias[i], point_bias, C);
        continue;
      }
      // The first half passes, the second decides: the other way about than in a decoder.
      const auto scale = [](int r) { return r % PANEL < LANES ? 1.0f : -LOG2E; };
      pointwise[i].pack(pairs.rows(), width, [&](int r, int k) {
        const int row = pairs.row(r);
        return row < 0 || k >= C ? 0.0f : scale(r) * point[size_t(row) * C + k];
      });
      pointwise_bias[i].assign(pairs.rows(), 0.0f);
      for (int r = 0; r < pairs.rows(); r++)
        if (const int row = pairs.row(r); row >= 0) pointwise_bias[i][r] = scale(r) * point_bias[row];
    }
  }
};

// A clip on its way through an encoder. Each layer keeps its last inputs, two dilations of them, and gives what it has
// heard the future of; before the clip and behind it there are zeros at every layer, as in the network.
struct AnyReading {
  virtual ~AnyReading() = default;
  virtual int read(const uint8_t* codes, int n, bool last, int threads, float* means) = 0;
};

template <class T> struct Reading : AnyReading {
  static constexpr int MOMENTS = 96;
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

  // Appends to a layer's inputs; behind the last are zeros.
  void append(int layer, const Array<float>& values, bool last) {
    Inputs& to = inputs[layer];
    const size_t old = to.x.size(), behind = last ? size_t(net.dilations[layer]) * net.width : 0;
    to.x.resize(old + values.size() + behind, T(0.0f));
    for (size_t i = 0; i < values.size(); i += LANES) store_as(&to.x[old + i], load(&values[i]));
    if (separate) {
      to.sum.insert(to.sum.end(), values.begin(), values.end());
      to.sum.resize(to.sum.size() + behind, 0.0f);
    }
  }

  // The layer's outputs for the moments `from` to `to`, counted from the first it can give.
  void update(int layer, int from, int to, Array<float>& out) const {
    const size_t W = net.width, d = net.dilations[layer];
    const int n = to - from, rows = net.pointwise[layer].rows;
    static thread_local Array<float> sums;
    static thread_local Array<T> hidden;
    sums.resize(n * std::max<size_t>(W, rows)), hidden.resize(n * W);
    const T *before[MOMENTS], *present[MOMENTS], *after[MOMENTS], *rectified[MOMENTS];
    for (int t = 0; t < n; t++) {
      before[t] = &inputs[layer].x[(from + t) * W];
      present[t] = before[t] + d * W, after[t] = present[t] + d * W, rectified[t] = &hidden[t * W];
    }
    multiply<T>(net.dilated[layer], {{before, int(W)}, {present, int(W)}, {after, int(W)}}, n, sums.data());
    for (int t = 0; t < n; t++)
      for (size_t c = 0; c < W; c += LANES) {
        const Vec v = load(&sums[t * W + c]) + load(&net.dilated_bias[layer][c]);
        store_as(&hidden[t * W + c], v > 0.0f ? v : Vec{});
      }
    multiply<T>(net.pointwise[layer], {{rectified, int(W)}}, n, sums.data());
    const float* stream;
    if constexpr (separate) stream = &inputs[layer].sum[(from + d) * W];
    else stream = &inputs[layer].x[(from + d) * W];
    const float* bias = net.pointwise_bias[layer].data();
    for (int t = 0; t < n; t++)
      for (size_t c = 0; c < W; c += LANES) {
        const float* sum = &sums[size_t(t) * rows];
        Vec more;
        if (net.gated_)
          more = (load(sum + 2 * c) + load(bias + 2 * c)) /
                 (1.0f + exp2(within(load(sum + 2 * c + LANES) + load(bias + 2 * c + LANES), 60)));
        else more = load(sum + c) + load(bias + c);
        store(&out[(from + t) * W + c], load(stream + t * W + c) + more);
      }
  }

  int read(const uint8_t* codes, int n, bool last, int threads, float* means) override {
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
      const int ready = std::max(int(held.x.size() / W) - 2 * net.dilations[i], 0);
      values.resize(ready * W);
      share((ready + MOMENTS - 1) / MOMENTS, threads, [&](int piece) {
        update(i, piece * MOMENTS, std::min((piece + 1) * MOMENTS, ready), values);
      });
      held.x.erase(held.x.begin(), held.x.begin() + ready * W);
      if (separate) held.sum.erase(held.sum.begin(), held.sum.begin() + ready * W);
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
