// Numbers as the engine takes them: many to a vector, some of them short, and where arrays of them lie.
//
// Compiled for one instruction set at a time; the vector type is the compiler's own, so the code is the same for all.

#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>
#include <vector>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__AMX_BF16__)
#define TILES
#endif

namespace {

#if defined(__AVX512F__) || defined(TILES)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
constexpr float LOG2E = 1.44269504f;

typedef float Vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Int __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }
inline void store(float* to, Vec v) { *reinterpret_cast<Vec*>(to) = v; }
inline Vec all(float v) { return v - Vec{}; }

// sum + a * b. By themselves compilers put it where a factor was, and then move about what they have no room for.
inline Vec added(Vec sum, Vec a, Vec b) {
#if defined(__AVX512F__) || (defined(__FMA__) && !defined(TILES))
  __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
#else
  return sum + a * b;
#endif
}

struct bfloat16 {
  uint16_t bits;
  bfloat16() = default;
  explicit bfloat16(float v) {
    uint32_t u;
    std::memcpy(&u, &v, 4);
    bits = uint16_t((u + 0x7fff + ((u >> 16) & 1)) >> 16);
  }
};

constexpr size_t CACHE_LINE = 64, LARGE_PAGE = size_t(2) << 20;

// `n` values to the second cache, for much is done before they are needed.
template <class T> void prefetch(const T* from, int n) {
  const auto* first = reinterpret_cast<const char*>(from);
  for (size_t byte = 0; byte < n * sizeof(T); byte += CACHE_LINE) __builtin_prefetch(first + byte, 0, 2);
}

template <class T, size_t ALIGNMENT> struct Aligned {
  typedef T value_type;
  template <class U> struct rebind {
    typedef Aligned<U, ALIGNMENT> other;
  };
  Aligned() = default;
  template <class U> Aligned(const Aligned<U, ALIGNMENT>&) {}
  T* allocate(size_t n) {
    const size_t bytes = (n * sizeof(T) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void* p = ::operator new(bytes, std::align_val_t(ALIGNMENT));
#if defined(MADV_HUGEPAGE)
    if constexpr (ALIGNMENT == LARGE_PAGE) madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return static_cast<T*>(p);
  }
  void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(ALIGNMENT)); }
  // Values that are not given are not set: memory that nothing is put into is not taken.
  template <class U> void construct(U* p) { ::new (p) U; }
  template <class U, class Value> void construct(U* p, const Value& value) { ::new (p) U(value); }
  template <class U> bool operator==(const Aligned<U, ALIGNMENT>&) const { return true; }
  template <class U> bool operator!=(const Aligned<U, ALIGNMENT>&) const { return false; }
};
template <class T> using Array = std::vector<T, Aligned<T, CACHE_LINE>>;
// What comes by for every sample lies in large pages: of small ones it takes more than a processor keeps addresses of.
template <class T> using Large = std::vector<T, Aligned<T, LARGE_PAGE>>;

// What lies between products is as exact as they are.
template <class T> constexpr bool brief = std::is_same<T, bfloat16>::value;

// 2 to the power of x, |x| <= 60. A polynomial on [-1/2, 1/2] that is 1 at 0 and off by a share of 2.3e-7 at most, the
// brief one 1.1e-4; the rest goes into the exponent.
template <class T> Vec exp2(Vec x) {
  const Vec shift = all(12582912.0f), rounded = x + shift, f = x - (rounded - shift);
  Vec p;
  if (brief<T>) {
    p = all(5.5009060e-2f);
    p = p * f + 2.4221097e-1f;
    p = p * f + 6.9328290e-1f;
  } else {
    p = all(1.3202982e-3f);
    p = p * f + 9.6749524e-3f;
    p = p * f + 5.5510472e-2f;
    p = p * f + 2.4022166e-1f;
    p = p * f + 6.9314659e-1f;
  }
  p = p * f + 1.0f;
  return (Vec)((Int)p + ((Int)rounded << 23));
}

template <class T> Vec quotient(Vec a, Vec b) {
#if defined(__AVX512F__)
  // The reciprocal to 14 bits; where these are too few, what is left is divided by it once more.
  const Vec r = (Vec)_mm512_rcp14_ps((__m512)b), q = a * r;
  return brief<T> ? q : q + r * (a - b * q);
#else
  return a / b;
#endif
}

// Compilers make one instruction of the lesser of two whole numbers, four of that of two floats. Read as such, floats
// are in order where they are positive, and the other way about, behind all of these, where they are negative and the
// sign counts as a bit. `most` is positive; NaN passes or becomes a bound.
inline Vec within(Vec x, float most) {
  const Int high = (Int)all(most);
  const Bits low = (Bits)all(-most);
  const Int below = (Int)x < high ? (Int)x : high;
  return (Vec)((Bits)below < low ? (Bits)below : low);
}

inline Vec rectified(Vec x) { return (Vec)((Int)x > 0 ? (Int)x : Int{}); }

// sigmoid(g) tanh(s), given -log2(e) g and -2 log2(e) s: one division.
template <class T> Vec gated(Vec g, Vec s) {
  const Vec decides = 1.0f + exp2<T>(within(g, 60)), es = exp2<T>(within(s, 60));
  return quotient<T>(1.0f - es, decides * es + decides);
}

inline Vec load(const bfloat16* from) {
  typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
  return (Vec)(__builtin_convertvector(*reinterpret_cast<const Halves*>(from), Bits) << 16);
}

inline void store_as(float* to, Vec v) { store(to, v); }

inline void store_as(bfloat16* to, Vec v) {
#if defined(__AVX512BF16__)
  const auto narrow = _mm512_cvtneps_pbh((__m512)v);
  std::memcpy(to, &narrow, 2 * LANES);
#else
  float wide[LANES];
  store(wide, v);
  for (int i = 0; i < LANES; i++) to[i] = bfloat16(wide[i]);
#endif
}

}  // namespace
