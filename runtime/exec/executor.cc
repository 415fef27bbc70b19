#include "runtime/exec/executor.h"

#include <algorithm>
#include <cstring>

#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/print.h"

namespace renga {
namespace {

std::string KernelNames() {
  std::vector<std::string_view> names;
  for (const cpu::KernelDef* kernel : cpu::AllKernels()) names.push_back(kernel->name);
  return StrJoin(names, " ");
}

absl::Status ValueError(std::string_view input, size_t index, int64_t limit, int64_t got) {
  return absl::OutOfRangeError(
      StrCat(input, "[", index, "]: expected 0..", limit - 1, ", got ", got));
}

absl::Status CheckBelow(std::string_view input, absl::Span<const int32_t> values, int64_t limit) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0 || values[i] >= limit) return ValueError(input, i, limit, values[i]);
  }
  return absl::OkStatus();
}

absl::Status CheckCount(std::string_view input, size_t count, size_t expected) {
  if (count == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(input, ": expected ", expected, " values (one a token), got ", count));
}

void Copy(absl::Span<const int32_t> values, int32_t* to) {
  if (to != nullptr && !values.empty()) {
    std::memcpy(to, values.data(), values.size() * sizeof(int32_t));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Executor>> Executor::Create(std::shared_ptr<const plan::Plan> plan,
                                                           const ExecutorOptions& options) {
  if (plan->target != "cpu") {
    return absl::UnimplementedError(StrCat("plan: compiled for ", plan->target,
                                           ", this device is cpu; compile with --target cpu"));
  }
  const int threads = std::clamp(options.threads, 1, 1024);
  std::unique_ptr<Executor> executor(new Executor(std::move(plan), threads));
  RENGA_ASSIGN_OR_RETURN(executor->limits_, CheckIndexOperands(*executor->plan_));
  WeightOptions weights;
  weights.plan_path = options.plan_path;
  weights.model_path = options.model_path;
  weights.threads = threads;
  weights.progress = options.progress;
  RENGA_ASSIGN_OR_RETURN(executor->weights_, WeightStore::Open(*executor->plan_, weights));
  RENGA_ASSIGN_OR_RETURN(executor->kv_, KvArena::Create(*executor->plan_));
  RENGA_ASSIGN_OR_RETURN(executor->activations_,
                         Region::Allocate(executor->plan_->memory.activations, "activations"));
  executor->sizes_.assign(executor->plan_->symbols.size(), 1);
  RENGA_RETURN_IF_ERROR(executor->PlaceInputs());
  RENGA_RETURN_IF_ERROR(executor->PrepareSteps());
  return executor;
}

absl::Status Executor::PlaceInputs() {
  const struct {
    std::string_view name;
    std::string_view type;
    int32_t** destination;
  } known[] = {
      {"tokens", "i32[T]", &inputs_.tokens},       {"positions", "i32[T]", &inputs_.positions},
      {"sequences", "i32[T]", &inputs_.sequences}, {"cells", "i32[T]", &inputs_.cells},
      {"pages", "i32[S,P]", &inputs_.pages},       {"rows", "i32[R]", &inputs_.rows},
  };
  for (const plan::Symbol& symbol : plan_->symbols) {
    if (symbol.name.size() == 1 &&
        std::string_view("TSRLPC").find(symbol.name) != std::string::npos) {
      continue;
    }
    return absl::UnimplementedError(
        StrCat("symbol ", symbol.name, ": this runtime binds T S R L P C"));
  }
  uint64_t offset = plan::ArenaBytes(*plan_);
  input_data_.resize(plan_->inputs.size());
  for (const plan::Buffer& buffer : plan_->buffers) {
    if (buffer.space != plan::Space::kInput || buffer.view_of >= 0) continue;
    const std::string type = plan::ToString(buffer.type, plan_->symbols);
    const auto input = std::find_if(std::begin(known), std::end(known),
                                    [&](const auto& entry) { return entry.name == buffer.name; });
    if (input == std::end(known)) {
      return absl::UnimplementedError(
          StrCat("input ", buffer.name,
                 ": this runtime fills tokens positions sequences cells pages rows"));
    }
    if (input->type != type) {
      return absl::InvalidArgumentError(StrCat("input ", buffer.name, ": expected ", input->type,
                                               ", got ", type, "; compile it again"));
    }
    input_data_[buffer.index] = activations_.data() + offset;
    *input->destination = reinterpret_cast<int32_t*>(activations_.data() + offset);
    offset += plan::AlignUp(buffer.bytes);
  }
  return absl::OkStatus();
}

absl::Status Executor::PrepareSteps() {
  steps_.reserve(plan_->steps.size());
  for (size_t i = 0; i < plan_->steps.size(); ++i) {
    const plan::Step& step = plan_->steps[i];
    if (absl::Status status = PrepareStep(step); !status.ok()) {
      return Annotate(status, StrCat("step ", i, " (", step.name, ")"));
    }
  }
  // Tensors no longer move: remember which sizes change from run to run.
  const auto bind = [this](std::vector<cpu::TensorRef>& tensors,
                           const std::vector<int32_t>& buffers, PreparedStep& step) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (buffers[i] < 0) continue;
      const std::vector<plan::Dim>& shape = plan_->buffers[buffers[i]].type.shape;
      for (size_t axis = 0; axis < shape.size(); ++axis) {
        if (shape[axis].symbol < 0) continue;
        bound_sizes_.push_back({&tensors[i].dims[axis], shape[axis].symbol});
        step.has_rows |= plan_->symbols[shape[axis].symbol].name == "R";
      }
    }
  };
  for (size_t i = 0; i < steps_.size(); ++i) {
    bind(steps_[i].inputs, plan_->steps[i].inputs, steps_[i]);
    bind(steps_[i].outputs, plan_->steps[i].outputs, steps_[i]);
  }
  for (const std::string& output : plan_->outputs) {
    for (size_t i = 0; i < plan_->buffers.size(); ++i) {
      const plan::Buffer& buffer = plan_->buffers[i];
      if (buffer.space != plan::Space::kWeight && buffer.name == output) {
        outputs_.push_back(static_cast<int32_t>(i));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Executor::PrepareStep(const plan::Step& step) {
  if (step.kind != plan::StepKind::kKernel) {
    return absl::UnimplementedError(
        StrCat("kind ", plan::ToString(step.kind), ": the cpu device runs kernel steps only"));
  }
  const std::string& name = plan_->kernels[step.kernel].name;
  const cpu::KernelDef* kernel = cpu::FindKernel(name);
  if (kernel == nullptr) {
    return absl::UnimplementedError(
        StrCat("the cpu device has no kernel ", name, "; it has ", KernelNames()));
  }
  PreparedStep prepared;
  std::vector<const plan::TensorType*> inputs, outputs;
  for (int32_t input : step.inputs) {
    inputs.push_back(input < 0 ? nullptr : &plan_->buffers[input].type);
    prepared.inputs.push_back(MakeTensor(input));
  }
  for (int32_t output : step.outputs) {
    outputs.push_back(&plan_->buffers[output].type);
    prepared.outputs.push_back(MakeTensor(output));
  }
  RENGA_ASSIGN_OR_RETURN(prepared.run,
                         kernel->prepare({step.name, inputs, outputs, step.attrs, plan_->symbols}));
  steps_.push_back(std::move(prepared));
  return absl::OkStatus();
}

cpu::TensorRef Executor::MakeTensor(int32_t index) const {
  cpu::TensorRef tensor;
  if (index < 0) return tensor;
  const plan::Buffer& buffer = plan_->buffers[index];
  switch (buffer.space) {
    case plan::Space::kInput:
      tensor.data = input_data_[buffer.index];
      break;
    case plan::Space::kWeight:
      // Kernels take weights as inputs only (Validate: no step writes one).
      tensor.data = const_cast<uint8_t*>(weights_.data(buffer.index));
      break;
    case plan::Space::kCache:
      tensor.data = kv_.cache(buffer.index);
      break;
    case plan::Space::kArena:
      tensor.data = activations_.data() + buffer.offset;
      break;
    case plan::Space::kPersistent:
      break;  // of GPU plans only, which Create refuses
  }
  tensor.dtype = buffer.type.dtype;
  tensor.rank = static_cast<int>(buffer.type.shape.size());
  for (int axis = 0; axis < tensor.rank; ++axis) {
    const plan::Dim& dim = buffer.type.shape[axis];
    tensor.dims[axis] = dim.symbol < 0 ? dim.value : sizes_[dim.symbol];
  }
  return tensor;
}

absl::Status Executor::Run(const StepInputs& inputs, const StepObserver& observer) {
  RENGA_RETURN_IF_ERROR(CheckSizes(inputs));
  RENGA_RETURN_IF_ERROR(CheckValues(inputs));
  BindSizes(inputs);
  CopyInputs(inputs);
  for (size_t i = 0; i < steps_.size(); ++i) {
    const PreparedStep& step = steps_[i];
    if (step.has_rows && inputs.rows.empty()) continue;
    step.run({step.inputs, step.outputs, pool_});
    if (observer) RENGA_RETURN_IF_ERROR(observer(static_cast<int>(i)));
  }
  return absl::OkStatus();
}

absl::Status Executor::CheckSizes(const StepInputs& inputs) const {
  const int64_t tokens = static_cast<int64_t>(inputs.tokens.size());
  const int64_t rows = static_cast<int64_t>(inputs.rows.size());
  const int64_t sequences = inputs.sequence_count;
  const plan::Geometry& geometry = plan_->geometry;
  if (tokens < 1 || tokens > geometry.max_step_tokens) {
    return absl::InvalidArgumentError(
        StrCat("tokens: expected 1..", geometry.max_step_tokens, " a run, got ", tokens));
  }
  RENGA_RETURN_IF_ERROR(CheckCount("positions", inputs.positions.size(), inputs.tokens.size()));
  RENGA_RETURN_IF_ERROR(CheckCount("sequences", inputs.sequences.size(), inputs.tokens.size()));
  RENGA_RETURN_IF_ERROR(CheckCount("cells", inputs.cells.size(), inputs.tokens.size()));
  if (const int64_t max = plan::SymbolMax(*plan_, "R", rows); rows > max) {
    return absl::InvalidArgumentError(StrCat("rows: expected at most ", max, ", got ", rows,
                                             "; compile for more with --max-rows"));
  }
  if (sequences < 1 || sequences > geometry.max_sequences) {
    return absl::InvalidArgumentError(
        StrCat("sequences: expected 1..", geometry.max_sequences, ", got ", sequences));
  }
  const int64_t entries = static_cast<int64_t>(inputs.pages.size());
  const int64_t max_pages = plan::SymbolMax(*plan_, "P", entries / sequences);
  if (entries < sequences || entries % sequences != 0 || entries / sequences > max_pages) {
    return absl::InvalidArgumentError(StrCat("pages: expected a table of ", sequences,
                                             " rows and 1..", max_pages, " columns, got ", entries,
                                             " entries"));
  }
  return absl::OkStatus();
}

absl::Status Executor::CheckValues(const StepInputs& inputs) const {
  const int64_t page_tokens = plan_->geometry.page_tokens;
  const int64_t columns = static_cast<int64_t>(inputs.pages.size()) / inputs.sequence_count;
  RENGA_RETURN_IF_ERROR(CheckBelow("tokens", inputs.tokens, limits_.tokens));
  RENGA_RETURN_IF_ERROR(CheckBelow("positions", inputs.positions,
                                   std::min(plan_->geometry.context, columns * page_tokens)));
  RENGA_RETURN_IF_ERROR(CheckBelow("sequences", inputs.sequences, inputs.sequence_count));
  RENGA_RETURN_IF_ERROR(CheckBelow("cells", inputs.cells, kv_.cells()));
  RENGA_RETURN_IF_ERROR(
      CheckBelow("rows", inputs.rows, static_cast<int64_t>(inputs.tokens.size())));
  const int64_t pages = kv_.cells() / page_tokens;
  for (size_t i = 0; i < inputs.pages.size(); ++i) {
    if (inputs.pages[i] < -1 || inputs.pages[i] >= pages) {
      return ValueError("pages", i, pages, inputs.pages[i]);
    }
  }
  return absl::OkStatus();
}

void Executor::BindSizes(const StepInputs& inputs) {
  const int32_t last = *std::max_element(inputs.positions.begin(), inputs.positions.end());
  for (size_t i = 0; i < sizes_.size(); ++i) {
    switch (plan_->symbols[i].name[0]) {  // PlaceInputs refused other names
      case 'T':
        sizes_[i] = static_cast<int64_t>(inputs.tokens.size());
        break;
      case 'S':
        sizes_[i] = inputs.sequence_count;
        break;
      case 'R':
        sizes_[i] = static_cast<int64_t>(inputs.rows.size());
        break;
      case 'L':
        sizes_[i] = int64_t{last} + 1;
        break;
      case 'P':
        sizes_[i] = static_cast<int64_t>(inputs.pages.size()) / inputs.sequence_count;
        break;
      default:
        sizes_[i] = kv_.cells();
        break;
    }
  }
  for (const BoundSize& bound : bound_sizes_) *bound.size = sizes_[bound.symbol];
}

void Executor::CopyInputs(const StepInputs& inputs) const {
  Copy(inputs.tokens, inputs_.tokens);
  Copy(inputs.positions, inputs_.positions);
  Copy(inputs.sequences, inputs_.sequences);
  Copy(inputs.cells, inputs_.cells);
  Copy(inputs.pages, inputs_.pages);
  Copy(inputs.rows, inputs_.rows);
}

int Executor::FindOutput(std::string_view name) const {
  for (size_t i = 0; i < plan_->outputs.size(); ++i) {
    if (plan_->outputs[i] == name) return static_cast<int>(i);
  }
  return -1;
}

cpu::TensorRef Executor::output(int index) const { return MakeTensor(outputs_[index]); }

}  // namespace renga
