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

#include <algorithm>
#include <initializer_list>

namespace {

#if defined(__AVX512F__) || defined(TILES)
constexpr int MOST = 8, NEAR = 2;
#elif defined(__AVX2__)
constexpr int MOST = 6, NEAR = 3;
#else
constexpr int MOST = 4, NEAR = 3;
#endif

// A panel is two vectors of rows, MOST streams wide: as many accumulators as registers hold beside the operands. The
// next one is fetched meanwhile, to the first cache (3) where two fit into it, else to the second (2); for a column two
// lines, for it takes no more.
constexpr int PANEL = 2 * LANES, CLASSES = 256, START = CLASSES;

// `STEP` columns of an activation are multiplied at once. Up to FEW streams wait for weights more than they work.
template <class T> struct Column;

template <> struct Column<float> {
  static constexpr int STEP = 1, FEW = LANES > 8 ? 8 : 3;
  typedef Vec Weights;
  static Weights weights(const float* w) { return load(w); }
  static Vec add(Vec sum, Weights w, const float* x) { return added(sum, w, all(*x)); }
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

// Weights from some column on; the panels' beginnings are `apart` values from each other.
template <class T> struct Part {
  const T* panels;
  int rows;
  size_t apart;
  const T* panel(int row) const { return panels + row / PANEL * apart; }
};

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
  Part<T> from(int column) const { return {&(*all)[begin + size_t(column) * PANEL], rows, size_t(columns) * PANEL}; }
  operator Part<T>() const { return from(0); }
};

// Activations: `columns` of each stream, the streams `apart` values from each other.
template <class T> struct Source {
  const T* x;
  size_t apart;
  int columns;
};

// Sums begin AFRESH, or from what was BEGUN before, or are KEPT once they are those of the first source.
enum Sums { AFRESH, BEGUN, KEPT };

// out[n][rows] = W x of N streams, for P panels, which lie `panel` apart. Stream n begins from, or is kept in, the row
// beside[n], of which the part from `r` on belongs to these panels.
template <class T, int N, int P, Sums SUMS>
void tile(const T* w, size_t panel, const char* ahead, int share, const Source<T>* sources, int count, size_t first,
          float* out, size_t row, float* const* beside, int r) {
  constexpr int STEP = Column<T>::STEP, VECTORS = 2 * P;
  Vec sum[VECTORS][N] = {};
  if constexpr (SUMS == BEGUN) {
#pragma GCC unroll 8
    for (int n = 0; n < N; n++)
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; v++) sum[v][n] = load(beside[first + n] + r + v * LANES);
  }
  for (int s = 0; s < count; s++) {
    // A pointer for every four rows, from which the others are once, twice, and thrice as far: a pointer for each were
    // more than there are registers, and to fetch one takes a turn of those that multiply.
    size_t apart = sources[s].apart, thrice = 3 * apart;
    const T* x[(N + 3) / 4];
    for (int i = 0; i < (N + 3) / 4; i++) x[i] = sources[s].x + (first + 4 * i) * apart;
    __asm__("" : "+r"(apart), "+r"(thrice));  // else compilers make pointers of them
    const auto of = [&](int n) { return x[n / 4] + (n % 4 == 3 ? thrice : n % 4 * apart); };
    // Compilers keep to the order of these, in which registers hold all that is at hand, and do not mix columns.
    const auto column = [&](int k) {
      const T* at = w + k * PANEL;
      __asm__ volatile("" : : "r"(at));
      if constexpr (P == 1) {
        __builtin_prefetch(ahead, 0, NEAR);
        if (PANEL * STEP * sizeof(T) > CACHE_LINE) __builtin_prefetch(ahead + CACHE_LINE, 0, NEAR);
        ahead += share;
        const auto low = Column<T>::weights(at), high = Column<T>::weights(at + LANES * STEP);
#pragma GCC unroll 8
        for (int n = 0; n < N; n++) {
          sum[0][n] = Column<T>::add(sum[0][n], low, of(n) + k);
          sum[1][n] = Column<T>::add(sum[1][n], high, of(n) + k);
        }
      } else {
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
          const auto weights = Column<T>::weights(at + v / 2 * panel + v % 2 * LANES * STEP);
#pragma GCC unroll 8
          for (int n = 0; n < N; n++) sum[v][n] = Column<T>::add(sum[v][n], weights, of(n) + k);
        }
      }
    };
    const auto pass = [&](int columns) {
      w += columns * PANEL;
      for (auto& pointer : x) pointer += columns;
    };
    int left = sources[s].columns;
    for (; left >= 4 * STEP; left -= 4 * STEP) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++) column(k * STEP);
      pass(4 * STEP);
    }
    for (; left > 0; left -= STEP) column(0), pass(STEP);
    if (SUMS != KEPT || s) continue;
#pragma GCC unroll 8
    for (int n = 0; n < N; n++)
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; v++) store(beside[first + n] + r + v * LANES, sum[v][n]);
  }
#pragma GCC unroll 8
  for (int n = 0; n < N; n++)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++) store(out + (first + n) * row + v * LANES, sum[v][n]);
}

// Few streams leave accumulators free, which several panels fill; else sums would wait for each other.
template <class T, int N, Sums SUMS>
void panels(const Part<T>& w, const Source<T>* sources, int count, size_t first, float* out, float* const* beside,
            int from, int to, int block, int blocks) {
  constexpr int P = N == 1 ? 4 : N <= 3 ? 2 : 1;
  int columns = 0;
  for (int s = 0; s < count; s++) columns += sources[s].columns;
  const size_t bytes = size_t(PANEL) * columns * sizeof(T);
  const auto ahead = [&](int r) { return reinterpret_cast<const char*>(w.panel(r)) + bytes * block / blocks; };
  const int share = PANEL * Column<T>::STEP * sizeof(T) / blocks;
  int r = from;
  for (; r + P * PANEL <= to; r += P * PANEL)
    tile<T, N, P, SUMS>(w.panel(r), w.apart, ahead(r + P * PANEL), share, sources, count, first, out + r, w.rows,
                        beside, r);
  for (; r < to; r += PANEL)
    tile<T, N, 1, SUMS>(w.panel(r), w.apart, ahead(r + PANEL), share, sources, count, first, out + r, w.rows,
                        beside, r);
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
template <Sums SUMS, class Fetch>
void multiply_in_tiles(const Part<bfloat16>& w, std::initializer_list<Source<bfloat16>> sources, int streams,
                       float* out, float* const* beside, Fetch fetch) {
  constexpr int COLUMNS = 32;
  static_assert(PANEL == 2 * TILE, "a panel is two tiles");
  const int full = std::min(streams, TILE);
  shape_tiles(full);
  // Compilers do not know that the unit reads and writes memory: what it reads is there by now, below what it wrote.
  __asm__ volatile("" : : : "memory");
  const size_t row = size_t(w.rows) * sizeof(float), staged_row = PANEL * sizeof(float);
  // Rows that lie anywhere pass through here, where they lie behind each other.
  float staged[2 * TILE][PANEL];
  for (int r = 0; r < w.rows; r += PANEL)
    for (int first = 0; first < streams; first += 2 * TILE) {
      const int a = std::min(first, streams - full), b = std::min(first + TILE, streams - full);
      const size_t at_a = size_t(a) * w.rows + r, at_b = size_t(b) * w.rows + r;
      const bfloat16* panel = w.panel(r);
      for (int n = first; n < std::min(first + 2 * TILE, streams); n++) fetch(n, r);
      if constexpr (SUMS == BEGUN) {
        for (int n = 0; n < full; n++) {
          std::memcpy(staged[n], beside[a + n] + r, staged_row);
          if (a != b) std::memcpy(staged[TILE + n], beside[b + n] + r, staged_row);
        }
        __asm__ volatile("" : : : "memory");
        _tile_loadd(0, staged[0], staged_row);
        _tile_loadd(1, staged[0] + TILE, staged_row);
        if (a != b) {
          _tile_loadd(2, staged[TILE], staged_row);
          _tile_loadd(3, staged[TILE] + TILE, staged_row);
        }
      } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
      }
      for (const auto& source : sources) {
        const size_t step = source.apart * sizeof(bfloat16);
        for (int k = 0; k < source.columns; k += COLUMNS, panel += COLUMNS * PANEL) {
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
        if (SUMS != KEPT || &source != sources.begin()) continue;
        _tile_stored(0, staged[0], staged_row);
        _tile_stored(1, staged[0] + TILE, staged_row);
        if (a != b) {
          _tile_stored(2, staged[TILE], staged_row);
          _tile_stored(3, staged[TILE] + TILE, staged_row);
        }
        __asm__ volatile("" : : : "memory");
        for (int n = 0; n < full; n++) {
          std::memcpy(beside[a + n] + r, staged[n], staged_row);
          if (a != b) std::memcpy(beside[b + n] + r, staged[TILE + n], staged_row);
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

// out[streams][rows] = W x, with `beside` as of `tile`. Weights, the larger part, come by once; all streams pass while
// a panel is at hand. What will go with a panel's sums, `fetch(stream, first row)` fetches before they are made.
template <class T, Sums SUMS = AFRESH, class Fetch = decltype(nothing)>
void multiply(const Part<T>& w, std::initializer_list<Source<T>> given, int streams, float* out,
              float* const* beside = nullptr, Fetch fetch = nothing) {
#if defined(TILES)
  if constexpr (std::is_same<T, bfloat16>::value) {
    multiply_in_tiles<SUMS>(w, given, streams, out, beside, fetch);
    return;
  }
#endif
  const Source<T>* sources = given.begin();
  const int count = int(given.size()), blocks = (streams + MOST - 1) / MOST;
  const int height = blocks == 1 ? w.rows : PANEL;
  for (int r = 0; r < w.rows; r += height)
    for (int b = 0, first = 0; b < blocks; b++) {
      const int n = (streams - first + blocks - b - 1) / (blocks - b);
      for (int i = first; i < first + n; i++)
        for (int p = r; p < r + height; p += PANEL) fetch(i, p);
      const auto run = [&](auto width) {
        panels<T, decltype(width)::value, SUMS>(w, sources, count, first, out, beside, r, r + height, b, blocks);
      };
      switch (n) {
        case 1: run(std::integral_constant<int, 1>()); break;
        case 2: run(std::integral_constant<int, 2>()); break;
        case 3: run(std::integral_constant<int, 3>()); break;
        case 4: run(std::integral_constant<int, 4>()); break;
        case 5: run(std::integral_constant<int, MOST < 5 ? 1 : 5>()); break;
        case 6: run(std::integral_constant<int, MOST < 6 ? 1 : 6>()); break;
        case 7: run(std::integral_constant<int, MOST < 7 ? 1 : 7>()); break;
        case 8: run(std::integral_constant<int, MOST < 8 ? 1 : 8>()); break;
      }
      first += n;
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
