// A small qwen2 whose heads are of whole blocks, for caches in q8_0 and q4_0.
#pragma once

#include "tests/support/tiny_model.h"

namespace renga {

inline TinyModel BiasedModel() {
  TinyModel model;
  model.architecture = "qwen2";
  model.embedding = 96;
  model.heads = 3;
  model.head_dim = 32;
  model.hidden = 80;
  model.vocab = 28;
  model.Fill();
  model.SetU32("context_length", 128);
  return model;
}

}  // namespace renga
