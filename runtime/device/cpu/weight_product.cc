#include "runtime/device/cpu/weight_product.h"

#include <algorithm>
#include <optional>

#include "ir/base/strings.h"
#include "runtime/device/cpu/scratch_carver.h"

namespace renga::cpu {
namespace {

// From this many tokens on it pays to unpack rows first (measured on AVX2).
constexpr int64_t kTileFrom = 4;

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
  product.quant_ = FindQuantOps(weight.dtype);
  product.float_ = FindFloatOps(weight.dtype);
  if (product.quant_ == nullptr && product.float_ == nullptr) {
    return absl::UnimplementedError(StrCat("step '", check.name(), "': ", name, " has type ",
                                           Name(weight.dtype), ", supported by the cpu target are ",
                                           SupportedWeightTypes()));
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
  return product;
}

bool WeightProduct::Reads(const WeightProduct& other) const {
  if (k_ != other.k_ || (quant_ == nullptr) != (other.quant_ == nullptr)) return false;
  if (quant_ == nullptr || !quant_->mins) return true;  // sums are not looked at
  return other.quant_->mins && other.quant_->per16 == quant_->per16;
}

WeightProduct::Input WeightProduct::Convert(ThreadPool& pool, int64_t tokens, Row row,
                                            size_t extra_bytes) const {
  Input input;
  ScratchCarver carver;
  if (quant_ == nullptr) {
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
  x.scale_stride = (k_ / 32 + 15) / 16 * 16;
  x.sum_stride = quant_->mins ? ScaleStride(k_) : 0;
  const size_t q_at = carver.Add<int16_t>(tokens * x.q_stride);
  const size_t scale_at = carver.Add<float>(tokens * x.scale_stride);
  const size_t sum_at = carver.Add<float>(tokens * x.sum_stride);
  const size_t extra_at = carver.Add<std::byte>(static_cast<int64_t>(extra_bytes));
  std::byte* base = pool.SharedScratch(carver.bytes());
  x.q = ScratchCarver::At<int16_t>(base, q_at);
  x.scale = ScratchCarver::At<float>(base, scale_at);
  x.sum = ScratchCarver::At<float>(base, sum_at);
  input.extra = base + extra_at;
  pool.ParallelFor(tokens, 8, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t t = begin; t < end; ++t) QuantizeTokens(row(t, worker), 1, k_, *quant_, x.At(t));
  });
  return input;
}

void WeightProduct::Multiply(const uint8_t* weight, int64_t begin, int64_t end, const Input& x,
                             int64_t first, int64_t tokens, float* y, int64_t y_stride,
                             ThreadPool& pool, int worker) const {
  if (quant_ != nullptr) {
    MultiplyQuant(weight, begin, end, x.quant.At(first), tokens, y, y_stride, pool, worker);
  } else {
    MultiplyFloat(weight, begin, end, x.floats + first * FloatStride(k_), tokens, y, y_stride, pool,
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
