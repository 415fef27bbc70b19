// c[m,n] = a[m,k] b[k,n] through CopyAsync, LoadMatrix and MmaF16; two stages. m, n, k multiples of
// 64, 64, 32.
#include "codegen/kernels/primitives.cuh"

namespace {

using namespace renga::kernels;

constexpr int kRows = 64, kColumns = 64, kDepth = 32;
constexpr int kPitchA = kDepth + 8,
              kPitchB = kColumns + 8;  // in elements; no two rows of LoadMatrix in one bank

__device__ void LoadStage(Half* a_stage, Half* b_stage, const Half* a, const Half* b, int row,
                          int column, int depth, int n, int k) {
  for (int i = threadIdx.x; i < kRows * kDepth / 8; i += 128) {
    const int r = i / (kDepth / 8), c = i % (kDepth / 8) * 8;
    CopyAsync16(a_stage + r * kPitchA + c, a + (row + r) * k + depth + c);
  }
  for (int i = threadIdx.x; i < kDepth * kColumns / 8; i += 128) {
    const int r = i / (kColumns / 8), c = i % (kColumns / 8) * 8;
    CopyAsync16(b_stage + r * kPitchB + c, b + (depth + r) * n + column + c);
  }
  CommitCopies();
}

}  // namespace

extern "C" __global__ void __launch_bounds__(128)
    gemm_mma(const Half* a, const Half* b, float* c, int n, int k) {
  SharedArena arena;
  Half* a_stages = arena.Take<Half>(2 * kRows * kPitchA, 128);
  Half* b_stages = arena.Take<Half>(2 * kDepth * kPitchB, 128);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int row = blockIdx.y * kRows, column = blockIdx.x * kColumns;
  float sums[8][4] = {};
  LoadStage(a_stages, b_stages, a, b, row, column, 0, n, k);
  for (int depth = 0, stage = 0; depth < k; depth += kDepth, stage ^= 1) {
    if (depth + kDepth < k) {
      LoadStage(a_stages + (stage ^ 1) * kRows * kPitchA, b_stages + (stage ^ 1) * kDepth * kPitchB,
                a, b, row, column, depth + kDepth, n, k);
      WaitForCopies<1>();
    } else {
      WaitForCopies<0>();
    }
    SyncThreads();
    const Half* a_stage = a_stages + stage * kRows * kPitchA;
    const Half* b_stage = b_stages + stage * kDepth * kPitchB;
    for (int step = 0; step < kDepth; step += 16) {
      uint32_t rows[4];
      LoadMatrix4(rows, a_stage + (warp * 16 + lane % 16) * kPitchA + step + lane / 16 * 8);
      for (int j = 0; j < 8; ++j) {
        uint32_t columns[2];
        LoadMatrix2Transposed(columns, b_stage + (step + lane % 16) * kPitchB + j * 8);
        MmaF16(sums[j], rows, columns);
      }
    }
    SyncThreads();
  }
  for (int j = 0; j < 8; ++j) {
    const int r = row + warp * 16 + lane / 4, at = column + j * 8 + lane % 4 * 2;
    *reinterpret_cast<float2*>(c + r * n + at) = make_float2(sums[j][0], sums[j][1]);
    *reinterpret_cast<float2*>(c + (r + 8) * n + at) = make_float2(sums[j][2], sums[j][3]);
  }
}
