// Attention of one query token, split over the cache: each block takes a stretch of positions for
// the heads that share a K/V head, its warps take turns, and a second kernel combines the
// stretches.
#include "codegen/kernels/primitives.cuh"

namespace {

using namespace renga::kernels;

constexpr int kHeads = 4;  // that share K and V
constexpr int kDim = 128;
constexpr int kWarps = 4;
constexpr float kLog2E = 1.4426950408889634f;

__device__ float WarpSum(float x) {
  for (int distance = 16; distance > 0; distance /= 2) x += ShuffleXor(x, distance);
  return x;
}

}  // namespace

// parts[kv_heads * kHeads, splits, 2 + kDim]: maximum, sum, weighted values. K, V: [kv_heads,
// context, kDim].
extern "C" __global__ void __launch_bounds__(128)
    flash_decode(const float* q, const Half* k, const Half* v, float* parts, int context,
                 int splits, float scale) {
  SharedArena arena;
  float* max_of = arena.Take<float>(kWarps * kHeads);
  float* sum_of = arena.Take<float>(kWarps * kHeads);
  float* values_of = arena.Take<float>(kWarps * kHeads * kDim);
  const int kv_head = blockIdx.x, split = blockIdx.y;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int share = (context + splits - 1) / splits;
  const int first = split * share, end = min(context, first + share);

  WaitForPreviousKernel();
  float query[kHeads][4], values[kHeads][4], maximum[kHeads], sum[kHeads];
  for (int h = 0; h < kHeads; ++h) {
    const float4 four =
        LoadFromL2(reinterpret_cast<const float4*>(q + (kv_head * kHeads + h) * kDim + lane * 4));
    query[h][0] = four.x * scale * kLog2E;
    query[h][1] = four.y * scale * kLog2E;
    query[h][2] = four.z * scale * kLog2E;
    query[h][3] = four.w * scale * kLog2E;
    maximum[h] = -Infinity();
    sum[h] = 0.0f;
    for (int i = 0; i < 4; ++i) values[h][i] = 0.0f;
  }
  for (int position = first + warp; position < end; position += kWarps) {
    const int at = (kv_head * context + position) * kDim + lane * 4;
    const uint2 k4 = *reinterpret_cast<const uint2*>(k + at);
    const uint2 v4 = *reinterpret_cast<const uint2*>(v + at);
    const Half2 k0{k4.x}, k1{k4.y}, v0{v4.x}, v1{v4.y};
    for (int h = 0; h < kHeads; ++h) {
      const float score = WarpSum(query[h][0] * LowToFloat(k0) + query[h][1] * HighToFloat(k0) +
                                  query[h][2] * LowToFloat(k1) + query[h][3] * HighToFloat(k1));
      const float old = maximum[h];
      maximum[h] = fmaxf(old, score);
      const float shrink = FastExp2(old - maximum[h]), weight = FastExp2(score - maximum[h]);
      sum[h] = sum[h] * shrink + weight;
      values[h][0] = values[h][0] * shrink + weight * LowToFloat(v0);
      values[h][1] = values[h][1] * shrink + weight * HighToFloat(v0);
      values[h][2] = values[h][2] * shrink + weight * LowToFloat(v1);
      values[h][3] = values[h][3] * shrink + weight * HighToFloat(v1);
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    if (lane == 0) {
      max_of[warp * kHeads + h] = maximum[h];
      sum_of[warp * kHeads + h] = sum[h];
    }
    for (int i = 0; i < 4; ++i) {
      values_of[(warp * kHeads + h) * kDim + lane * 4 + i] = values[h][i];
    }
  }
  SyncThreads();
  for (int h = 0; h < kHeads; ++h) {
    float all = -Infinity(), total = 0.0f, value = 0.0f;
    for (int w = 0; w < kWarps; ++w) all = fmaxf(all, max_of[w * kHeads + h]);
    for (int w = 0; w < kWarps; ++w) {
      const float old = max_of[w * kHeads + h];
      const float shrink = old == -Infinity() ? 0.0f : FastExp2(old - all);
      total += shrink * sum_of[w * kHeads + h];
      value += shrink * values_of[(w * kHeads + h) * kDim + threadIdx.x];
    }
    float* part = parts + ((kv_head * kHeads + h) * splits + split) * (2 + kDim);
    part[2 + threadIdx.x] = value;
    if (threadIdx.x == 0) {
      part[0] = all;
      part[1] = total;
    }
  }
  LetNextKernelStart();
}

extern "C" __global__ void __launch_bounds__(128)
    flash_combine(const float* parts, Half* out, int splits) {
  WaitForPreviousKernel();
  const float* mine = parts + blockIdx.x * splits * (2 + kDim);
  float all = -Infinity(), total = 0.0f, value = 0.0f;
  for (int s = 0; s < splits; ++s) all = fmaxf(all, LoadFromL2(mine + s * (2 + kDim)));
  for (int s = 0; s < splits; ++s) {
    const float* part = mine + s * (2 + kDim);
    const float shrink = FastExp2(LoadFromL2(part) - all);
    total += shrink * LoadFromL2(part + 1);
    value += shrink * LoadFromL2(part + 2 + threadIdx.x);
  }
  out[blockIdx.x * kDim + threadIdx.x] = ToHalf(value / total);
}
