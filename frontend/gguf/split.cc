#include "frontend/gguf/split.h"

#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "ir/base/status.h"

namespace renga {
namespace {

constexpr std::string_view kCountKey = "split.count";
constexpr std::string_view kNumberKey = "split.no";
constexpr std::string_view kTensorsKey = "split.tensors.count";

// The fields of a part's metadata; `number` counts from 0 in the file and in here.
struct SplitFields {
  uint64_t number;
  uint64_t count;
  uint64_t tensors;
};

absl::StatusOr<SplitFields> ReadFields(const Metadata& metadata) {
  SplitFields fields;
  RENGA_ASSIGN_OR_RETURN(fields.number, metadata.GetUint(kNumberKey));
  RENGA_ASSIGN_OR_RETURN(fields.count, metadata.GetUint(kCountKey));
  RENGA_ASSIGN_OR_RETURN(fields.tensors, metadata.GetUint(kTensorsKey));
  return fields;
}

std::string SplitSuffix(uint64_t part, uint64_t parts) {
  return absl::StrFormat("-%05d-of-%05d.gguf", part, parts);
}

// The path up to the part number, where `path` is named as part `number` (from 0) of `count`.
absl::StatusOr<std::string> SplitPrefix(const std::string& path, const SplitFields& fields) {
  const std::string suffix = SplitSuffix(fields.number + 1, fields.count);
  if (!absl::EndsWith(path, suffix)) {
    return absl::InvalidArgumentError(StrCat(
        path, ": is part ", fields.number + 1, " of ", fields.count,
        " of a split model: expected a file name that ends in ", suffix,
        ", so that the other parts can be found; rename it, or merge the parts into one file"));
  }
  return path.substr(0, path.size() - suffix.size());
}

absl::Status NotFirstError(const std::string& path, const SplitFields& fields) {
  const absl::StatusOr<std::string> prefix = SplitPrefix(path, fields);
  return absl::InvalidArgumentError(StrCat(
      path, ": expected the first part of a split model, got part ", fields.number + 1, " of ",
      fields.count, "; open ", prefix.ok() ? SplitPath(*prefix, 1, fields.count) : "part 1"));
}

// That the part with number `number`, read from `path`, is what its name says.
absl::Status CheckPart(const std::string& path, const SplitFields& fields, uint64_t number,
                       uint64_t count) {
  if (fields.count != count) {
    return absl::InvalidArgumentError(StrCat(path, ": ", kCountKey, ": expected ", count,
                                             " as in the first part, got ", fields.count,
                                             "; the parts are of different models"));
  }
  if (fields.number < number) {
    return absl::InvalidArgumentError(
        StrCat(path, ": ", kNumberKey, ": expected ", number, ", got ", fields.number,
               ", a part that was already read; the file is a copy of part ", fields.number + 1,
               " under another name"));
  }
  if (fields.number > number) {
    return absl::InvalidArgumentError(
        StrCat(path, ": ", kNumberKey, ": expected ", number, ", got ", fields.number,
               "; the file is named as part ", number + 1, " but is part ", fields.number + 1));
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufPart> ReadLaterPart(const std::string& path, uint64_t number,
                                       const SplitFields& first) {
  absl::StatusOr<GgufPart> part = ReadGgufPart(path, static_cast<uint32_t>(number));
  if (absl::IsNotFound(part.status())) {
    return absl::NotFoundError(StrCat(path, ": expected part ", number + 1, " of ", first.count,
                                      " of the split model, got no such file; put all parts "
                                      "into one folder"));
  }
  if (!part.ok()) return part.status();
  RENGA_ASSIGN_OR_RETURN(const SplitFields fields, ReadFields(part->metadata));
  RENGA_RETURN_IF_ERROR(CheckPart(path, fields, number, first.count));
  if (fields.tensors != first.tensors) {
    return absl::InvalidArgumentError(StrCat(path, ": ", kTensorsKey, ": expected ", first.tensors,
                                             " as in the first part, got ", fields.tensors,
                                             "; the parts are of different models"));
  }
  return part;
}

}  // namespace

std::string SplitPath(std::string_view prefix, uint64_t part, uint64_t parts) {
  return StrCat(prefix, SplitSuffix(part, parts));
}

absl::StatusOr<std::vector<GgufPart>> ReadGgufParts(const std::string& path) {
  std::vector<GgufPart> parts;
  RENGA_ASSIGN_OR_RETURN(GgufPart only, ReadGgufPart(path, 0));
  parts.push_back(std::move(only));
  // Merging the parts of a model leaves a count of 0 behind.
  RENGA_ASSIGN_OR_RETURN(const uint64_t count, parts[0].metadata.GetUintOr(kCountKey, 0));
  if (count <= 1) return parts;

  RENGA_ASSIGN_OR_RETURN(const SplitFields first, ReadFields(parts[0].metadata));
  if (first.number >= first.count) {
    return absl::InvalidArgumentError(StrCat(path, ": ", kNumberKey, ": expected less than ",
                                             kCountKey, ", which is ", first.count, ", got ",
                                             first.number));
  }
  if (first.number != 0) return NotFirstError(path, first);
  RENGA_ASSIGN_OR_RETURN(const std::string prefix, SplitPrefix(path, first));
  uint64_t tensors = parts[0].tensors.size();
  for (uint64_t number = 1; number < count; ++number) {
    const std::string part_path = SplitPath(prefix, number + 1, count);
    RENGA_ASSIGN_OR_RETURN(GgufPart part, ReadLaterPart(part_path, number, first));
    tensors += part.tensors.size();
    parts.push_back(std::move(part));
  }
  if (tensors != first.tensors) {
    return absl::InvalidArgumentError(StrCat(path, ": ", kTensorsKey, ": expected ", first.tensors,
                                             ", got ", tensors, " tensors in the ", count,
                                             " parts"));
  }
  return parts;
}

}  // namespace renga
