// An encoder, block by block.
//
// Four outputs of a dilated convolution, a dilation apart from each other, take six products in place of twelve:
// minimal filtering, F(4, 3) of Winograd 1980, "Arithmetic Complexity of Computations", at 0, +-3/4, +-3/2 and
// infinity. The usual 0, +-1 and +-2 lose more to bfloat16. A matrix unit takes all twelve in less time than it takes
// to prepare the six.

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

// Where minimal filtering looks at polynomials, beside 0 and infinity: +-A and +-B.
struct Points {
  static constexpr float A = 0.75f, B = 1.5f, AA = A * A, BB = B * B;
};

template <class T> struct Encoder : AnyEncoder, Points {
#if defined(TILES)
  static constexpr int FARTHEST = brief<T> ? 0 : 4096;
#else
  static constexpr int FARTHEST = 4096;  // four times as much is waited for
#endif
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
      static constexpr double POINTS[5] = {0, A, -A, B, -B};
      static constexpr double SHARES[5] = {AA * BB, 2 * AA * (AA - BB), 2 * AA * (AA - BB), 2 * BB * (BB - AA),
                                           2 * BB * (BB - AA)};
      for (int p = 0; p < 6 && filters(i); p++)
        filtered[p][i].pack(weights, C, width, [&](int r, int k) {
          if (k >= C) return 0.0f;
          const float* tap = weight + (size_t(r) * C + k) * 3;
          return p == 5 ? tap[2] : float((tap[0] + POINTS[p] * (tap[1] + POINTS[p] * tap[2])) / SHARES[p]);
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

template <class T> struct Reading : AnyReading, Points {
  // What a thread takes at once: its sums and what its products take stay in its second cache.
  static constexpr int MOMENTS = brief<T> && LANES > 8 ? 192 : 96;
  static constexpr int BLOCK = 1536;  // comes in at once, so that what lies between layers does not grow with the clip

  // A ring of as many moments as can wait; the earliest is number 0.
  struct Inputs {
    size_t size = 0, width = 0, begin = 0, held = 0;
    Array<float> values;

    void reserve(size_t size_, size_t width_) {
      size = size_, width = width_;
      values.resize(size * width);
    }
    size_t at(size_t moment) const {
      const size_t place = begin + moment;
      return place < size ? place : place - size;
    }
    float* operator[](size_t moment) { return &values[at(moment) * width]; }
    void silence(size_t moments) {
      for (; moments; moments--, held++) std::fill_n((*this)[held], width, 0.0f);
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
    Array<float> sums;
    Array<T> inputs, hidden;
    int moments[MOMENTS];  // counted from the first that the layer can give
  };

  std::vector<Bench> benches;

  // hidden = ReLU(dilated convolution) at moments `from` and later ones.
  void convolve(int layer, int from, int n, Bench& bench) {
    const size_t W = net.width, d = net.dilations[layer];
    bench.inputs.resize(3 * n * W), bench.sums.resize(n * W);
    for (int m = 0; m < n; m++)
      for (int tap = 0; tap < 3; tap++) {
        const float* x = inputs[layer][from + m + tap * d];
        T* to = &bench.inputs[(3 * m + tap) * W];
        for (size_t c = 0; c < W; c += LANES) store_as(to + c, load(x + c));
      }
    multiply<T>(net.dilated[layer], {{bench.inputs.data(), 3 * W, int(3 * W)}}, n, bench.sums.data());
    for (int m = 0; m < n; m++) {
      bench.moments[m] = from + m;
      const float *sum = &bench.sums[m * W], *bias = net.dilated_bias[layer].data();
      T* to = &bench.hidden[m * W];
      for (size_t c = 0; c < W; c += LANES) store_as(to + c, rectified(load(sum + c) + load(bias + c)));
    }
  }

  // The same by filtering, for `n` fours of moments, from the one of number `from` on.
  void filter(int layer, int from, int n, Bench& bench) {
    const size_t W = net.width, d = net.dilations[layer], part = n * W;
    bench.inputs.resize(6 * part), bench.sums.resize(6 * part);
    for (size_t q = 0; q < size_t(n); q++) {
      const size_t four = from + q, first = four / d * 4 * d + four % d;
      const float* x[6];
      for (int i = 0; i < 6; i++) x[i] = inputs[layer][first + i * d];
      for (int i = 0; i < 4; i++) bench.moments[i * n + q] = int(first + i * d);
      T* row = &bench.inputs[q * W];
      for (size_t c = 0; c < W; c += LANES) {
        Vec v[6];
        for (int i = 0; i < 6; i++) v[i] = load(x[i] + c);
        const Vec odd = A * (v[3] - BB * v[1]), even = v[4] - BB * v[2];
        const Vec odd2 = B * (v[3] - AA * v[1]), even2 = v[4] - AA * v[2];
        T* to = row + c;
        store_as(to, (AA * BB) * v[0] - (AA + BB) * v[2] + v[4]);
        store_as(to + part, even + odd);
        store_as(to + 2 * part, even - odd);
        store_as(to + 3 * part, even2 + odd2);
        store_as(to + 4 * part, even2 - odd2);
        store_as(to + 5 * part, (AA * BB) * v[1] - (AA + BB) * v[3] + v[5]);
      }
    }
    for (int p = 0; p < 6; p++)
      multiply<T>(net.filtered[p][layer], {{&bench.inputs[p * part], W, int(W)}}, n, &bench.sums[p * part]);
    const float* bias = net.dilated_bias[layer].data();
    for (size_t q = 0; q < size_t(n); q++) {
      const float* sum = &bench.sums[q * W];
      T* to = &bench.hidden[q * W];
      for (size_t c = 0; c < W; c += LANES) {
        Vec m[6];
        for (int p = 0; p < 6; p++) m[p] = load(sum + p * part + c);
        const Vec sum1 = m[1] + m[2], less1 = m[1] - m[2], sum2 = m[3] + m[4], less2 = m[3] - m[4];
        const Vec out[4] = {m[0] + sum1 + sum2, A * less1 + B * less2, AA * sum1 + BB * sum2,
                            A * AA * less1 + B * BB * less2 + m[5]};
        for (int i = 0; i < 4; i++) {
          const Vec v = out[i] + load(bias + c);
          store_as(to + i * part + c, rectified(v));
        }
      }
    }
  }

  // What the layer gives at the `n` moments of the bench, to the next one.
  void add(int layer, int n, Bench& bench) {
    const size_t W = net.width, d = net.dilations[layer];
    const int rows = net.pointwise[layer].rows;
    bench.sums.resize(size_t(n) * rows);
    Inputs& next = inputs[layer + 1];
    const auto given = [&](int m) { return next[next.held + bench.moments[m]]; };
    const auto fetch = [&](int m, int r) {
      if (r < int(W)) prefetch(given(m) + r, PANEL);
    };
    multiply<T>(net.pointwise[layer], {{bench.hidden.data(), W, int(W)}}, n, bench.sums.data(), nullptr, fetch);
    const float* bias = net.pointwise_bias[layer].data();
    const bool gated = net.gated_;
    for (int m = 0; m < n; m++) {
      const float* sum = &bench.sums[size_t(m) * rows];
      const float* stream = inputs[layer][bench.moments[m] + d];
      float* to = given(m);
      for (size_t c = 0; c < W; c += LANES) {
        Vec more;
        if (gated)
          more = quotient<T>(load(sum + 2 * c) + load(bias + 2 * c),
                             1.0f + exp2<T>(within(load(sum + 2 * c + LANES) + load(bias + 2 * c + LANES), 60)));
        else more = load(sum + c) + load(bias + c);
        store(to + c, load(stream + c) + more);
      }
    }
  }

  // Gives the next layer what this one can at once, whole fours or, where it has none left, others; how many moments.
  int update(int layer, bool last, Team& team) {
    const int d = net.dilations[layer], waiting = std::max(int(inputs[layer].held) - 2 * d, 0);
    const int fours = net.filters(layer) ? std::min(waiting, std::max(4 * d, BLOCK)) / (4 * d) * d : 0;
    const int others = fours || (net.filters(layer) && !last) ? 0 : std::min(waiting, BLOCK);
    const int all = fours + others, ready = 4 * fours + others;
    if (!ready) return 0;
    team.share(all, MOST, fours ? MOMENTS / 4 : MOMENTS, [&](int who, int from, int n) {
      const TilesInUse tiles;
      Bench& bench = benches[who];
      bench.hidden.resize(size_t(MOMENTS) * net.width);
      if (fours) filter(layer, from, n, bench);
      else convolve(layer, from, n, bench);
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
      const float* sum = given[t];
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
    benches.resize(team.size());
    means.clear();
    int from = 0;
    do {
      const int to = std::min(from + BLOCK, n);
      while (from < to) levels.push_back(level(codes[from++]));
      if (last && to == n) levels.push_back(0.0f);
      const int given = std::max(int(levels.size()) - 2, 0);
      for (int t = 0; t < given; t++, inputs[0].held++)
        for (int c = 0; c < net.width; c += LANES)
          store(inputs[0][inputs[0].held] + c,
                load(&net.first_bias[c]) + load(&net.taps[0][c]) * levels[t] + load(&net.taps[1][c]) * levels[t + 1] +
                    load(&net.taps[2][c]) * levels[t + 2]);
      levels.erase(levels.begin(), levels.begin() + given);
      flow(0, last && to == n, team);
    } while (from < n);
    std::copy(means.begin(), means.end(), means_);
    return int(means.size()) / net.channels;
  }
};

}  // namespace
