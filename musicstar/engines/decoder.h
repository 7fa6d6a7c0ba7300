// A decoder, sample by sample.
//
// Wide layers take three products where the network names four. W x + V y, of the past x and the present y, is
// W (x - y) + (W + V) y; a dilation later, when the present is z, W y + V z is (W + V) y - V (y - z), and the first of
// these is known. It is minimal filtering, F(2, 2) of Winograd 1980, "Arithmetic Complexity of Computations", in an
// order that waits for nothing.

#pragma once

#include "product.h"

namespace {

struct DecoderSizes {
  int32_t layers, channels, skip, latent;
};

struct AnyDecoder {
  AnyDecoder() = default;
  AnyDecoder(const AnyDecoder&) = delete;  // what is packed knows where its weights are
  virtual ~AnyDecoder() = default;
};

template <class T> struct Decoder : AnyDecoder {
  static constexpr int WIDE = 128;
  int layers, channels, width, skip, latent;
  bool filters;
  std::vector<int> dilations;
  Large<T> weights;
  Large<float> weights_of_conditions;
  // causal: W | V, of the past and the present. Where layers filter W + V | W, of the present and of the difference,
  // and again: -V, of the difference a dilation later. out: what is added to the stream, and below it the skip; the
  // last only skips.
  std::vector<Packed<T>> causal, again, out;
  std::vector<Array<float>> residual_bias;
  Packed<T> first_skip, hidden, logits;
  Packed<float> conditions;
  Array<float> past_tap, present_tap, first_bias, condition_bias, skip_bias, logits_bias;

  Decoder(const DecoderSizes& sizes, const int32_t* dilations_, Reader from)
      : layers(sizes.layers), channels(sizes.channels), width(padded(sizes.channels)), skip(padded(sizes.skip)),
        latent(sizes.latent), filters(channels >= WIDE), dilations(dilations_, dilations_ + sizes.layers),
        causal(layers), again(layers), out(layers), residual_bias(layers) {
    const int C = channels, S = sizes.skip;
    const Pairs pairs{C, width};
    const auto scale = [](int r) { return r % PANEL < LANES ? -LOG2E : -2 * LOG2E; };
    const float *taps = from.next(), *first = from.next();
    past_tap.assign(width, 0.0f), present_tap = past_tap;
    for (int c = 0; c < C; c++) past_tap[c] = taps[2 * c], present_tap[c] = taps[2 * c + 1];
    widen(first_bias, first, C);
    const float* first_skips = from.next();
    widen(skip_bias, from.next(), S);
    first_skip.pack(weights, S, width, [&](int r, int k) { return k < C ? first_skips[size_t(r) * C + k] : 0.0f; });
    std::vector<const float*> condition_weights;
    condition_bias.assign(size_t(layers) * pairs.rows() + skip, 0.0f);
    for (int i = 0; i < layers; i++) {
      const float *weight = from.next(), *bias = from.next();
      condition_weights.push_back(from.next());
      const float* latent_bias = from.next();
      const auto tap = [&](int r, int column, int which) {
        const int row = pairs.row(r);
        return row < 0 || column >= C ? 0.0f : scale(r) * weight[(size_t(row) * C + column) * 2 + which];
      };
      causal[i].pack(weights, pairs.rows(), 2 * width, [&](int r, int k) {
        if (!filters) return tap(r, k % width, k / width);
        return tap(r, k % width, 0) + (k < width ? tap(r, k, 1) : 0.0f);
      });
      if (filters) again[i].pack(weights, pairs.rows(), width, [&](int r, int k) { return -tap(r, k, 1); });
      for (int r = 0; r < pairs.rows(); r++)
        if (const int row = pairs.row(r); row >= 0)
          condition_bias[size_t(i) * pairs.rows() + r] = scale(r) * (bias[row] + latent_bias[row]);
      const float* residual = from.next();
      widen(residual_bias[i], from.next(), C);
      const float *skip_weight = from.next(), *bias_of_skip = from.next();
      const int stream_rows = i < layers - 1 ? width : 0;
      out[i].pack(weights, stream_rows + skip, width, [&](int r, int k) {
        if (k >= C) return 0.0f;
        if (r < stream_rows) return r < C ? residual[size_t(r) * C + k] : 0.0f;
        return r - stream_rows < S ? skip_weight[size_t(r - stream_rows) * C + k] : 0.0f;
      });
      for (int r = 0; r < S; r++) skip_bias[r] += bias_of_skip[r];
    }
    condition_weights.push_back(from.next());
    const float *hidden_latent_bias = from.next(), *fc = from.next(), *fc_bias = from.next();
    for (int r = 0; r < S; r++)
      condition_bias[size_t(layers) * pairs.rows() + r] = hidden_latent_bias[r] + fc_bias[r];
    hidden.pack(weights, S, skip, [&](int r, int k) { return k < S ? fc[size_t(r) * S + k] : 0.0f; });
    const float* last = from.next();
    logits.pack(weights, CLASSES, skip, [&](int r, int k) { return k < S ? last[size_t(r) * S + k] : 0.0f; });
    widen(logits_bias, from.next(), CLASSES);
    conditions.pack(weights_of_conditions, layers * pairs.rows() + skip, latent, [&](int r, int k) {
      if (r >= layers * pairs.rows()) {
        r -= layers * pairs.rows();
        return r < S ? condition_weights[layers][size_t(r) * latent + k] : 0.0f;
      }
      const int row = pairs.row(r % pairs.rows());
      return row < 0 ? 0.0f : scale(r) * condition_weights[r / pairs.rows()][size_t(row) * latent + k];
    });
    weights.shrink_to_fit(), weights_of_conditions.shrink_to_fit();
  }
};

// What is asked of one stream: `steps` codes, of one latent frame or of a part of it.
struct Item {
  void* stream;
  const float* latents;   // [latent], or null: as before
  const float* draws;     // [steps] in [0, 1), or null: the likeliest code
  const uint8_t* forced;  // [steps], what to say whatever the network thinks; or null
  uint8_t* codes;         // [steps], what was said
  float* logits;          // [steps][256], or null
  float inverse_temperature;
};

struct AnyStream {
  virtual ~AnyStream() = default;
  virtual void play(const Item* items, int count, int steps) = 0;
};

int likeliest(const float* logits) { return int(std::max_element(logits, logits + CLASSES) - logits); }

// The code at which the distribution of logits passes a draw; where rounding keeps it from passing, the likeliest.
int pick(const float* logits, float inverse_temperature, float draw) {
  Vec high = load(logits);
  for (int k = LANES; k < CLASSES; k += LANES) {
    const Vec v = load(logits + k);
    high = v > high ? v : high;
  }
  float most = high[0];
  for (int i = 1; i < LANES; i++) most = std::max(most, high[i]);
  float odds[CLASSES], blocks[CLASSES / LANES], total = 0.0f;
  for (int block = 0; block < CLASSES / LANES; block++) {
    const Vec less = load(logits + block * LANES) - most;
    const Vec v = exp2<float>(within(less * (inverse_temperature * LOG2E), 60));
    store(&odds[block * LANES], v);
    blocks[block] = 0.0f;
    for (int i = 0; i < LANES; i++) blocks[block] += v[i];
    total += blocks[block];
  }
  const float wanted = draw * total;
  float passed = 0.0f;
  for (int block = 0; block < CLASSES / LANES; passed += blocks[block++]) {
    if (passed + blocks[block] <= wanted) continue;
    for (int code = block * LANES; code < (block + 1) * LANES; code++)
      if ((passed += odds[code]) > wanted) return code;
    break;
  }
  return likeliest(logits);
}

// What one clip's decoder remembers.
template <class T> struct Stream : AnyStream {
  const Decoder<T>& net;
  Array<T> rings;     // of each layer its last inputs, as many as its dilation
  Array<float> kept;  // where layers filter, (W + V) y of so many moments, every other time
  Array<float> conditions;
  size_t time = 0;
  int code = START, previous = START;

  explicit Stream(const Decoder<T>& net_) : net(net_), conditions(net_.conditions.rows, 0.0f) {
    size_t moments = 0;
    for (const int dilation : net.dilations) moments += dilation;
    rings.assign(moments * net.width, T(0.0f));
    // All of it is written before it is read: zeros only have the memory at hand.
    if (net.filters) kept.assign(moments * 2 * net.width, 0.0f);
  }

  void listen(const float* latents) {
    multiply<float>(net.conditions, {{latents, 0, net.latent}}, 1, conditions.data());
    for (size_t r = 0; r < net.condition_bias.size(); r++) conditions[r] += net.condition_bias[r];
  }

  void play(const Item* items, int count, int steps) override;
};

// Whole panels, so few that to call a function for them would take as long.
template <class T> void copy(T* to, const T* from, int n) {
  for (int i = 0; i < n; i += PANEL) std::memcpy(to + i, from + i, sizeof(T) * PANEL);
}

// Rows of activations, one for each stream.
template <class T> struct Rows {
  Array<T> values;
  int width;
  Rows(int count, int width_) : values(size_t(count) * width_), width(width_) {}
  T* operator[](int b) { return &values[size_t(b) * width]; }
  operator Source<T>() const { return {values.data(), size_t(width), width}; }
};

// Streams of one decoder on their way together, one step at a time. What a layer remembers of `dilation` ago it knows
// so many steps ahead: few streams take its products with that for several steps at once, and weights come by once.
// Layers that filter take one step at a time.
template <class T> struct Band {
  static constexpr int AHEAD = 8;
  const Decoder<T>& net;
  const TilesInUse tiles;
  std::vector<Stream<T>*> streams;
  std::vector<T*> rings;    // of each stream
  std::vector<int> oldest;  // [layer][stream], which moment of a ring is `dilation` ago
  std::vector<char> odd;    // [layer][stream], whether a layer that filters has kept something for this moment
  const int count, W, steps, ahead;
  int time = 0;
  Rows<float> x, sums, skips, logits;
  Rows<T> narrow, present, past, z, hidden;  // narrow: x as products take it
  std::vector<int> who;                      // which stream's a row of present, past and sums is
  std::vector<float*> beside;                // and what goes with its sums
  Array<float> conditions;                   // [layer][stream][2 W], as they are needed
  Array<float> begun;                        // [layer][step][stream][2 W], products with the past

  Band(const Decoder<T>& net_, const Item* items, int count_, int steps_)
      : net(net_), oldest(size_t(net_.layers) * count_), odd(oldest.size()), count(count_), W(net_.width),
        steps(steps_), ahead(net.filters || count > Column<T>::FEW ? 1 : AHEAD), x(count, W),
        sums(count, std::max(2 * W, W + net.skip)), skips(count, net.skip), logits(count, CLASSES), narrow(count, W),
        present(net.filters ? count : 0, W), past(ahead * count, W), z(count, W), hidden(count, net.skip), who(count),
        beside(count), conditions(size_t(net.layers) * count * 2 * W),
        begun(ahead == 1 ? 0 : size_t(net.layers) * ahead * count * 2 * W) {
    for (int b = 0; b < count; b++) {
      who[b] = b;
      streams.push_back(static_cast<Stream<T>*>(static_cast<AnyStream*>(items[b].stream)));
      rings.push_back(streams[b]->rings.data());
      if (items[b].latents) streams[b]->listen(items[b].latents);
      for (int i = 0; i < net.layers; i++) {
        const size_t at = size_t(i) * count + b;
        oldest[at] = int(streams[b]->time % net.dilations[i]);
        odd[at] = streams[b]->time / net.dilations[i] % 2;
        copy(&conditions[at * 2 * W], &streams[b]->conditions[size_t(i) * 2 * W], 2 * W);
      }
    }
  }

  // hidden = ReLU(values + bias), a bias for each stream.
  template <class Bias> void rectify(const Rows<float>& values, Bias bias) {
    for (int b = 0; b < count; b++)
      for (int r = 0; r < net.skip; r += LANES) {
        const Vec v = load(&values.values[size_t(b) * net.skip + r]) + load(bias(b) + r);
        store_as(hidden[b] + r, rectified(v));
      }
  }

  void enter() {
    for (int b = 0; b < count; b++) {
      Stream<T>& stream = *streams[b];
      const float before = level(stream.previous), now = level(stream.code);
      for (int c = 0; c < W; c += LANES) {
        const Vec v = load(&net.first_bias[c]) + load(&net.past_tap[c]) * before + load(&net.present_tap[c]) * now;
        store(x[b] + c, v);
        store_as(narrow[b] + c, v);
      }
      stream.previous = stream.code;
    }
    multiply<T>(net.first_skip, {narrow}, count, skips.values.data());
  }

  // For how many steps a layer takes its products with the past at once, and for how many it does so now.
  int span(int layer) const { return std::min(ahead, net.dilations[layer]); }
  int due(int layer) const { return time % span(layer) ? 0 : std::min(span(layer), steps - time); }

  // What a layer, whose ring begins `before` moments into a stream's memory, hears of the past some steps from now.
  T* ring(int layer, size_t before, int b, int step) {
    const int at = oldest[size_t(layer) * count + b] + step, size = net.dilations[layer];
    return rings[b] + (before + (at < size ? at : at - size)) * W;
  }

  const float* condition(int layer, int b) const { return &conditions[(size_t(layer) * count + b) * 2 * W]; }

  // The sums of a layer's dilated convolution. Meanwhile what the next one remembers comes to hand.
  void convolve(int layer, size_t before) {
    const int now = due(layer), soon = layer + 1 < net.layers ? due(layer + 1) : 0, dilation = net.dilations[layer];
    for (int b = 0; b < count; b++) {
      for (int step = 0; step < now; step++) copy(past[step * count + b], ring(layer, before, b, step), W);
      copy(ring(layer, before, b, 0), narrow[b], W);
      int& moment = oldest[size_t(layer) * count + b];
      if (++moment == dilation) moment = 0;
      for (int step = 0; step < soon; step++) prefetch(ring(layer + 1, before + dilation, b, step), W);
    }
    const Packed<T>& causal = net.causal[layer];
    const auto fetch = [&](int b, int r) { prefetch(condition(layer, b) + r, PANEL); };
    if (span(layer) == 1) {
      multiply<T>(causal, {past, narrow}, count, sums[0], nullptr, fetch);
      return;
    }
    float* first = &begun[size_t(layer) * ahead * count * 2 * W];
    if (now) multiply<T>(causal, {past}, now * count, first);
    for (int b = 0; b < count; b++) beside[b] = first + size_t(time % span(layer) * count + b) * 2 * W;
    multiply<T, BEGUN>(causal.from(W), {narrow}, count, sums[0], beside.data(), fetch);
  }

  // The same by filtering: first the streams that keep something, behind them those that have kept it.
  void filter(int layer, size_t before) {
    const int dilation = net.dilations[layer];
    int keeping = 0, end = count;
    for (int b = 0; b < count; b++) {
      const size_t at = size_t(layer) * count + b, moment = before + oldest[at];
      const int row = odd[at] ? --end : keeping++;
      T *heard = rings[b] + moment * W, *less = past[row];
      const T* now = narrow[b];
      for (int c = 0, width = W; c < width; c += LANES) store_as(less + c, load(heard + c) - load(now + c));
      copy(heard, now, W);
      if (!odd[at]) copy(present[row], now, W);
      who[row] = b, beside[row] = streams[b]->kept.data() + moment * 2 * W;
      if (++oldest[at] == dilation) oldest[at] = 0, odd[at] = !odd[at];
      if (layer + 1 == net.layers) continue;
      const size_t next = before + dilation + oldest[at + count];
      prefetch(rings[b] + next * W, W);
      prefetch(streams[b]->kept.data() + next * 2 * W, 2 * W);
    }
    const auto fetch = [&](int row, int r) { prefetch(condition(layer, who[row]) + r, PANEL); };
    if (keeping) multiply<T, KEPT>(net.causal[layer], {present, past}, keeping, sums[0], beside.data(), fetch);
    if (keeping < count)
      multiply<T, BEGUN>(net.again[layer], {{past[keeping], size_t(W), W}}, count - keeping,
                         &sums.values[size_t(keeping) * 2 * W], &beside[keeping],
                         [&](int row, int r) { fetch(keeping + row, r); });
  }

  // z = sigmoid(gate) tanh(signal) of a layer.
  void gate(int layer) {
    for (int row = 0; row < count; row++) {
      const float *sum = &sums.values[size_t(row) * 2 * W], *more = condition(layer, who[row]);
      T* to = z[who[row]];
      for (int c = 0, width = W; c < width; c += LANES)
        store_as(to + c, gated<T>(load(sum + 2 * c) + load(more + 2 * c),
                                  load(sum + 2 * c + LANES) + load(more + 2 * c + LANES)));
    }
  }

  // What a layer adds to the stream, all but the last one, and to the skips.
  void add(int layer) {
    const Packed<T>& out = net.out[layer];
    const int stream_rows = out.rows - net.skip;
    multiply<T>(out, {z}, count, sums.values.data());
    const float* bias = net.residual_bias[layer].data();
    for (int b = 0; b < count; b++) {
      const float* sum = &sums.values[size_t(b) * out.rows];
      float *stream = x[b], *skip = skips[b];
      T* taken = narrow[b];
      for (int c = 0; c < stream_rows; c += LANES) {
        const Vec v = load(stream + c) + load(sum + c) + load(bias + c);
        store(stream + c, v);
        store_as(taken + c, v);
      }
      sum += stream_rows;
      for (int r = 0, rows = net.skip; r < rows; r += LANES) store(skip + r, load(skip + r) + load(sum + r));
    }
  }

  // The logits of the next sample.
  void step() {
    enter();
    size_t before = 0;
    for (int i = 0; i < net.layers; before += net.dilations[i++]) {
      if (net.filters) filter(i, before);
      else convolve(i, before);
      gate(i);
      add(i);
    }
    rectify(skips, [&](int) { return net.skip_bias.data(); });
    multiply<T>(net.hidden, {hidden}, count, sums.values.data());
    rectify(sums, [&](int b) { return &streams[b]->conditions[size_t(net.layers) * 2 * W]; });
    multiply<T>(net.logits, {hidden}, count, logits.values.data());
    time++;
    for (int b = 0; b < count; b++)
      for (int k = 0; k < CLASSES; k += LANES) store(logits[b] + k, load(logits[b] + k) + load(&net.logits_bias[k]));
  }
};

template <class T> void Stream<T>::play(const Item* items, int count, int steps) {
  Band<T> band(net, items, count, steps);
  for (int t = 0; t < steps; t++) {
    band.step();
    for (int b = 0; b < count; b++) {
      const Item& item = items[b];
      const float* odds = band.logits[b];
      const int said = item.forced  ? item.forced[t]
                       : item.draws ? pick(odds, item.inverse_temperature, item.draws[t])
                                    : likeliest(odds);
      band.streams[b]->code = said;
      item.codes[t] = uint8_t(said);
      if (item.logits) std::copy(odds, odds + CLASSES, item.logits + size_t(t) * CLASSES);
    }
  }
  for (Stream<T>* stream : band.streams) stream->time += steps;
}

}  // namespace
