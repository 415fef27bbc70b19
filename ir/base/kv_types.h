// Element types of the caches of K and V where layers differ.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/types/span.h"
#include "ir/base/dtype.h"
#include "ir/base/strings.h"

namespace renga {

// What layers `first` to `last`, counted from 0, have in place of what all have.
struct KvTypesOfLayers {
  int64_t first = 0, last = 0;
  std::optional<DType> k, v;  // nothing: that of all
};

// The type of K or V (`which`: &KvTypesOfLayers::k or v) of a layer: the last that names it, else
// `of_all`.
inline DType TypeOfLayer(absl::Span<const KvTypesOfLayers> layers, int64_t layer,
                         std::optional<DType> KvTypesOfLayers::*which, DType of_all) {
  for (const KvTypesOfLayers& some : layers) {
    if (some.first <= layer && layer <= some.last) of_all = (some.*which).value_or(of_all);
  }
  return of_all;
}

// "0-1:q4_0/q4_0 5-5:f16/": of K and V, nothing where that of all counts; empty without any.
inline std::string KvTypesText(absl::Span<const KvTypesOfLayers> layers) {
  std::string text;
  for (const KvTypesOfLayers& some : layers) {
    StrAppend(&text, text.empty() ? "" : " ", some.first, "-", some.last, ":",
              some.k ? Name(*some.k) : "", "/", some.v ? Name(*some.v) : "");
  }
  return text;
}

}  // namespace renga
