#include "absl/container/flat_hash_set.h"
#include "ir/base/status.h"
#include "ir/base/windows.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/mismatch.h"
#include "runtime/plan/validate.h"

namespace renga::plan {
namespace {

class BufferCheck {
 public:
  explicit BufferCheck(const Plan& plan)
      : plan_(plan), inputs_(plan.inputs.size()), caches_(plan.caches.size()) {}

  absl::Status Run() {
    for (const Buffer& buffer : plan_.buffers) RENGA_RETURN_IF_ERROR(Check(buffer));
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (!inputs_[i]) return Mismatch(StrCat("input ", plan_.inputs[i]), "a buffer", "none");
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Check(const Buffer& buffer) {
    if (buffer.name.empty()) return Mismatch("buffer", "a name", "none");
    const std::string where = StrCat("buffer ", buffer.name);
    auto& names = buffer.space == Space::kWeight ? weight_names_ : names_;
    if (!names.insert(buffer.name).second) return Mismatch(where, "one of that name", "two");
    const absl::StatusOr<uint64_t> bytes = MaxBytes(buffer.type, plan_.symbols);
    if (!bytes.ok()) return Annotate(bytes.status(), where);
    if (*bytes != buffer.bytes) {
      return Mismatch(StrCat(where, ": bytes"), StrCat(*bytes, " (", Text(buffer.type), ")"),
                      buffer.bytes);
    }
    if (!buffer.type.layout.empty() && (buffer.space != Space::kWeight || buffer.view_of >= 0)) {
      return Mismatch(where, "no layout, being no weight", buffer.type.layout);
    }
    if (buffer.view_of >= 0) return CheckView(where, buffer);
    if (buffer.view_of != -1)
      return Mismatch(StrCat(where, ": view_of"), "-1 or more", buffer.view_of);
    switch (buffer.space) {
      case Space::kInput:
        return CheckInput(where, buffer);
      case Space::kWeight:
        return CheckWeight(where, buffer);
      case Space::kCache:
        return CheckCache(where, buffer);
      case Space::kArena:
        return CheckArena(where, buffer);
      case Space::kPersistent:
        return CheckPersistent(where, buffer);
    }
    return Mismatch(StrCat(where, ": space"), "0..4", static_cast<int>(buffer.space));
  }

  absl::Status CheckView(const std::string& where, const Buffer& buffer) const {
    if (static_cast<size_t>(buffer.view_of) >= plan_.buffers.size()) {
      return Mismatch(StrCat(where, ": view_of"), StrCat("0..", plan_.buffers.size() - 1),
                      buffer.view_of);
    }
    const Buffer& base = plan_.buffers[buffer.view_of];
    if (base.view_of >= 0)
      return Mismatch(where, "a view of no view", StrCat("one of ", base.name));
    if (buffer.space != base.space || buffer.index != base.index || buffer.offset != base.offset ||
        buffer.bytes != base.bytes || buffer.type.dtype != base.type.dtype) {
      return Mismatch(where, StrCat("the type, place and bytes of ", base.name, ", which it views"),
                      "others");
    }
    // Equal at the max only would leave a run with smaller sizes reading what nobody wrote.
    if (Factors(buffer.type) != Factors(base.type)) {
      return Mismatch(where, StrCat("as many elements as ", base.name, ": ", Text(base.type)),
                      Text(buffer.type));
    }
    return absl::OkStatus();
  }

  absl::Status CheckInput(const std::string& where, const Buffer& buffer) {
    RENGA_RETURN_IF_ERROR(CheckIndexed(where, buffer, plan_.inputs.size()));
    if (buffer.name != plan_.inputs[buffer.index]) {
      return Mismatch(StrCat(where, ": index"), StrCat("that of input ", buffer.name),
                      StrCat(buffer.index, " (", plan_.inputs[buffer.index], ")"));
    }
    inputs_[buffer.index] = true;
    return CheckTotal(where, buffer);
  }

  absl::Status CheckWeight(const std::string& where, const Buffer& buffer) const {
    RENGA_RETURN_IF_ERROR(CheckIndexed(where, buffer, plan_.weights.size()));
    const WeightSource& weight = plan_.weights[buffer.index].source;
    TensorType type = {weight.dtype, {}};
    for (int64_t size : weight.shape) type.shape.push_back({-1, size});
    if (Text(type) != Text(buffer.type)) {
      return Mismatch(where, StrCat(Text(type), " (the weight's)"), Text(buffer.type));
    }
    if (const std::string& layout = plan_.weights[buffer.index].layout;
        buffer.type.layout != layout) {
      return Mismatch(where, StrCat("layout '", layout, "' (the weight's)"), buffer.type.layout);
    }
    return absl::OkStatus();
  }

  absl::Status CheckCache(const std::string& where, const Buffer& buffer) {
    RENGA_RETURN_IF_ERROR(CheckIndexed(where, buffer, plan_.caches.size()));
    const Cache& cache = plan_.caches[buffer.index];
    if (buffer.name != cache.name) return Mismatch(where, StrCat("the name ", cache.name), "this");
    if (caches_[buffer.index]) return Mismatch(where, "one buffer for a cache", "two");
    caches_[buffer.index] = true;
    const TensorType type = {
        cache.dtype,
        {{FindSymbol(plan_, WindowSymbol("C", WindowOf(plan_, cache.group))), 1},
         {-1, cache.heads},
         {-1, cache.head_dim}}};
    if (Text(type) != Text(buffer.type)) {
      return Mismatch(where, StrCat(Text(type), " (the cache's)"), Text(buffer.type));
    }
    return absl::OkStatus();
  }

  absl::Status CheckArena(const std::string& where, const Buffer& buffer) {
    if (buffer.index != -1) return Mismatch(StrCat(where, ": index"), -1, buffer.index);
    if (buffer.offset % kAlignment != 0) {
      return Mismatch(StrCat(where, ": offset"), StrCat("a multiple of ", kAlignment),
                      buffer.offset);
    }
    const uint64_t arena = plan_.memory.activations;
    if (buffer.offset > arena || buffer.bytes > arena - buffer.offset) {
      return Mismatch(where, StrCat("bytes inside the activations' ", arena),
                      StrCat(buffer.bytes, " at offset ", buffer.offset));
    }
    if (arena > kMaxBytes) {
      return Mismatch("memory: activations", StrCat("at most ", kMaxBytes), arena);
    }
    return absl::OkStatus();
  }

  // Placed like the arena's, but each by itself.
  absl::Status CheckPersistent(const std::string& where, const Buffer& buffer) {
    if (plan_.gpu.targets.empty()) {
      return Mismatch(StrCat(where, ": space"), "none that is persistent on the cpu", "persistent");
    }
    RENGA_RETURN_IF_ERROR(CheckArena(where, buffer));
    if (buffer.offset < persistent_end_) {
      return Mismatch(StrCat(where, ": offset"), StrCat(persistent_end_, " or more"),
                      buffer.offset);
    }
    persistent_end_ = buffer.offset + buffer.bytes;
    return absl::OkStatus();
  }

  absl::Status CheckIndexed(const std::string& where, const Buffer& buffer, size_t count) const {
    if (buffer.index < 0 || static_cast<size_t>(buffer.index) >= count) {
      return Mismatch(StrCat(where, ": index"), StrCat("one of ", count), buffer.index);
    }
    if (buffer.offset != 0) return Mismatch(StrCat(where, ": offset"), 0, buffer.offset);
    return absl::OkStatus();
  }

  absl::Status CheckTotal(const std::string& where, const Buffer& buffer) {
    input_bytes_ += AlignUp(buffer.bytes);
    if (input_bytes_ <= kMaxBytes) return absl::OkStatus();
    return Mismatch(where, StrCat("inputs of at most ", kMaxBytes, " bytes"), "more");
  }

  // The element count as a product: the constant factor, then how often each symbol occurs.
  std::vector<int64_t> Factors(const TensorType& type) const {
    std::vector<int64_t> factors(plan_.symbols.size() + 1, 0);
    factors[0] = 1;
    for (const Dim& dim : type.shape) {
      if (dim.symbol < 0) {
        factors[0] *= dim.value;
      } else {
        ++factors[dim.symbol + 1];
      }
    }
    return factors;
  }

  std::string Text(const TensorType& type) const { return ToString(type, plan_.symbols); }

  const Plan& plan_;
  std::vector<bool> inputs_;  // whether a buffer was seen
  std::vector<bool> caches_;
  absl::flat_hash_set<std::string> names_;
  absl::flat_hash_set<std::string> weight_names_;
  uint64_t persistent_end_ = 0;  // of the persistent buffers so far
  uint64_t input_bytes_ = 0;
};

}  // namespace

absl::Status ValidateBuffers(const Plan& plan) { return BufferCheck(plan).Run(); }

}  // namespace renga::plan
