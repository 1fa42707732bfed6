// The KV cache as a decode step writes and reads it, a layer and a head at a time.

#pragma once

#include <algorithm>

#include "attention_cache.h"
#include "quantized_kv.h"

namespace decoder {

// k, v [slots, kv_heads, head_dim]. A key and a value belong at slot · kv_heads + head.
struct PlainCache {
  bf16 *k, *v;

  void write(int64_t at, const bf16* key, const bf16* value, int64_t head_dim) const {
    std::copy(key, key + head_dim, k + at * head_dim);
    std::copy(value, value + head_dim, v + at * head_dim);
  }

  attention::Plain<bf16> reader() const { return {k, v}; }
};

// The same in codes, with scales [slots, kv_heads].
template <class Code>
struct CodedCache {
  uint8_t *k, *v;
  bf16 *k_scales, *v_scales;

  void write(int64_t at, const bf16* key, const bf16* value, int64_t head_dim) const {
    quantized::quantize<Code>(key, k + at * head_dim, k_scales + at, head_dim);
    quantized::quantize<Code>(value, v + at * head_dim, v_scales + at, head_dim);
  }

  quantized::Coded<Code> reader() const { return {k, v, k_scales, v_scales}; }
};

// Of all layers; scales where there are codes.
struct Caches {
  void *const *keys, *const *values;
  bf16 *const *key_scales, *const *value_scales;
  int64_t codes;  // bfloat16: 0, int8: 1, e4m3: 2

  // body(cache) with a layer's.
  template <class Body>
  void with_layer(int64_t layer, const Body& body) const {
    if (codes == 0) return body(PlainCache{(bf16*)keys[layer], (bf16*)values[layer]});
    if (codes == 1) return body(coded<quantized::Int8>(layer));
    body(coded<quantized::E4M3>(layer));
  }

 private:
  template <class Code>
  CodedCache<Code> coded(int64_t layer) const {
    return {(uint8_t*)keys[layer], (uint8_t*)values[layer], key_scales[layer], value_scales[layer]};
  }
};

}  // namespace decoder
