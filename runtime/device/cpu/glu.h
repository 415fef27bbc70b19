// Gated activations, for glu and gate_up.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "runtime/device/cpu/step_check.h"

namespace renga::cpu {

// y[i] = activation(gate[i]) * up[i] for i < n, the same for any division of the elements. In place
// is fine.
void Glu(bool silu, const float* gate, const float* up, int64_t n, float* y);

// Whether attribute activation of the step is silu, else it is gelu_tanh; InvalidArgument for
// others.
absl::StatusOr<bool> IsSilu(const StepCheck& check);

}  // namespace renga::cpu
