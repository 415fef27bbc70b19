#include "ir/base/nearest.h"

#include <algorithm>
#include <utility>

namespace renga {
namespace {

constexpr size_t kMaxCompared = 40;
constexpr size_t kMaxNames = 3;

}  // namespace

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::vector<std::string_view> NearestNames(std::string_view name,
                                           absl::Span<const std::string_view> names) {
  std::vector<std::pair<size_t, std::string_view>> by_distance;
  for (const std::string_view candidate : names) {
    by_distance.emplace_back(
        EditDistance(name.substr(0, kMaxCompared), candidate.substr(0, kMaxCompared)), candidate);
  }
  std::sort(by_distance.begin(), by_distance.end());
  const size_t likely = std::max<size_t>(2, name.size() / 2);
  std::vector<std::string_view> nearest;
  for (const auto& [distance, candidate] : by_distance) {
    if (!nearest.empty() && (nearest.size() == kMaxNames || distance > likely)) break;
    nearest.push_back(candidate);
  }
  return nearest;
}

}  // namespace renga
