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

// How many of the largest logits decide, together with the changed ones: a changed token may have
// been among the first top_k, and then the next of the others moves up.
int32_t KeptFor(const RowSampling& asked) {
  const int64_t all = plan::kSampleKept, changes = static_cast<int64_t>(asked.draw.changes.size());
  const int64_t drawn = asked.draw.top_k > 0 ? asked.draw.top_k + changes : all;
  return static_cast<int32_t>(
      std::clamp<int64_t>(std::max<int64_t>(drawn, asked.wants_top), 1, all));
}

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
                    .kept = KeptFor(one),
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
  // The changes lie behind the rows and are counted from the first row on, so that the kernel's
  // arguments do not depend on how many rows there are.
  static_assert(sizeof(plan::SampleRow) % sizeof(plan::SampleChange) == 0);
  const size_t row_bytes = rows_ * sizeof(plan::SampleRow);
  const size_t change_bytes = changes.size() * sizeof(plan::SampleChange);
  for (plan::SampleRow& row : rows) {
    row.first_change += static_cast<int32_t>(row_bytes / sizeof(plan::SampleChange));
  }
  if (rows_ > 0) std::memcpy(to, rows.data(), row_bytes);
  if (change_bytes > 0) std::memcpy(to + row_bytes, changes.data(), change_bytes);
  return row_bytes + change_bytes;
}

std::vector<DeviceSampling::Launch> DeviceSampling::Launches(const Places& places) const {
  std::vector<Launch> launches;
  const uint64_t base = places.memory;
  for (int64_t first = 0; first < static_cast<int64_t>(rows_); first += memory_.rows_at_once) {
    const uint64_t at = static_cast<uint64_t>(first);
    plan::SampleArgs args;
    args.logits = places.logits;
    args.next = places.next;
    args.rows = places.inputs + at * sizeof(plan::SampleRow);
    args.changes = places.inputs;
    args.results = base + memory_.results + at * sizeof(plan::SampleResult);
    args.top = base + memory_.top + at * plan::kSampleKept * sizeof(uint64_t);
    args.maxima = base + memory_.maxima;
    args.part_sums = base + memory_.part_sums;
    args.tickets = base + memory_.tickets;
    args.columns = columns_;
    args.vocab = vocab_;
    args.segment = static_cast<int32_t>(memory_.segment);
    // For one row it takes longer than it saves (docs/kernels-cuda.md); what comes behind the first
    // rows has the code by then.
    args.rehearses = first == 0 && rows_ > 1 ? 1 : 0;
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
