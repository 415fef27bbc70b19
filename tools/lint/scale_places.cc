#include "tools/lint/scale_places.h"

namespace renga {
namespace {

constexpr ScalePlace kPlaces[] = {
    {DType::kQ4_0, 0, 2, 16},    {DType::kQ4_1, 0, 4, 16},   {DType::kQ5_0, 0, 6, 16},
    {DType::kQ5_1, 0, 8, 16},    {DType::kQ8_0, 0, 2, 32},   {DType::kQ2_K, 80, 16, 64},
    {DType::kQ3_K, 108, 32, 64}, {DType::kQ4_K, 0, 16, 128}, {DType::kQ5_K, 0, 48, 128},
    {DType::kQ6_K, 208, 0, 128}, {DType::kIQ1_S, 0, 2, 32},  {DType::kIQ2_XXS, 0, 2, 64},
    {DType::kIQ2_XS, 0, 2, 64},  {DType::kIQ2_S, 0, 2, 32},  {DType::kIQ3_XXS, 0, 2, 64},
    {DType::kIQ3_S, 0, 2, 64},   {DType::kIQ4_NL, 0, 2, 16}, {DType::kIQ4_XS, 0, 8, 128},
    {DType::kTQ1_0, 52, 0, 48},  {DType::kTQ2_0, 64, 0, 64},
};

}  // namespace

const ScalePlace* FindScalePlace(DType type) {
  for (const ScalePlace& place : kPlaces) {
    if (place.type == type) return &place;
  }
  return nullptr;
}

}  // namespace renga
