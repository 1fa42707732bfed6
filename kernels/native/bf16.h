// bfloat16, one at a time: the upper half of a float32.

#pragma once

#include <cstdint>
#include <cstring>

using bf16 = uint16_t;

inline float widen(bf16 half) {
  uint32_t bits = (uint32_t)half << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// To nearest, ties to even; a NaN stays one.
inline bf16 narrow(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return (bf16)(value != value ? bits >> 16 | 0x40 : nearest);
}

// The same for what is float32 already.
inline float widen(float value) { return value; }

// value, in the type of `to`.
inline void put(bf16& to, float value) { to = narrow(value); }

inline void put(bf16& to, bf16 value) { to = value; }

inline void put(float& to, float value) { to = value; }

inline void put(float& to, bf16 value) { to = widen(value); }
