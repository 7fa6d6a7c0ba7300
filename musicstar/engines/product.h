// Weights times activations.
//
// Weights W[rows][columns] are packed so that a vector holds rows; activations lie stream after stream (decoder) or
// moment after moment (encoder). An accumulator adds its columns in their order however many streams there are, so
// that none hears its company, not even in the last bit.
//
// Products of bfloat16 have instructions of their own where the processor has them: AVX512_BF16 of pairs, AMX_BF16 of
// whole tiles.

#pragma once

#include "vectors.h"

#include <initializer_list>
#include <utility>

namespace {

#if defined(__AVX512F__) || defined(TILES)
constexpr int MOST = 8, NEAR = 2;
#elif defined(__AVX2__)
constexpr int MOST = 6, NEAR = 3;
#else
constexpr int MOST = 4, NEAR = 3;
#endif

// A panel is two vectors of rows, MOST streams wide: as many accumulators as registers hold beside the operands. The
// next one is fetched meanwhile, to the first cache (3) where two fit into it, else to the second (2); of two lines for
// a column one, for processors fetch lines in pairs.
constexpr int PANEL = 2 * LANES, CLASSES = 256, START = CLASSES;

// `STEP` columns of an activation are multiplied at once. Up to FEW streams wait for weights more than they work.
template <class T> struct Column;

template <> struct Column<float> {
  static constexpr int STEP = 1, FEW = LANES > 8 ? 8 : 3;
  typedef Vec Weights;
  static Weights weights(const float* w) { return load(w); }
  static Vec add(Vec sum, Weights w, const float* x) { return sum + w * *x; }
};

template <> struct Column<bfloat16> {
#if defined(__AVX512BF16__) || defined(TILES)
  static constexpr int STEP = 2, FEW = 8;
#else
  static constexpr int STEP = 2, FEW = 0;
#endif
#if defined(__AVX512BF16__)
  typedef __m512bh Weights;
  static Weights weights(const bfloat16* w) { return (__m512bh)_mm512_loadu_si512(w); }
  static Vec add(Vec sum, Weights w, const bfloat16* x) {
    int32_t pair;
    std::memcpy(&pair, x, 4);
    return (Vec)_mm512_dpbf16_ps((__m512)sum, w, (__m512bh)_mm512_set1_epi32(pair));
  }
#else
  struct Weights {
    Vec even, odd;
  };
  static Weights weights(const bfloat16* w) {
    Bits pairs = *reinterpret_cast<const Bits*>(w);
    return {(Vec)(pairs << 16), (Vec)(pairs & 0xffff0000u)};
  }
  static Vec add(Vec sum, const Weights& w, const bfloat16* x) {
    uint32_t pair, low, high;
    std::memcpy(&pair, x, 4);
    low = pair << 16, high = pair & 0xffff0000u;
    float even, odd;
    std::memcpy(&even, &low, 4);
    std::memcpy(&odd, &high, 4);
    return (sum + w.odd * odd) + w.even * even;
  }
#endif
};

constexpr int padded(int n) { return (n + PANEL - 1) / PANEL * PANEL; }

// Weights given row by row. Those of a network lie behind each other in the order of their use, so that what is fetched
// beyond the end of a product most often belongs to the next.
template <class T> struct Packed {
  const Large<T>* all = nullptr;
  size_t begin = 0;
  int rows = 0, columns = 0;
  template <class Value> void pack(Large<T>& to, int rows_, int columns_, Value value) {
    all = &to, begin = to.size(), rows = padded(rows_), columns = columns_;
    for (int panel = 0; panel < rows; panel += PANEL)
      for (int k = 0; k < columns; k += Column<T>::STEP)
        for (int r = panel; r < panel + PANEL; r++)
          for (int s = 0; s < Column<T>::STEP; s++) to.push_back(T(r < rows_ ? value(r, k + s) : 0.0f));
  }
  const T* panel(int row) const { return all->data() + begin + size_t(row) * columns; }
};

// Activations of streams, `apart` values from each other.
template <class T> struct Source {
  const T* x;
  size_t apart;
};

// One product in a sum of them, all of as many rows.
template <class T> struct Term {
  const Packed<T>& weights;
  Source<T> source;
};

// What is asked of a tile: the sum of `count` terms, for streams from `first` on, one of so many blocks of them.
template <class T> struct Sum {
  const Term<T>* terms;
  int count, first, block, blocks;
  float* out;
  const float* begun;
};

// Few streams leave accumulators free, which several panels fill; else sums would wait for each other.
constexpr int panels_for(int streams) { return streams == 1 ? 4 : streams <= 3 ? 2 : 1; }

// The sums of N streams, for P panels from row `r` on.
template <class T, int N, int P> void tile(const Sum<T>& asked, int r) {
  constexpr int STEP = Column<T>::STEP, VECTORS = 2 * P;
  const size_t rows = asked.terms[0].weights.rows, at = asked.first * rows + r;
  Vec sum[VECTORS][N] = {};
  if (asked.begun) {
#pragma GCC unroll 8
    for (int n = 0; n < N; n++)
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; v++) sum[v][n] = load(asked.begun + at + n * rows + v * LANES);
  }
  const int share = PANEL * STEP * sizeof(T) / asked.blocks;
  for (int s = 0; s < asked.count; s++) {
    const auto& [packed, source] = asked.terms[s];
    const int columns = packed.columns;
    const T *w = packed.panel(r), *x[N];
    const auto* ahead = reinterpret_cast<const char*>(packed.panel(r + PANEL)) + columns / STEP * share * asked.block;
    for (int n = 0; n < N; n++) x[n] = source.x + (asked.first + n) * source.apart;
#pragma GCC unroll 4
    for (int k = 0; k < columns; k += STEP, w += PANEL * STEP, ahead += share) {
      // Compilers keep to the order of these, in which registers hold all that is at hand.
      if constexpr (P == 1) {
        __builtin_prefetch(ahead, 0, NEAR);
        const auto low = Column<T>::weights(w), high = Column<T>::weights(w + LANES * STEP);
#pragma GCC unroll 8
        for (int n = 0; n < N; n++) {
          sum[0][n] = Column<T>::add(sum[0][n], low, x[n] + k);
          sum[1][n] = Column<T>::add(sum[1][n], high, x[n] + k);
        }
      } else {
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
          const auto weights = Column<T>::weights(w + v / 2 * PANEL * columns + v % 2 * LANES * STEP);
#pragma GCC unroll 8
          for (int n = 0; n < N; n++) sum[v][n] = Column<T>::add(sum[v][n], weights, x[n] + k);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int n = 0; n < N; n++)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++) store(asked.out + at + n * rows + v * LANES, sum[v][n]);
}

template <class T, size_t... N> auto tile_for(int streams, bool several, std::index_sequence<N...>) {
  typedef void (*Tile)(const Sum<T>&, int);
  static constexpr Tile one[] = {tile<T, N + 1, 1>...}, more[] = {tile<T, N + 1, panels_for(N + 1)>...};
  return (several ? more : one)[streams - 1];
}

#if defined(TILES)
constexpr int TILE = 16;
thread_local int tile_rows = 0;  // what this thread has the matrix unit in shape for

void shape_tiles(int rows) {
  if (rows == tile_rows) return;
  struct {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {};
  } shape;
  for (int t = 0; t < 6; t++) shape.rows[t] = uint8_t(rows);
  shape.rows[6] = shape.rows[7] = TILE;
  __asm__ volatile("" : : "r"(&shape) : "memory");
  _tile_loadconfig(&shape);
  tile_rows = rows;
}
#endif

// While it lives, products of its thread find the matrix unit in shape, where there is one.
struct TilesInUse {
  ~TilesInUse() {
#if defined(TILES)
    if (tile_rows) _tile_release();
    tile_rows = 0;
#endif
  }
};

#if defined(TILES)
// Products by the processor's matrix unit: sixteen streams, sixteen rows and 32 columns at once. A packed panel is two
// such tiles of weights beside each other. The last tile of streams begins early enough to be full.
template <class Fetch>
void multiply_in_tiles(std::initializer_list<Term<bfloat16>> terms, int streams, float* out, const float* begun,
                       Fetch fetch) {
  constexpr int COLUMNS = 32;
  static_assert(PANEL == 2 * TILE, "a panel is two tiles");
  const int full = std::min(streams, TILE), rows = terms.begin()->weights.rows;
  shape_tiles(full);
  // Compilers do not know that the unit reads and writes memory: what it reads is there by now, below what it wrote.
  __asm__ volatile("" : : : "memory");
  const size_t row = size_t(rows) * sizeof(float);
  for (int r = 0; r < rows; r += PANEL)
    for (int first = 0; first < streams; first += 2 * TILE) {
      const int a = std::min(first, streams - full), b = std::min(first + TILE, streams - full);
      const size_t at_a = size_t(a) * rows + r, at_b = size_t(b) * rows + r;
      for (int n = first; n < std::min(first + 2 * TILE, streams); n++) fetch(n, r);
      if (begun) {
        _tile_loadd(0, begun + at_a, row);
        _tile_loadd(1, begun + at_a + TILE, row);
        _tile_loadd(2, begun + at_b, row);
        _tile_loadd(3, begun + at_b + TILE, row);
      } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
      }
      for (const auto& [weights, source] : terms) {
        const size_t step = source.apart * sizeof(bfloat16);
        const bfloat16* panel = weights.panel(r);
        for (int k = 0; k < weights.columns; k += COLUMNS, panel += COLUMNS * PANEL) {
          _tile_loadd(6, panel, 4 * PANEL);
          _tile_loadd(7, panel + 2 * TILE, 4 * PANEL);
          _tile_loadd(4, source.x + a * source.apart + k, step);
          _tile_dpbf16ps(0, 4, 6);
          _tile_dpbf16ps(1, 4, 7);
          if (a == b) continue;
          _tile_loadd(5, source.x + b * source.apart + k, step);
          _tile_dpbf16ps(2, 5, 6);
          _tile_dpbf16ps(3, 5, 7);
        }
      }
      _tile_stored(0, out + at_a, row);
      _tile_stored(1, out + at_a + TILE, row);
      if (a == b) continue;
      _tile_stored(2, out + at_b, row);
      _tile_stored(3, out + at_b + TILE, row);
    }
  __asm__ volatile("" : : : "memory");
}
#endif

constexpr auto nothing = [](int, int) {};

// out[streams][rows] = the terms' sum, or begun[streams][rows] and their sum. Weights, the larger part, come by once;
// all streams pass while a panel is at hand. What goes with a panel's sums, `fetch(stream, row)` may fetch meanwhile.
template <class T, class Fetch = decltype(nothing)>
void multiply(std::initializer_list<Term<T>> terms, int streams, float* out, const float* begun = nullptr,
              Fetch fetch = nothing) {
#if defined(TILES)
  if constexpr (std::is_same<T, bfloat16>::value) {
    multiply_in_tiles(terms, streams, out, begun, fetch);
    return;
  }
#endif
  const int rows = terms.begin()->weights.rows, blocks = (streams + MOST - 1) / MOST;
  for (int r = 0, height; r < rows; r += height) {
    height = PANEL;
    for (int b = 0, first = 0, n; b < blocks; b++, first += n) {
      n = (streams - first + blocks - b - 1) / (blocks - b);
      if (const int several = panels_for(n) * PANEL; blocks == 1 && r + several <= rows) height = several;
      for (int i = 0; i < n; i++)
        for (int p = r; p < r + height; p += PANEL) fetch(first + i, p);
      const Sum<T> asked{terms.begin(), int(terms.size()), first, b, blocks, out, begun};
      tile_for<T>(n, height > PANEL, std::make_index_sequence<MOST>())(asked, r);
    }
  }
}

// The weights and biases of a network as they are named there, one pointer each.
struct Reader {
  const float* const* tensors;
  const float* next() { return *tensors++; }
};

void widen(Array<float>& to, const float* from, int n) {
  to.assign(padded(n), 0.0f);
  std::copy(from, from + n, to.begin());
}

// Pairs of what decides and what it lets pass, first all of these and then all of those, in the two vectors of a panel.
struct Pairs {
  int channels, width;
  int row(int r) const {
    const int channel = r / PANEL * LANES + r % LANES;
    return channel < channels ? (r % PANEL < LANES ? channel : channels + channel) : -1;
  }
  int rows() const { return 2 * width; }
};

// A code as networks read it.
inline float level(int code) { return code == START ? 0.0f : float(code) / (CLASSES - 1) - 0.5f; }

}  // namespace
