// The weights: the user's own GGUF files, mapped and used where they lie.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/base/mapped_file.h"
#include "runtime/plan/plan.h"

namespace renga {

struct WeightOptions {
  std::string plan_path;   // names the plan in errors; files that are not where the plan says are
                           // also looked for beside it
  std::string model_path;  // first model file, instead of the stored one; the other parts of a
                           // split model are then looked for beside it
  int threads = 1;         // for the digests
};

// Move-only; the addresses live as long as the store.
class WeightStore {
 public:
  // Maps the files of a valid plan and checks that they are the ones it was compiled from:
  //   NotFound            a file is neither where the plan says nor beside the plan
  //   FailedPrecondition  a size or digest differs
  // and the errors of MappedFile::Open.
  static absl::StatusOr<WeightStore> Open(const plan::Plan& plan, const WeightOptions& options);

  // Bytes of weight `index` of the plan, read-only, aligned to 8.
  const uint8_t* data(int index) const { return data_[index]; }

 private:
  std::vector<MappedFile> files_;
  std::vector<const uint8_t*> data_;
};

}  // namespace renga
