// What the emitters of products share: weights as the kernels have them, and products for many
// rows, which are two launches: the rows as f16, then the matrix product.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "codegen/emit/cuda_step.h"
#include "codegen/emit/kernel_shapes.h"
#include "ir/base/mma_layout.h"
#include "ir/base/status.h"

namespace renga::codegen {

// The weight of a product.
struct ProductWeight {
  DType type;
  int64_t rows, k;
  MmaLayout layout;
  int32_t buffer;

  // For a product that takes a number of x as so many f16: with two, weights are as exact as f16
  // allows too.
  std::string Text(int64_t x_parts) const { return PackedText(type, rows, k, x_parts == 2); }
  std::string Name() const { return ShapeName(type, rows, k); }
};

// The operand `name`. Unimplemented for a type without a kernel: names tensor, target, the types
// that have one, and what else there is.
absl::StatusOr<ProductWeight> WeightOf(const CudaStep& step, std::string_view name);

// Of a block, and blocks of the grid, of a product for a few rows: enough warps to divide the
// steps of a tile, enough blocks for every multiprocessor. `tiles` are those of all its weights.
int64_t ProductWarps(const GpuLimits& gpu, const MmaLayout& layout, int64_t tiles);
inline int64_t ProductBlocksPerSm(int64_t warps) { return 16 / warps; }  // 128 registers a thread
int64_t ProductBlocks(const GpuLimits& gpu, int64_t tiles, int64_t warps);

// The largest of most, most / 2, ... 1 rows for which `shared(rows)` bytes fit a block; 0 where not
// even those of one row do.
inline constexpr int64_t kDecodeRows = 8;  // columns of an mma: as many cost what one does
template <typename Shared>
int64_t FittingRows(const GpuLimits& gpu, int64_t most, Shared shared) {
  for (int64_t rows = most; rows > 0; rows /= 2) {
    if (shared(rows) <= gpu.shared_per_block) return rows;
  }
  return 0;
}

// Of ChooseProductWay.
inline constexpr std::string_view kAutoWay = "auto";

// The same of a kernel that streams the weights, which is one of those of kAutoWay alone.
template <typename Shared>
int64_t StreamedRows(const GpuLimits& gpu, std::string_view way, int64_t most, Shared shared) {
  return way == kAutoWay ? FittingRows(gpu, most, shared) : 0;
}

// Why a kernel that streams weights past `rows` rows serves no more.
std::string DecodeReason(int64_t rows, int64_t wanted);

// Of how many of `rows` rows a kernel for a few gives each what it gives it alone: where an mma has
// columns for those in `x_parts` parts, the sums have two chains (codegen/kernels/matvec.cuh).
int64_t AlikeRows(int64_t rows, int64_t x_parts);

// How many f16 the products of a step by `weights` take a number of x as, and what that adds to
// the reason of a variant.
int64_t XParts(absl::Span<const ProductWeight* const> weights);
std::string XPartsReason(int64_t x_parts);

// Rows that the kernels for a few take of such a step at most.
int64_t DecodeRows(const GpuLimits& gpu, absl::Span<const ProductWeight* const> weights);

// eps of the node's norm; 0 without one.
double NormEps(const CudaStep& step);

// "static constexpr bool kNorm = true; ...",
// "static constexpr int kTokens = 8, kWarps = 4, kXParts = 2;".
std::string NormConfig(const CudaStep& step);
std::string SizesConfig(int64_t rows, int64_t warps, int64_t x_parts);

// Shared memory as an expression of the rows.
plan::Expr SharedBytes(const TokenBytes& bytes, const plan::Expr& rows);

// Rows of x as f16 in scratch, and their factors; and what blocks that divide k hand over.
struct HalfRowsOf {
  int32_t values = -1, factors = -1;
  int64_t pitch = 0;    // halves of a part of a row
  int64_t x_parts = 1;  // numbers whose sum is one of x: a row is so many parts
  int32_t parts = -1, tickets = -1;
};

// A way to multiply them by weights.
enum class Matmul {
  kFew,    // matmul, up to kFewRows rows
  kMany,   // matmul, any number
  kWgmma,  // matmul_wgmma
};
inline constexpr int64_t kFewRows = 16;

// What serves rows up to `last`, and why.
struct ManyRows {
  Matmul matmul;
  int64_t last;
  std::string reason;
};

// How a product by `weights` is computed, one of these names; noted in the plan.
//   auto   by the number of rows: a kernel that streams the weights past few, then as below
//   few    matmul for few rows up to kFewRows, also where the former would do; then as auto
//   mma    matmul for many rows, for any number
//   wgmma  matmul_wgmma for any number, where the targets and the weights allow it
absl::StatusOr<std::string> ChooseProductWay(CudaStep& step,
                                             absl::Span<const ProductWeight* const> weights);

// Variants for more than `decoded` rows by all of `weights`; none where there are never so many.
std::vector<ManyRows> ManyRowsVariants(const CudaStep& step, std::string_view way, int64_t decoded,
                                       absl::Span<const ProductWeight* const> weights);

// Scratch for all of `variants`, one at a time.
absl::StatusOr<HalfRowsOf> HalfRowsScratch(CudaStep& step,
                                           absl::Span<const ProductWeight* const> weights,
                                           absl::Span<const ManyRows> variants, int64_t x_parts);

// Adds the launch that fills it from operand x[rows, k], perhaps normed by operand norm. What
// kWgmma reads in another order than the others.
void AddHalfRows(CudaStep& step, Matmul matmul, const HalfRowsOf& half, int64_t k);

struct MatmulOperands {
  int32_t bias = -1, residual = -1, y = -1;
};

// Adds y = weight x + bias + residual for `rows` of x.
void AddMatmul(CudaStep& step, const ManyRows& rows, const HalfRowsOf& x,
               const ProductWeight& weight, const MatmulOperands& operands);

// Variants for more than `decoded` rows of operand x, perhaps normed by operand norm, as `way`
// says. In each the rows become f16 once, `x_parts` of them a number, and `products(rows, x as
// f16)` adds what follows: products by `weights`, and more.
template <typename Products>
absl::Status EmitManyRows(CudaStep& step, std::string_view way, int64_t decoded,
                          absl::Span<const ProductWeight* const> weights, int64_t x_parts,
                          Products products) {
  const std::vector<ManyRows> variants = ManyRowsVariants(step, way, decoded, weights);
  if (variants.empty()) return absl::OkStatus();
  RENGA_ASSIGN_OR_RETURN(const HalfRowsOf half, HalfRowsScratch(step, weights, variants, x_parts));
  for (const ManyRows& rows : variants) {
    AddHalfRows(step, rows.matmul, half, weights[0]->k);
    products(rows, half);
    // Where they are the first: that tiles give each row what they give it alone is not tested.
    step.EndVariant(rows.last, StrCat(rows.reason, XPartsReason(x_parts)), /*alike=*/1);
  }
  return absl::OkStatus();
}

}  // namespace renga::codegen
