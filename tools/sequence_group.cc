#include "tools/sequence_group.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "ir/base/status.h"

namespace renga {
namespace {

std::string HowToCompile(const plan::Plan& plan, int64_t sequences) {
  return StrCat("; compile for more: renga compile ",
                plan.files.empty() ? "MODEL.gguf" : plan.files[0].path, " --max-seqs ", sequences,
                " -o X.plan");
}

}  // namespace

absl::Status CheckStepTakes(const plan::Plan& plan, int64_t sequences, int64_t tokens) {
  const plan::Geometry& geometry = plan.geometry;
  if (tokens > geometry.context) {
    return absl::InvalidArgumentError(StrCat("context: expected room for ", tokens, " tokens, got ",
                                             geometry.context, "; use fewer or a larger context"));
  }
  const int64_t rows = MaxRows(plan);
  if (sequences <= std::min({geometry.max_sequences, geometry.max_step_tokens, rows})) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      StrCat("a step: expected a plan for ", sequences,
             " sequences, a token and a row of logits for each, got one for at most ",
             geometry.max_sequences, " sequences, ", geometry.max_step_tokens, " tokens and ", rows,
             " rows", HowToCompile(plan, sequences)));
}

absl::Status CheckGroupFits(const plan::Plan& plan, int64_t sequences, int64_t tokens) {
  RENGA_RETURN_IF_ERROR(CheckStepTakes(plan, sequences, tokens));
  const KvPages pages(plan);
  for (int group = 0; group < pages.groups(); ++group) {
    const int64_t needed = sequences * pages.MostPages(tokens, group) * pages.page_tokens();
    if (needed <= pages.cells(group)) continue;
    return absl::InvalidArgumentError(StrCat("caches: expected ", needed, " cells, for ", sequences,
                                             " sequences of ", tokens, " tokens, got ",
                                             pages.cells(group), HowToCompile(plan, sequences)));
  }
  return absl::OkStatus();
}

SequenceGroup::SequenceGroup(StepRunner& runner, int64_t count)
    : runner_(&runner), pages_(runner.plan()), choices_(static_cast<size_t>(count)) {}

absl::StatusOr<SequenceGroup> SequenceGroup::Create(StepRunner& runner, int64_t count) {
  SequenceGroup group(runner, count);
  for (int64_t i = 0; i < count; ++i) {
    RENGA_ASSIGN_OR_RETURN(group.sequences_.emplace_back(), group.pages_.NewSequence());
  }
  return group;
}

absl::Status SequenceGroup::Read(absl::Span<const int32_t> ids, bool choose) {
  const size_t tokens = ids.size() / sequences_.size();
  const int64_t step_tokens = runner_->plan().geometry.max_step_tokens;
  for (int64_t member = 0; member < count(); ++member) {
    absl::Span<const int32_t> left = ids.subspan(static_cast<size_t>(member) * tokens, tokens);
    while (!left.empty()) {
      const auto piece =
          left.first(std::min(left.size(), static_cast<size_t>(step_tokens - batch_.tokens())));
      left.remove_prefix(piece.size());
      RENGA_RETURN_IF_ERROR(Add(member, piece, choose && left.empty() ? 1 : 0));
      if (batch_.tokens() == step_tokens) RENGA_RETURN_IF_ERROR(Run());
    }
  }
  return batch_.empty() ? absl::OkStatus() : Run();
}

absl::Status SequenceGroup::ReadAlike(absl::Span<const int32_t> ids) {
  const size_t step_tokens = static_cast<size_t>(runner_->plan().geometry.max_step_tokens);
  for (size_t begin = 0; begin < ids.size(); begin += step_tokens) {
    RENGA_RETURN_IF_ERROR(Add(0, ids.subspan(begin, step_tokens), 0));
    RENGA_RETURN_IF_ERROR(Run());
  }
  std::vector<PageCopy> copies;
  for (int64_t member = 1; member < count(); ++member) {
    RENGA_RETURN_IF_ERROR(pages_.Extend(sequences_[member], static_cast<int64_t>(ids.size())));
    for (int group = 0; group < pages_.groups(); ++group) {
      const absl::Span<const int32_t> from = pages_.pages(sequences_[0], group);
      const absl::Span<const int32_t> to = pages_.pages(sequences_[member], group);
      const size_t first = static_cast<size_t>(pages_.first_page(sequences_[member], group));
      for (size_t i = first; i < from.size(); ++i) copies.push_back({from[i], to[i], group});
    }
  }
  return copies.empty() ? absl::OkStatus() : runner_->CopyPages(copies);
}

absl::Status SequenceGroup::Decode(absl::Span<const int32_t> ids, int64_t steps) {
  const bool knows_enough = samplers_.empty() || (runner_->samples() && !samplers_[0].looks_back());
  if (!runner_->runs_ahead() || !knows_enough) {
    for (int64_t i = 0; i < steps; ++i) {
      RENGA_RETURN_IF_ERROR(Step(i == 0 ? ids : absl::MakeConstSpan(choices_)));
    }
    return absl::OkStatus();
  }
  for (int64_t i = 0; i < steps; ++i) {
    RENGA_RETURN_IF_ERROR(Start(ids, /*fed_back=*/i > 0));
    if (i > 0) RENGA_RETURN_IF_ERROR(Finish());
  }
  return steps > 0 ? Finish() : absl::OkStatus();
}

// A row for each, in their order.
absl::Status SequenceGroup::Start(absl::Span<const int32_t> ids, bool fed_back) {
  batch_.Clear();
  choosing_.clear();
  for (int64_t member = 0; member < count(); ++member) {
    RENGA_RETURN_IF_ERROR(Add(member, ids.subspan(static_cast<size_t>(member), 1), 1));
  }
  StepInputs inputs = batch_.Inputs(pages_);
  inputs.fed_back = fed_back;
  inputs.sampling = Asks(/*ahead=*/fed_back ? 1 : 0);
  const absl::Status status = runner_->Start(inputs);
  batch_.Clear();
  choosing_.clear();
  return status;
}

absl::Status SequenceGroup::Finish() {
  RENGA_RETURN_IF_ERROR(runner_->Finish());
  const absl::Span<const int32_t> next = runner_->next();
  choices_.assign(next.begin(), next.end());
  for (int64_t member = 0; member < count(); ++member) {
    const int32_t choice = choices_[static_cast<size_t>(member)];
    if (choice < 0 || choice >= runner_->plan().model.vocab) return NoChoice(member);
    Accept(member);
  }
  return absl::OkStatus();
}

absl::Status SequenceGroup::Sample(const SamplingParams& params) {
  sampling_ = params;
  samplers_.clear();
  for (int64_t member = 0; member < count(); ++member) {
    RENGA_ASSIGN_OR_RETURN(
        Sampler sampler,
        Sampler::Create(sampling_, static_cast<int32_t>(runner_->plan().model.vocab)));
    samplers_.push_back(std::move(sampler));
    ++sampling_.seed;
  }
  sampling_ = params;
  return absl::OkStatus();
}

// What the device is asked for the rows of the step at hand; `ahead`: of choices that are not known
// yet.
absl::Span<const RowSampling> SequenceGroup::Asks(int ahead) {
  asks_.clear();
  if (samplers_.empty() || !runner_->samples()) return asks_;
  for (size_t row = 0; row < choosing_.size(); ++row) {
    asks_.push_back({.row = static_cast<int32_t>(row),
                     .draw = samplers_[static_cast<size_t>(choosing_[row])].Next(ahead)});
  }
  return asks_;
}

// The device's choice of a sequence.
void SequenceGroup::Accept(int64_t member) {
  if (samplers_.empty()) return;
  Sampler& sampler = samplers_[static_cast<size_t>(member)];
  sampler.Skip();
  sampler.Accept(choices_[static_cast<size_t>(member)]);
}

absl::Status SequenceGroup::Truncate(int64_t position) {
  for (int& sequence : sequences_) {
    if (pages_.CanTruncate(sequence, position)) {
      RENGA_RETURN_IF_ERROR(pages_.Truncate(sequence, position));
      continue;
    }
    // A window has moved on. How long a step takes does not depend on what the cells hold.
    pages_.Free(sequence);
    RENGA_ASSIGN_OR_RETURN(sequence, pages_.NewSequence());
    RENGA_RETURN_IF_ERROR(pages_.Extend(sequence, position));
  }
  return samplers_.empty() ? absl::OkStatus() : Sample(sampling_);
}

absl::Status SequenceGroup::Add(int64_t member, absl::Span<const int32_t> ids, int64_t rows) {
  const int sequence = sequences_[member];
  const int64_t before = pages_.position(sequence);
  cells_.clear();
  RENGA_RETURN_IF_ERROR(pages_.Append(sequence, static_cast<int64_t>(ids.size()), &cells_));
  batch_.Add(sequence, before, ids, cells_, rows);
  if (rows > 0) choosing_.push_back(member);
  return absl::OkStatus();
}

// Reading what was chosen waits for the run.
absl::Status SequenceGroup::Run() {
  StepInputs inputs = batch_.Inputs(pages_);
  inputs.sampling = Asks(/*ahead=*/0);
  RENGA_RETURN_IF_ERROR(runner_->Run(inputs));
  logits_.clear();
  for (size_t row = 0; row < choosing_.size(); ++row) {
    RENGA_ASSIGN_OR_RETURN(choices_[choosing_[row]], Choice(row));
  }
  batch_.Clear();
  choosing_.clear();
  return absl::OkStatus();
}

absl::Status SequenceGroup::NoChoice(int64_t member) const {
  const std::string where =
      StrCat("logits after ", pages_.position(sequences_[member]), " tokens: ");
  if (!samplers_.empty()) {
    return absl::DataLossError(
        StrCat(where,
               "expected that the device can choose a token by itself, got that it cannot "
               "(docs/sampling.md); use a top-k of 1 to 128"));
  }
  return absl::DataLossError(StrCat(where,
                                    "expected finite numbers, got others; check the model's "
                                    "file, its speed would mean nothing"));
}

absl::StatusOr<int32_t> SequenceGroup::Choice(size_t row) {
  const absl::Span<const int32_t> next = runner_->next();
  const int64_t vocab = runner_->plan().model.vocab;
  const size_t member = static_cast<size_t>(choosing_[row]);
  if ((samplers_.empty() || !asks_.empty()) && row < next.size() && next[row] >= 0 &&
      next[row] < vocab) {
    choices_[member] = next[row];
    Accept(choosing_[row]);
    return next[row];
  }
  if (logits_.empty()) RENGA_RETURN_IF_ERROR(runner_->Logits(&logits_));
  const size_t columns = static_cast<size_t>(vocab);
  const absl::Span<const float> logits =
      absl::MakeConstSpan(logits_).subspan(row * columns, columns);
  if (!samplers_.empty()) {
    RENGA_ASSIGN_OR_RETURN(const int32_t id, samplers_[member].Sample(logits));
    samplers_[member].Accept(id);
    return id;
  }
  if (std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); })) {
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  return NoChoice(choosing_[row]);
}

}  // namespace renga
