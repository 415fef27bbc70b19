#include "runtime/exec/device_sampling.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "runtime/plan/layout.h"

namespace renga {
namespace {

// TokenKey of codegen/kernels/top_keys.cuh: bits that sort as the logits do, then the inverted id.
std::pair<int32_t, float> OfKey(uint64_t key) {
  const uint32_t bits = static_cast<uint32_t>(key >> 32);
  return {static_cast<int32_t>(~static_cast<uint32_t>(key)),
          std::bit_cast<float>((bits & 0x80000000u) != 0 ? bits & 0x7fffffffu : ~bits)};
}

}  // namespace

DeviceSampling::DeviceSampling(const plan::Plan& plan)
    : memory_(plan::SampleMemoryOf(plan)),
      vocab_(static_cast<int32_t>(plan.model.vocab)),
      columns_(static_cast<int32_t>(
          plan.buffers[plan::OutputBuffer(plan, "logits")].type.shape[1].value)) {}

size_t DeviceSampling::Begin(absl::Span<const RowSampling> asked, uint8_t* to) {
  asked_.clear();
  std::vector<plan::SampleRow> rows;
  std::vector<plan::SampleChange> changes;
  for (const RowSampling& one : asked) {
    const NextDraw& draw = one.draw;
    const int64_t count = static_cast<int64_t>(draw.changes.size());
    const int64_t first = static_cast<int64_t>(changes.size());
    const bool fits = count <= plan::kSampleChanges && first + count <= memory_.changes;
    asked_.push_back({one.row, one.wants_top, fits ? static_cast<int64_t>(rows.size()) : -1});
    if (!fits) continue;
    rows.push_back({.row = one.row,
                    .sums = one.wants_sum ? 1 : 0,
                    .top_k = draw.top_k,
                    .first_change = static_cast<int32_t>(first),
                    .changes = static_cast<int32_t>(count),
                    .temperature = draw.temperature,
                    .top_p = draw.top_p,
                    .typical_p = draw.typical_p,
                    .repeat = draw.repeat,
                    .log_min_p = draw.log_min_p,
                    .uniform = draw.uniform});
    for (const NextDraw::Change& change : draw.changes) {
      changes.push_back({.id = change.id,
                         .penalised = change.penalised ? 1 : 0,
                         .bias = change.bias,
                         .penalty = change.penalty});
    }
  }
  rows_ = rows.size();
  changes_offset_ = rows_ * sizeof(plan::SampleRow);
  const size_t change_bytes = changes.size() * sizeof(plan::SampleChange);
  if (rows_ > 0) std::memcpy(to, rows.data(), changes_offset_);
  if (change_bytes > 0) std::memcpy(to + changes_offset_, changes.data(), change_bytes);
  return changes_offset_ + change_bytes;
}

std::vector<DeviceSampling::Launch> DeviceSampling::Launches(const Places& places) const {
  std::vector<Launch> launches;
  const uint64_t base = places.memory;
  for (int64_t first = 0; first < static_cast<int64_t>(rows_); first += memory_.rows_at_once) {
    const uint64_t at = static_cast<uint64_t>(first);
    plan::SampleArgs args;
    args.logits = places.logits;
    args.next = places.next;
    args.rows = base + at * sizeof(plan::SampleRow);
    args.changes = base + changes_offset_;
    args.results = base + memory_.results + at * sizeof(plan::SampleResult);
    args.top = base + memory_.top + at * plan::kSampleKept * sizeof(uint64_t);
    args.parts = base + memory_.parts;
    args.part_sums = base + memory_.part_sums;
    args.part_counts = base + memory_.part_counts;
    args.tickets = base + memory_.tickets;
    args.columns = columns_;
    args.vocab = vocab_;
    launches.push_back({args, std::min(static_cast<int64_t>(rows_) - first, memory_.rows_at_once)});
  }
  return launches;
}

size_t DeviceSampling::top_bytes() const {
  const bool wanted = std::any_of(asked_.begin(), asked_.end(), [](const Asked& one) {
    return one.index >= 0 && one.wants_top > 0;
  });
  return wanted ? rows_ * plan::kSampleKept * sizeof(uint64_t) : 0;
}

std::vector<SampledRow> DeviceSampling::Finish(const uint8_t* results, const uint8_t* top) const {
  std::vector<SampledRow> sampled;
  for (const Asked& one : asked_) {
    SampledRow& row = sampled.emplace_back();
    row.row = one.row;
    if (one.index < 0) continue;
    plan::SampleResult result;
    std::memcpy(&result, results + one.index * sizeof(result), sizeof(result));
    row.id = result.id >= 0 && result.id < vocab_ ? result.id : -1;
    row.logit = result.logit;
    row.max = result.max;
    row.sum = result.sum;
    const uint8_t* keys = top + one.index * plan::kSampleKept * sizeof(uint64_t);
    for (int32_t i = 0; i < std::min(one.wants_top, result.top); ++i) {
      uint64_t key;
      std::memcpy(&key, keys + i * sizeof(key), sizeof(key));
      row.top.push_back(OfKey(key));
    }
  }
  return sampled;
}

}  // namespace renga
