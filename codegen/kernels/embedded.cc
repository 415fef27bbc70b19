#include "codegen/kernels/embedded.h"

namespace renga::codegen {

const DeviceHeader* FindEmbeddedHeader(std::string_view name) {
  for (const DeviceHeader& header : EmbeddedHeaders()) {
    if (header.name == name) return &header;
  }
  return nullptr;
}

}  // namespace renga::codegen
