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
  AnyEncoder() = default;
  AnyEncoder(const AnyEncoder&) = delete;  // what is packed knows where its weights are
  virtual ~AnyEncoder() = default;
};

template <class T> struct Encoder : AnyEncoder {
  static constexpr int FARTHEST = std::is_same<T, float>::value ? 4096 : 0;  // four times as much is waited for
  bool filters(int layer) const { return dilations[layer] <= FARTHEST; }
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
      for (int p = 0; p < 6 && filters(i); p++)
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

// A clip on its way through an encoder. Each layer keeps its last inputs, as far back as it hears, and gives what it
// has heard the future of, where it filters whole fours, which are counted from the clip's beginning, so that it does
// not matter in what blocks it comes. Before the clip and behind it there are zeros at every layer, as in the network.
struct AnyReading {
  virtual ~AnyReading() = default;
  virtual int read(const uint8_t* codes, int n, bool last, int threads, float* means) = 0;
};

template <class T> struct Reading : AnyReading {
  // What a thread takes at once: its sums, of float32 also what is filtered, stay in its second cache.
  static constexpr int MOMENTS = brief<T> && LANES > 8 ? 192 : 96;
  static constexpr int BLOCK = 1536;  // comes in at once, so that what lies between layers does not grow with the clip
  static constexpr bool separate = !std::is_same<T, float>::value;

  // One moment: `x` as products take it, `sum` as updates are added to it. In float32 both are one.
  struct Place {
    T* x;
    float* sum;
    void set(int c, Vec v) const {
      store(sum + c, v);
      if (separate) store_as(x + c, v);
    }
  };

  // A ring of as many moments as can wait; the earliest is number 0.
  struct Inputs {
    size_t size = 0, width = 0, begin = 0, held = 0;
    Array<T> x;
    Array<float> sum;

    void reserve(size_t size_, size_t width_) {
      size = size_, width = width_;
      x.resize(size * width);
      if (separate) sum.resize(size * width);
    }
    size_t at(size_t moment) const {
      const size_t place = begin + moment;
      return place < size ? place : place - size;
    }
    // How many moments from this one on lie behind each other.
    size_t run(size_t moment) const { return size - at(moment); }
    Place operator[](size_t moment) {
      const size_t place = at(moment) * width;
      if constexpr (separate) return {&x[place], &sum[place]};
      else return {&x[place], &x[place]};
    }
    void silence(size_t moments) {
      for (; moments; moments--, held++)
        for (size_t c = 0; c < width; c += LANES) (*this)[held].set(c, Vec{});
    }
    void release(size_t moments) { begin = at(moments), held -= moments; }
  };

  const Encoder<T>& net;
  std::vector<Inputs> inputs;  // of each layer, and what the last one gives
  std::vector<float> levels{0.0f};
  Array<float> mean;
  int pooled = 0;
  std::vector<float> means;  // of the present call

  explicit Reading(const Encoder<T>& net_) : net(net_), inputs(net_.layers + 1), mean(net_.width, 0.0f) {
    size_t most = BLOCK + 1;  // come to a layer before it gives any; behind a clip's last block there is a zero
    for (int i = 0; i < net.layers; i++) {
      const size_t d = net.dilations[i];
      inputs[i].reserve((net.filters(i) ? 6 : 2) * d + std::max(most, d), net.width);
      inputs[i].silence(d);
      most = net.filters(i) ? std::max(4 * d, size_t(BLOCK)) : BLOCK;
    }
    inputs[net.layers].reserve(most, net.width);
  }

  // What one thread works with.
  struct Bench {
    Array<float> sums, inputs;
    Array<T> hidden;
    int moments[MOMENTS];  // counted from the first that the layer can give
  };

  // hidden = ReLU(dilated convolution) at moments `from` and later ones.
  void convolve(int layer, int from, int n, Bench& bench) {
    const size_t W = net.width, d = net.dilations[layer];
    Inputs& in = inputs[layer];
    bench.sums.resize(n * W);
    for (int m = 0, some; m < n; m += some) {
      const size_t t = from + m;
      some = int(std::min({size_t(n - m), in.run(t), in.run(t + d), in.run(t + 2 * d)}));
      multiply<T>(net.dilated[layer], {{in[t].x, W, int(W)}, {in[t + d].x, W, int(W)}, {in[t + 2 * d].x, W, int(W)}},
                  some, &bench.sums[m * W]);
    }
    for (int m = 0; m < n; m++) {
      bench.moments[m] = from + m;
      for (size_t c = 0; c < W; c += LANES) {
        const Vec v = load(&bench.sums[m * W + c]) + load(&net.dilated_bias[layer][c]);
        store_as(&bench.hidden[m * W + c], rectified(v));
      }
    }
  }

  // The same by filtering, for `n` fours of moments, from the one of number `from` on.
  void filter(int layer, int from, int n, Bench& bench) {
    const size_t W = net.width, d = net.dilations[layer], part = n * W;
    bench.inputs.resize(6 * part), bench.sums.resize(6 * part);
    for (size_t q = 0; q < size_t(n); q++) {
      const size_t four = from + q, first = four / d * 4 * d + four % d;
      const float* x[6];
      for (int i = 0; i < 6; i++) x[i] = inputs[layer][first + i * d].sum;
      for (int i = 0; i < 4; i++) bench.moments[i * n + q] = int(first + i * d);
      for (size_t c = 0; c < W; c += LANES) {
        Vec v[6];
        for (int i = 0; i < 6; i++) v[i] = load(x[i] + c);
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
      multiply<T>(net.filtered[p][layer], {{&bench.inputs[p * part], W, int(W)}}, n, &bench.sums[p * part]);
    for (size_t q = 0; q < size_t(n); q++)
      for (size_t c = 0; c < W; c += LANES) {
        Vec m[6];
        for (int p = 0; p < 6; p++) m[p] = load(&bench.sums[p * part + q * W + c]);
        const Vec sum1 = m[1] + m[2], less1 = m[1] - m[2], sum2 = m[3] + m[4], less2 = m[3] - m[4];
        const Vec bias = load(&net.dilated_bias[layer][c]);
        const Vec out[4] = {m[0] + sum1 + sum2, less1 + 2.0f * less2, sum1 + 4.0f * sum2, less1 + 8.0f * less2 + m[5]};
        for (int i = 0; i < 4; i++) {
          const Vec v = out[i] + bias;
          store_as(&bench.hidden[(i * n + q) * W + c], rectified(v));
        }
      }
  }

  // What the layer gives at the `n` moments of the bench, to the next one.
  void add(int layer, int n, Bench& bench) {
    const size_t W = net.width, d = net.dilations[layer];
    const int rows = net.pointwise[layer].rows;
    bench.sums.resize(size_t(n) * rows);
    multiply<T>(net.pointwise[layer], {{bench.hidden.data(), W, int(W)}}, n, bench.sums.data());
    const float* bias = net.pointwise_bias[layer].data();
    Inputs& next = inputs[layer + 1];
    for (int m = 0; m < n; m++) {
      const float* sum = &bench.sums[size_t(m) * rows];
      const float* stream = inputs[layer][bench.moments[m] + d].sum;
      const Place given = next[next.held + bench.moments[m]];
      for (size_t c = 0; c < W; c += LANES) {
        Vec more;
        if (net.gated_)
          more = quotient<T>(load(sum + 2 * c) + load(bias + 2 * c),
                             1.0f + exp2<T>(within(load(sum + 2 * c + LANES) + load(bias + 2 * c + LANES), 60)));
        else more = load(sum + c) + load(bias + c);
        given.set(c, load(stream + c) + more);
      }
    }
  }

  // Gives the next layer what this one can at once, whole fours or, where it has none left, others; how many moments.
  int update(int layer, bool last, Team& team) {
    const int d = net.dilations[layer], waiting = std::max(int(inputs[layer].held) - 2 * d, 0);
    const int fours = net.filters(layer) ? std::min(waiting, std::max(4 * d, BLOCK)) / (4 * d) * d : 0;
    const int others = fours || (net.filters(layer) && !last) ? 0 : std::min(waiting, BLOCK);
    const int all = fours + others, ready = 4 * fours + others, each = (all + team.size() - 1) / team.size();
    if (!ready) return 0;
    const int most = std::min(fours ? MOMENTS / 4 : MOMENTS, (each + MOST - 1) / MOST * MOST);
    team.share((all + most - 1) / most, [&](int piece) {
      const TilesInUse tiles;
      static thread_local Bench bench;
      bench.hidden.resize(size_t(MOMENTS) * net.width);
      const int from = piece * most, n = std::min(most, all - from);
      if constexpr (!separate)
        if (fours) filter(layer, from, n, bench);
      if (!fours) convolve(layer, from, n, bench);
      add(layer, fours ? 4 * n : n, bench);
    });
    inputs[layer].release(ready);
    inputs[layer + 1].held += ready;
    return ready;
  }

  // Takes what waits at a layer through it and all later ones.
  void flow(int layer, bool last, Team& team) {
    if (layer == net.layers) return average();
    while (update(layer, false, team)) flow(layer + 1, false, team);
    if (!last) return;
    inputs[layer].silence(net.dilations[layer]);
    while (update(layer, true, team)) flow(layer + 1, false, team);
    flow(layer + 1, true, team);
  }

  void average() {
    Inputs& given = inputs[net.layers];
    for (size_t t = 0; t < given.held; t++) {
      const float* sum = given[t].sum;
      for (int c = 0; c < net.width; c++) mean[c] += sum[c];
      if (++pooled < net.pool) continue;
      for (int c = 0; c < net.channels; c++) means.push_back(mean[c] / net.pool);
      std::fill(mean.begin(), mean.end(), 0.0f);
      pooled = 0;
    }
    given.release(given.held);
  }

  int read(const uint8_t* codes, int n, bool last, int threads, float* means_) override {
    Team team(threads);
    means.clear();
    int from = 0;
    do {
      const int to = std::min(from + BLOCK, n);
      while (from < to) levels.push_back(level(codes[from++]));
      if (last && to == n) levels.push_back(0.0f);
      const int given = std::max(int(levels.size()) - 2, 0);
      for (int t = 0; t < given; t++, inputs[0].held++)
        for (int c = 0; c < net.width; c += LANES)
          inputs[0][inputs[0].held].set(
              c, load(&net.first_bias[c]) + load(&net.taps[0][c]) * levels[t] +
                     load(&net.taps[1][c]) * levels[t + 1] + load(&net.taps[2][c]) * levels[t + 2]);
      levels.erase(levels.begin(), levels.begin() + given);
      flow(0, last && to == n, team);
    } while (from < n);
    std::copy(means.begin(), means.end(), means_);
    return int(means.size()) / net.channels;
  }
};

}  // namespace
