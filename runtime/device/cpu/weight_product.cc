#include "runtime/device/cpu/weight_product.h"

#include <algorithm>
#include <optional>

#include "ir/base/strings.h"
#include "runtime/device/cpu/scratch_carver.h"

namespace renga::cpu {
namespace {

// From this many tokens on it pays to unpack rows first (measured on AVX2).
constexpr int64_t kTileFrom = 4;

std::string Rows8Types() {
  std::string out;
  for (const DTypeInfo& info : AllDTypes()) {
    if (FindRows8Ops(info.type) == nullptr) continue;
    StrAppend(&out, out.empty() ? "" : ", ", info.name);
  }
  return out;
}

}  // namespace

std::string SupportedWeightTypes() {
  std::string out;
  for (const DTypeInfo& info : AllDTypes()) {
    if (FindQuantOps(info.type) == nullptr && FindFloatOps(info.type) == nullptr) continue;
    StrAppend(&out, out.empty() ? "" : ", ", info.name);
  }
  return out;
}

absl::StatusOr<WeightProduct> WeightProduct::Make(const StepCheck& check, std::string_view name,
                                                  const plan::TensorType& weight) {
  WeightProduct product;
  if (weight.layout.empty()) {
    product.quant_ = FindQuantOps(weight.dtype);
    product.float_ = FindFloatOps(weight.dtype);
    if (product.quant_ == nullptr && product.float_ == nullptr) {
      return absl::UnimplementedError(
          StrCat("step '", check.name(), "': ", name, " has type ", Name(weight.dtype),
                 ", supported by the cpu target are ", SupportedWeightTypes()));
    }
  } else {
    product.rows8_ = weight.layout == "rows8" ? FindRows8Ops(weight.dtype) : nullptr;
    if (product.rows8_ == nullptr) {
      return absl::UnimplementedError(StrCat(
          "step '", check.name(), "': ", name, " has type ", Name(weight.dtype), " in layout ",
          weight.layout, ", supported by the cpu target is rows8 for ", Rows8Types()));
    }
  }
  if (weight.shape.back().symbol >= 0) {
    return check.Error(
        StrCat(name, " has shape ", check.ShapeText(weight), ", expected a constant last size"));
  }
  product.k_ = weight.shape.back().value;
  const std::optional<int64_t> row_bytes = RowBytesChecked(weight.dtype, product.k_);
  if (!row_bytes.has_value()) {
    return check.Error(StrCat(name, " has rows of ", product.k_,
                              " elements, expected a multiple of ",
                              Info(weight.dtype).block_elements, " for type ", Name(weight.dtype)));
  }
  product.row_bytes_ = *row_bytes;
  if (weight.shape.size() >= 2) {
    int64_t rows = weight.shape[weight.shape.size() - 2].value;
    if (product.rows8_ != nullptr) rows = (rows + kRows8 - 1) / kRows8 * kRows8;
    if (__builtin_mul_overflow(rows, product.row_bytes_, &product.matrix_bytes_)) {
      return check.Error(
          StrCat(name, " has shape ", check.ShapeText(weight), ", expected fewer than 2^63 bytes"));
    }
  }
  return product;
}

WeightProduct::Input WeightProduct::Convert(ThreadPool& pool, int64_t tokens, RowFn row,
                                            size_t extra_bytes) const {
  Input input;
  ScratchCarver carver;
  if (float_ != nullptr) {
    const int64_t stride = FloatStride(k_);
    const size_t x_at = carver.Add<float>(tokens * stride);
    const size_t extra_at = carver.Add<std::byte>(static_cast<int64_t>(extra_bytes));
    std::byte* base = pool.SharedScratch(carver.bytes());
    float* x = ScratchCarver::At<float>(base, x_at);
    pool.ParallelFor(tokens, 8, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t t = begin; t < end; ++t) {
        std::copy_n(row(t, worker), k_, x + t * stride);
        std::fill(x + t * stride + k_, x + (t + 1) * stride, 0.0f);
      }
    });
    input.floats = x;
    input.extra = base + extra_at;
    return input;
  }
  QuantTokens& x = input.quant;
  x.q_stride = k_;
  x.stride16 = ScaleStride(k_);
  x.stride32 = (k_ / 32 + 8 + 15) / 16 * 16;
  const size_t q_at = carver.Add<int16_t>(tokens * x.q_stride);
  const size_t scale_at = carver.Add<float>(tokens * x.stride32);
  const size_t total16_at = carver.Add<int32_t>(tokens * x.stride16);
  const size_t total32_at = carver.Add<int32_t>(tokens * x.stride32);
  const size_t sum16_at = carver.Add<float>(tokens * x.stride16);
  const size_t sum32_at = carver.Add<float>(tokens * x.stride32);
  const size_t extra_at = carver.Add<std::byte>(static_cast<int64_t>(extra_bytes));
  std::byte* base = pool.SharedScratch(carver.bytes());
  x.q = ScratchCarver::At<int16_t>(base, q_at);
  x.scale = ScratchCarver::At<float>(base, scale_at);
  x.total16 = ScratchCarver::At<int32_t>(base, total16_at);
  x.total32 = ScratchCarver::At<int32_t>(base, total32_at);
  x.sum16 = ScratchCarver::At<float>(base, sum16_at);
  x.sum32 = ScratchCarver::At<float>(base, sum32_at);
  input.extra = base + extra_at;
  pool.ParallelFor(tokens, 8, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t t = begin; t < end; ++t) QuantizeTokens(row(t, worker), 1, k_, x.At(t));
  });
  return input;
}

void WeightProduct::Multiply(const uint8_t* matrix, int64_t begin, int64_t end, const Input& x,
                             int64_t first, int64_t tokens, float* y, int64_t y_stride,
                             ThreadPool& pool, int worker) const {
  if (rows8_ != nullptr) {
    float* scratch = reinterpret_cast<float*>(
        pool.Scratch(worker, static_cast<size_t>(Rows8Scratch()) * sizeof(float)));
    rows8_->multiply(Row(matrix, begin), end - begin, k_, x.quant.At(first), tokens, scratch,
                     y + begin, y_stride);
  } else if (quant_ != nullptr) {
    MultiplyQuant(matrix, begin, end, x.quant.At(first), tokens, y, y_stride, pool, worker);
  } else {
    MultiplyFloat(matrix, begin, end, x.floats + first * FloatStride(k_), tokens, y, y_stride, pool,
                  worker);
  }
}

void WeightProduct::MultiplyQuant(const uint8_t* weight, int64_t begin, int64_t end,
                                  const QuantTokens& x, int64_t tokens, float* y, int64_t y_stride,
                                  ThreadPool& pool, int worker) const {
  ScratchCarver carver;
  if (quant_->dot != nullptr && tokens < kTileFrom) {
    const size_t mins_at = carver.Add<float>(2 * ScaleStride(k_));
    std::byte* base = pool.Scratch(worker, carver.bytes());
    for (int64_t t = 0; t < tokens; ++t) {
      quant_->dot(weight + begin * row_bytes_, row_bytes_, end - begin, k_, x.At(t),
                  ScratchCarver::At<float>(base, mins_at), y + t * y_stride + begin);
    }
    return;
  }
  const size_t q_at = carver.Add<int16_t>(kRows * k_);
  const size_t scale_at = carver.Add<float>(kRows * ScaleStride(k_));
  const size_t min_at = carver.Add<float>(kRows * ScaleStride(k_));
  const size_t acc_at = carver.Add<float>(TileAccumulators(kRows));
  std::byte* base = pool.Scratch(worker, carver.bytes());
  const QuantTile tile{ScratchCarver::At<int16_t>(base, q_at),
                       ScratchCarver::At<float>(base, scale_at),
                       ScratchCarver::At<float>(base, min_at), k_, ScaleStride(k_)};
  for (; begin < end; begin += kRows) {
    const int64_t rows = std::min(kRows, end - begin);
    for (int64_t r = 0; r < rows; ++r) {
      quant_->unpack(weight + (begin + r) * row_bytes_, k_, tile.Row(r));
    }
    MultiplyTile(*quant_, tile, rows, x, tokens, k_, ScratchCarver::At<float>(base, acc_at),
                 y + begin, y_stride);
  }
}

void WeightProduct::MultiplyFloat(const uint8_t* weight, int64_t begin, int64_t end, const float* x,
                                  int64_t tokens, float* y, int64_t y_stride, ThreadPool& pool,
                                  int worker) const {
  const int64_t stride = FloatStride(k_);
  if (tokens < kTileFrom) {
    for (int64_t t = 0; t < tokens; ++t) {
      float_->dot(weight + begin * row_bytes_, row_bytes_, end - begin, k_, x + t * stride,
                  y + t * y_stride + begin);
    }
    return;
  }
  ScratchCarver carver;
  const size_t tile_at = carver.Add<float>(kRows * stride);
  const size_t acc_at = carver.Add<float>(FloatTileAccumulators(kRows));
  std::byte* base = pool.Scratch(worker, carver.bytes());
  float* tile = ScratchCarver::At<float>(base, tile_at);
  for (; begin < end; begin += kRows) {
    const int64_t rows = std::min(kRows, end - begin);
    for (int64_t r = 0; r < rows; ++r) {
      float_->unpack(weight + (begin + r) * row_bytes_, k_, tile + r * stride);
    }
    MultiplyFloatTile(tile, rows, x, tokens, k_, ScratchCarver::At<float>(base, acc_at), y + begin,
                      y_stride);
  }
}

}  // namespace renga::cpu
