// The metadata of a synthetic model: its sizes, and a made-up vocabulary of the real size.
#pragma once

#include "tests/bench/synthetic/shapes.h"
#include "tests/support/gguf_writer.h"

namespace renga::synthetic {

// Adds them. Byte-level BPE with a token for every byte, a handful of merges, words that no text
// has, and control tokens at the end.
void AddMetadata(const Model& model, GgufWriter* writer);

}  // namespace renga::synthetic
