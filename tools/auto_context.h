// -c auto: as much context as the memory that is left can hold.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tools/compiler.h"

namespace renga {

// Bytes of this machine's memory that programs can still have. Unavailable where the kernel does
// not say.
absl::StatusOr<uint64_t> FreeHostBytes();

// Tokens a sequence of the GGUF can hold where its plan may take `free_bytes`: at most what the
// model was made for, in steps of 1,024 from there on, else of a page. A twentieth and what a step
// may need are left over. ResourceExhausted where not even a page is left, saying what takes how
// much. Errors also as GraphOptionsOf and BuildModel.
absl::StatusOr<int64_t> AutoContext(const std::string& gguf, const CompileOptions& options,
                                    uint64_t free_bytes);

}  // namespace renga
