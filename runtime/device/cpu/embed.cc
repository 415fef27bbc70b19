// embed: rows of a table in any supported type, as floats.
#include <algorithm>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/scratch_carver.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/weight_product.h"

namespace renga::cpu {
namespace {

// One unpacked row to floats. Each product and sum is exact or rounded once, so these are the
// values that the formats define.
void Dequantize(const QuantOps& ops, const QuantTile& row, int64_t k, float* y) {
  const int64_t words = UnitWords();
  for (int64_t i = 0; i < k; ++i) {
    const int64_t in_unit = i % (2 * words);
    const int64_t at = i - in_unit + (in_unit % 2) * words + in_unit / 2;
    const int64_t group = i / (ops.per16 ? 16 : 32);
    const float v = row.scale[group] * static_cast<float>(row.q[at]);
    y[i] = ops.mins ? v + row.min[group] : v;
  }
}

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"tokens", "table"}, {"y"});
  RENGA_RETURN_IF_ERROR(check.Counts(2));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kI32}, 1));
  RENGA_RETURN_IF_ERROR(check.InRank(1, 2));
  RENGA_RETURN_IF_ERROR(check.OutType(0, {DType::kF32}, 2));
  const plan::TensorType& table = check.In(1);
  RENGA_RETURN_IF_ERROR(check.FileLayout(1));
  RENGA_ASSIGN_OR_RETURN(const WeightProduct row, WeightProduct::Make(check, "table", table));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), 0, "tokens", check.In(0).shape[0]));
  RENGA_RETURN_IF_ERROR(check.SameDim("y", check.Out(0), 1, "table", table.shape[1]));
  const QuantOps* quant = FindQuantOps(table.dtype);
  const FloatOps* plain = FindFloatOps(table.dtype);
  const int64_t k = row.k();
  ScratchCarver carver;
  const size_t q = carver.Add<int16_t>(k + 16);  // or, for plain types, a padded row of floats
  carver.Add<float>(FloatStride(k));
  const size_t scale = carver.Add<float>(ScaleStride(k));
  const size_t min = carver.Add<float>(ScaleStride(k));
  const auto run = [=, row_bytes = RowBytes(table.dtype, k)](const KernelCall& call) {
    const int32_t* tokens = call.inputs[0].as<const int32_t>();
    float* y = call.outputs[0].as<float>();
    call.pool.ParallelFor(call.inputs[0].dims[0], 4, [&](int64_t begin, int64_t end, int worker) {
      std::byte* base = call.pool.Scratch(worker, carver.bytes());
      for (int64_t t = begin; t < end; ++t) {
        const uint8_t* stored = call.inputs[1].data + tokens[t] * row_bytes;
        if (quant != nullptr) {
          const QuantTile tile{ScratchCarver::At<int16_t>(base, q),
                               ScratchCarver::At<float>(base, scale),
                               ScratchCarver::At<float>(base, min), k, ScaleStride(k)};
          quant->unpack(stored, k, tile);
          Dequantize(*quant, tile, k, y + t * k);
        } else {
          float* padded = ScratchCarver::At<float>(base, q);
          plain->unpack(stored, k, padded);
          std::copy_n(padded, k, y + t * k);
        }
      }
    });
  };
  return PreparedKernel(run, [carver](const ScratchCall&) {
    return ScratchBytes{carver.bytes(), 0};
  });
}

}  // namespace

const KernelDef kEmbed = {"embed", Prepare};

}  // namespace renga::cpu
