#include "ir/base/block_fields.h"

namespace renga {
namespace {

struct TypeFields {
  DType type;
  absl::Span<const BlockField> fields;
};

// Source: the block structs of ggml-common.h, which define the format.
constexpr BlockField kQ4_0[] = {{"d", 2}, {"qs", 16}};
constexpr BlockField kQ4_1[] = {{"d", 2}, {"m", 2}, {"qs", 16}};
constexpr BlockField kQ5_0[] = {{"d", 2}, {"qh", 4, true}, {"qs", 16}};
constexpr BlockField kQ5_1[] = {{"d", 2}, {"m", 2}, {"qh", 4, true}, {"qs", 16}};
constexpr BlockField kQ8_0[] = {{"d", 2}, {"qs", 32}};
constexpr BlockField kQ4_K[] = {{"d", 2}, {"dmin", 2}, {"scales", 12}, {"qs", 128}};
constexpr BlockField kQ5_K[] = {{"d", 2}, {"dmin", 2}, {"scales", 12}, {"qh", 32}, {"qs", 128}};
constexpr BlockField kQ6_K[] = {{"ql", 128}, {"qh", 64}, {"scales", 16}, {"d", 2}};
constexpr BlockField kIQ4_NL[] = {{"d", 2}, {"qs", 16}};
constexpr BlockField kMXFP4[] = {{"e", 1}, {"qs", 16}};

constexpr TypeFields kTypes[] = {
    {DType::kQ4_0, kQ4_0},   {DType::kQ4_1, kQ4_1}, {DType::kQ5_0, kQ5_0},
    {DType::kQ5_1, kQ5_1},   {DType::kQ8_0, kQ8_0}, {DType::kQ4_K, kQ4_K},
    {DType::kQ5_K, kQ5_K},   {DType::kQ6_K, kQ6_K}, {DType::kIQ4_NL, kIQ4_NL},
    {DType::kMXFP4, kMXFP4},
};

}  // namespace

absl::Span<const BlockField> BlockFields(DType type) {
  for (const TypeFields& entry : kTypes) {
    if (entry.type == type) return entry.fields;
  }
  return {};
}

}  // namespace renga
