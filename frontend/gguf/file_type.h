// What general.file_type says: the mixture of tensor types a model was quantised to.
#pragma once

#include <cstdint>
#include <string>

namespace renga {

// "Q4_K - Medium" for 15; "file type 99" for a number without a name. Only a label: the types of
// the tensors are what counts. Numbers: enum llama_ftype of llama.cpp's llama.h.
std::string FileTypeLabel(uint64_t id);

}  // namespace renga
