// SwiGLU's gate on an NVIDIA GPU: y = silu(gate) * up, a thread an element.
//
// A C ABI keeps this file free of PyTorch's headers, so that it compiles in seconds with nvcc alone
// and is tied to no version of PyTorch. silu_mul_cuda.py builds and calls it.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace {

constexpr int kThreads = 256;

__device__ float widen(float x) { return x; }
__device__ float widen(__half x) { return __half2float(x); }
__device__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }

template <typename T> __device__ T narrow(float x);
template <> __device__ float narrow(float x) { return x; }
template <> __device__ __half narrow(float x) { return __float2half_rn(x); }
template <> __device__ __nv_bfloat16 narrow(float x) { return __float2bfloat16_rn(x); }

// gate_up [tokens, 2 * size], gate first; y [tokens, size].
template <typename T>
__global__ void silu_mul(const T* gate_up, T* y, long long tokens, long long size) {
    const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long at = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
         at < tokens * size; at += stride) {
        const long long row = at / size, column = at % size;
        const float gate = widen(gate_up[row * 2 * size + column]);
        const float up = widen(gate_up[row * 2 * size + size + column]);
        y[at] = narrow<T>(gate / (1.0f + __expf(-gate)) * up);
    }
}

template <typename T>
int launch(const void* gate_up, void* y, long long tokens, long long size, void* stream) {
    const long long blocks = (tokens * size + kThreads - 1) / kThreads;
    if (blocks == 0) return cudaSuccess;
    const int grid = static_cast<int>(blocks < 65535 ? blocks : 65535);
    silu_mul<T><<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
        static_cast<const T*>(gate_up), static_cast<T*>(y), tokens, size);
    return cudaGetLastError();
}

}  // namespace

// dtype: 0 float32, 1 float16, 2 bfloat16. Returns a cudaError_t, 0 where the launch went well.
extern "C" int silu_mul_launch(const void* gate_up, void* y, long long tokens, long long size,
                               int dtype, void* stream) {
    switch (dtype) {
        case 0: return launch<float>(gate_up, y, tokens, size, stream);
        case 1: return launch<__half>(gate_up, y, tokens, size, stream);
        case 2: return launch<__nv_bfloat16>(gate_up, y, tokens, size, stream);
        default: return cudaErrorInvalidValue;
    }
}
