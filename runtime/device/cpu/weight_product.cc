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

// Numbers that a token has for its groups of 32.
int64_t Stride32(int64_t k) { return (k / 32 + 8 + 15) / 16 * 16; }

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

WeightProduct::InputPlaces WeightProduct::PlaceInput(int64_t tokens, size_t extra_bytes) const {
  InputPlaces at = {};
  ScratchCarver carver;
  if (float_ != nullptr) {
    at.floats = carver.Add<float>(tokens * FloatStride(k_));
  } else {
    const int64_t stride16 = ScaleStride(k_), stride32 = Stride32(k_);
    at.q = carver.Add<int16_t>(tokens * k_);
    at.scale = carver.Add<float>(tokens * stride32);
    at.total16 = carver.Add<int32_t>(tokens * stride16);
    at.total32 = carver.Add<int32_t>(tokens * stride32);
    at.sum16 = carver.Add<float>(tokens * stride16);
    at.sum32 = carver.Add<float>(tokens * stride32);
  }
  at.extra = carver.Add<std::byte>(static_cast<int64_t>(extra_bytes));
  at.bytes = carver.bytes();
  return at;
}

size_t WeightProduct::InputScratch(int64_t tokens, size_t extra_bytes) const {
  return PlaceInput(tokens, extra_bytes).bytes;
}

WeightProduct::Input WeightProduct::Convert(ThreadPool& pool, int64_t tokens, RowFn row,
                                            size_t extra_bytes) const {
  Input input;
  const InputPlaces at = PlaceInput(tokens, extra_bytes);
  std::byte* base = pool.SharedScratch(at.bytes);
  input.extra = base + at.extra;
  if (float_ != nullptr) {
    const int64_t stride = FloatStride(k_);
    float* x = ScratchCarver::At<float>(base, at.floats);
    pool.ParallelFor(tokens, 8, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t t = begin; t < end; ++t) {
        std::copy_n(row(t, worker), k_, x + t * stride);
        std::fill(x + t * stride + k_, x + (t + 1) * stride, 0.0f);
      }
    });
    input.floats = x;
    return input;
  }
  QuantTokens& x = input.quant;
  x.q_stride = k_;
  x.stride16 = ScaleStride(k_);
  x.stride32 = Stride32(k_);
  x.q = ScratchCarver::At<int16_t>(base, at.q);
  x.scale = ScratchCarver::At<float>(base, at.scale);
  x.total16 = ScratchCarver::At<int32_t>(base, at.total16);
  x.total32 = ScratchCarver::At<int32_t>(base, at.total32);
  x.sum16 = ScratchCarver::At<float>(base, at.sum16);
  x.sum32 = ScratchCarver::At<float>(base, at.sum32);
  pool.ParallelFor(tokens, 8, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t t = begin; t < end; ++t) QuantizeTokens(row(t, worker), 1, k_, x.At(t));
  });
  return input;
}

WeightProduct::TilePlaces WeightProduct::PlaceQuantTile() const {
  ScratchCarver carver;
  TilePlaces at = {};
  at.q = carver.Add<int16_t>(kRows * k_);
  at.scale = carver.Add<float>(kRows * ScaleStride(k_));
  at.min = carver.Add<float>(kRows * ScaleStride(k_));
  at.acc = carver.Add<float>(TileAccumulators(kRows));
  at.bytes = carver.bytes();
  return at;
}

WeightProduct::TilePlaces WeightProduct::PlaceFloatTile() const {
  ScratchCarver carver;
  TilePlaces at = {};
  at.q = carver.Add<float>(kRows * FloatStride(k_));
  at.acc = carver.Add<float>(FloatTileAccumulators(kRows));
  at.bytes = carver.bytes();
  return at;
}

size_t WeightProduct::DotScratch() const {
  return static_cast<size_t>(2 * ScaleStride(k_)) * sizeof(float);
}

size_t WeightProduct::WorkerScratch(int64_t tokens) const {
  if (rows8_ != nullptr) return static_cast<size_t>(Rows8Scratch()) * sizeof(float);
  if (quant_ != nullptr) {
    return quant_->dot != nullptr && tokens < kTileFrom ? DotScratch() : PlaceQuantTile().bytes;
  }
  return tokens < kTileFrom ? 0 : PlaceFloatTile().bytes;
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
  if (quant_->dot != nullptr && tokens < kTileFrom) {
    float* mins = reinterpret_cast<float*>(pool.Scratch(worker, DotScratch()));
    for (int64_t t = 0; t < tokens; ++t) {
      quant_->dot(weight + begin * row_bytes_, row_bytes_, end - begin, k_, x.At(t), mins,
                  y + t * y_stride + begin);
    }
    return;
  }
  const TilePlaces at = PlaceQuantTile();
  std::byte* base = pool.Scratch(worker, at.bytes);
  const QuantTile tile{ScratchCarver::At<int16_t>(base, at.q),
                       ScratchCarver::At<float>(base, at.scale),
                       ScratchCarver::At<float>(base, at.min), k_, ScaleStride(k_)};
  for (; begin < end; begin += kRows) {
    const int64_t rows = std::min(kRows, end - begin);
    for (int64_t r = 0; r < rows; ++r) {
      quant_->unpack(weight + (begin + r) * row_bytes_, k_, tile.Row(r));
    }
    MultiplyTile(*quant_, tile, rows, x, tokens, k_, ScratchCarver::At<float>(base, at.acc),
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
  const TilePlaces at = PlaceFloatTile();
  std::byte* base = pool.Scratch(worker, at.bytes);
  float* tile = ScratchCarver::At<float>(base, at.q);
  for (; begin < end; begin += kRows) {
    const int64_t rows = std::min(kRows, end - begin);
    for (int64_t r = 0; r < rows; ++r) {
      float_->unpack(weight + (begin + r) * row_bytes_, k_, tile + r * stride);
    }
    MultiplyFloatTile(tile, rows, x, tokens, k_, ScratchCarver::At<float>(base, at.acc), y + begin,
                      y_stride);
  }
}

}  // namespace renga::cpu
