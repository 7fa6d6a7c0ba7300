// An encoder, block by block.
//
// Outputs of a dilated convolution that are a dilation apart from each other take, six of them, eight products in place
// of eighteen: minimal filtering, F(6, 3) of Winograd 1980, "Arithmetic Complexity of Computations". In bfloat16, which
// loses more by it, four take six, F(4, 3). A matrix unit takes all twelve in less time than it takes to prepare the
// six.

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

// Minimal filtering looks at polynomials at 0, at some points to either side and at infinity. These lose least to
// rounding: F(6, 3) is off by 2.4 times as much as products in float32 are without it, F(4, 3) by 1.2 times.
template <class T> struct Filtering {
  static constexpr int PAIRS = brief<T> ? 2 : 3, OUTPUTS = 2 * PAIRS, PRODUCTS = OUTPUTS + 2;
  static constexpr double POINTS[] = {brief<T> ? 0.75 : 0.5, brief<T> ? 1.5 : 1.0, 2.0};

  // The product of y - p^2 over all points but one, from its constant on; by default over all.
  struct Polynomial {
    double at[PAIRS + 1] = {1.0};
    constexpr explicit Polynomial(int but = PAIRS) {
      for (int i = 0; i < PAIRS; i++) {
        if (i == but) continue;
        for (int k = PAIRS; k >= 0; k--) at[k] = (k ? at[k - 1] : 0.0) - POINTS[i] * POINTS[i] * at[k];
      }
    }
    constexpr double operator()(double y) const {
      double sum = 0.0;
      for (int k = PAIRS; k >= 0; k--) sum = sum * y + at[k];
      return sum;
    }
  };

  // What a product's weights are made of: of three taps, those at one of the points.
  static double weight(int product, const float* tap) {
    if (product == PRODUCTS - 1) return tap[2];
    if (!product) return tap[0] / Polynomial().at[0];
    const int pair = (product - 1) / 2;
    const double point = product % 2 ? POINTS[pair] : -POINTS[pair], square = point * point;
    return (tap[0] + point * (tap[1] + point * tap[2])) / (2.0 * square * Polynomial(pair)(square));
  }

  // What the products take, of so many inputs.
  static void take(const Vec* x, Vec* to) {
    constexpr Polynomial whole, but[] = {Polynomial(0), Polynomial(1), Polynomial(2)};
    const auto sum = [&](const Polynomial& polynomial, int from, int terms) {
      Vec v = float(polynomial.at[0]) * x[from];
#pragma GCC unroll 4
      for (int k = 1; k < terms; k++) v = v + float(polynomial.at[k]) * x[from + 2 * k];
      return v;
    };
    to[0] = sum(whole, 0, PAIRS + 1), to[PRODUCTS - 1] = sum(whole, 1, PAIRS + 1);
#pragma GCC unroll 4
    for (int i = 0; i < PAIRS; i++) {
      const Vec odd = float(POINTS[i]) * sum(but[i], 1, PAIRS), even = sum(but[i], 2, PAIRS);
      to[1 + 2 * i] = even + odd, to[2 + 2 * i] = even - odd;
    }
  }

  // What they give, to which something may be added.
  static void give(const Vec* products, Vec more, Vec* to) {
    Vec sums[2][PAIRS];
#pragma GCC unroll 4
    for (int i = 0; i < PAIRS; i++) {
      const Vec above = products[1 + 2 * i], below = products[2 + 2 * i];
      sums[0][i] = above + below, sums[1][i] = above - below;
    }
#pragma GCC unroll 8
    for (int t = 0; t < OUTPUTS; t++) {
      to[t] = t ? more : more + products[0];
#pragma GCC unroll 4
      for (int i = 0; i < PAIRS; i++) to[t] = to[t] + float(power(POINTS[i], t)) * sums[t % 2][i];
    }
    to[OUTPUTS - 1] = to[OUTPUTS - 1] + products[PRODUCTS - 1];
  }
  static constexpr double power(double x, int n) { return n ? x * power(x, n - 1) : 1.0; }
};

template <class T> struct Encoder : AnyEncoder {
  typedef Filtering<T> F;
#if defined(TILES)
  static constexpr int FARTHEST = brief<T> ? 0 : 4096;
#else
  static constexpr int FARTHEST = 4096;  // six times as much is waited for
#endif
  bool filters(int layer) const { return dilations[layer] <= FARTHEST; }
  int layers, channels, width, pool;
  bool gated_;
  std::vector<int> dilations;
  Large<T> weights;
  std::vector<Packed<T>> dilated, pointwise;
  std::vector<Packed<T>> filtered[F::PRODUCTS];  // of the layers that it pays for; of others empty
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
      for (int p = 0; p < F::PRODUCTS && filters(i); p++)
        filtered[p][i].pack(weights, C, width, [&](int r, int k) {
          return k < C ? float(F::weight(p, weight + (size_t(r) * C + k) * 3)) : 0.0f;
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
// has heard the future of, where it filters whole groups, which are counted from the clip's beginning, so that it does
// not matter in what blocks it comes. Before the clip and behind it there are zeros at every layer, as in the network.
struct AnyReading {
  virtual ~AnyReading() = default;
  virtual int read(const uint8_t* codes, int n, bool last, int threads, float* means) = 0;
};

template <class T> struct Reading : AnyReading {
  typedef Filtering<T> F;
  // What a thread takes at once: its sums and what its products take stay in its second cache.
  static constexpr int MOMENTS = LANES > 8 ? 192 : 144;
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
      inputs[i].reserve((net.filters(i) ? F::PRODUCTS : 2) * d + std::max(most, d), net.width);
      inputs[i].silence(d);
      most = net.filters(i) ? std::max(F::OUTPUTS * d, size_t(BLOCK)) : BLOCK;
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

  // The same by filtering, for `n` groups of moments, from the one of number `from` on.
  void filter(int layer, int from, int n, Bench& bench) {
    const size_t W = net.width, d = net.dilations[layer], part = n * W;
    bench.inputs.resize(F::PRODUCTS * part), bench.sums.resize(F::PRODUCTS * part);
    for (size_t q = 0; q < size_t(n); q++) {
      const size_t group = from + q, first = group / d * F::OUTPUTS * d + group % d;
      const float* x[F::PRODUCTS];
      for (int i = 0; i < F::PRODUCTS; i++) x[i] = inputs[layer][first + i * d];
      for (int i = 0; i < F::OUTPUTS; i++) bench.moments[i * n + q] = int(first + i * d);
      T* to = &bench.inputs[q * W];
      for (size_t c = 0; c < W; c += LANES) {
        Vec heard[F::PRODUCTS], taken[F::PRODUCTS];
        for (int i = 0; i < F::PRODUCTS; i++) heard[i] = load(x[i] + c);
        F::take(heard, taken);
        for (int p = 0; p < F::PRODUCTS; p++) store_as(to + p * part + c, taken[p]);
      }
    }
    for (int p = 0; p < F::PRODUCTS; p++)
      multiply<T>(net.filtered[p][layer], {{&bench.inputs[p * part], W, int(W)}}, n, &bench.sums[p * part]);
    const float* bias = net.dilated_bias[layer].data();
    for (size_t q = 0; q < size_t(n); q++) {
      const float* sum = &bench.sums[q * W];
      T* to = &bench.hidden[q * W];
      for (size_t c = 0; c < W; c += LANES) {
        Vec products[F::PRODUCTS], given[F::OUTPUTS];
        for (int p = 0; p < F::PRODUCTS; p++) products[p] = load(sum + p * part + c);
        F::give(products, load(bias + c), given);
        for (int i = 0; i < F::OUTPUTS; i++) store_as(to + i * part + c, rectified(given[i]));
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

  // Gives the next layer what this one can at once, whole groups or, where it has none left, others; how many moments.
  int update(int layer, bool last, Team& team) {
    const int d = net.dilations[layer], waiting = std::max(int(inputs[layer].held) - 2 * d, 0), whole = F::OUTPUTS * d;
    const int groups = net.filters(layer) ? std::min(waiting, std::max(whole, BLOCK)) / whole * d : 0;
    const int others = groups || (net.filters(layer) && !last) ? 0 : std::min(waiting, BLOCK);
    const int all = groups + others, ready = F::OUTPUTS * groups + others;
    if (!ready) return 0;
    team.share(all, MOST, groups ? MOMENTS / F::OUTPUTS : MOMENTS, [&](int who, int from, int n) {
      const TilesInUse tiles;
      Bench& bench = benches[who];
      bench.hidden.resize(size_t(MOMENTS) * net.width);
      if (groups) filter(layer, from, n, bench);
      else convolve(layer, from, n, bench);
      add(layer, groups ? F::OUTPUTS * n : n, bench);
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
