// A processor's matrix unit, done by hand: what the engine asks of it can be tested where there is none.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define TILES

namespace {

struct Matrix {
  int rows, bytes;
  uint8_t values[16][64];
};
thread_local Matrix matrices[8];
thread_local bool configured = false;

inline Matrix& matrix(int number) {
  if (!configured || !matrices[number].rows) std::abort();
  return matrices[number];
}

// Intel's Software Developer's Manual, volume 2, LDTILECFG: byte 0 the palette, 16 on bytes in a row, 48 on rows.
inline void _tile_loadconfig(const void* shape) {
  const auto* bytes = static_cast<const uint8_t*>(shape);
  if (bytes[0] != 1) std::abort();
  for (int t = 0; t < 8; t++) {
    uint16_t width;
    std::memcpy(&width, bytes + 16 + 2 * t, 2);
    if (width > 64 || bytes[48 + t] > 16) std::abort();
    matrices[t] = {bytes[48 + t], width, {}};
  }
  configured = true;
}

inline void _tile_release() { configured = false; }
inline void _tile_zero(int number) { std::memset(matrix(number).values, 0, sizeof(Matrix::values)); }

inline void _tile_loadd(int number, const void* from, size_t apart) {
  Matrix& to = matrix(number);
  for (int r = 0; r < to.rows; r++) std::memcpy(to.values[r], static_cast<const char*>(from) + r * apart, to.bytes);
}

inline void _tile_stored(int number, void* to, size_t apart) {
  const Matrix& from = matrix(number);
  for (int r = 0; r < from.rows; r++) std::memcpy(static_cast<char*>(to) + r * apart, from.values[r], from.bytes);
}

inline float widened(const uint8_t* bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, 2);
  const uint32_t whole = uint32_t(half) << 16;
  float value;
  std::memcpy(&value, &whole, 4);
  return value;
}

inline void _tile_dpbf16ps(int sums, int left, int right) {
  Matrix &c = matrix(sums), &a = matrix(left), &b = matrix(right);
  if (a.rows != c.rows || b.bytes != c.bytes || 4 * b.rows != a.bytes) std::abort();
  for (int m = 0; m < c.rows; m++)
    for (int k = 0; k < b.rows; k++)
      for (int n = 0; n < c.bytes / 4; n++) {
        float sum;
        std::memcpy(&sum, &c.values[m][4 * n], 4);
        for (int half = 0; half < 2; half++)
          sum += widened(&a.values[m][4 * k + 2 * half]) * widened(&b.values[k][4 * n + 2 * half]);
        std::memcpy(&c.values[m][4 * n], &sum, 4);
      }
}

}  // namespace
