// The weights: the user's own GGUF files, mapped and used where they lie; those with a layout of
// their own are packed once, at load, or lie packed in the plan file. Small ones are copied.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/memory/region.h"
#include "runtime/memory/weight_files.h"
#include "runtime/plan/plan.h"

namespace renga {

struct WeightOptions {
  std::string plan_path;   // names the plan in errors; files that are not where the plan says are
                           // also looked for beside it; embedded weights are mapped from it
  std::string model_path;  // first model file, instead of the stored one; the other parts of a
                           // split model are then looked for beside it
  int threads = 1;         // for digests and packing
  bool packed = true;      // false: every weight in the file's layout, for those who know no other
  // Called with bytes of weights read and all of them, from one thread at a time.
  std::function<void(int64_t done, int64_t total)> progress;
};

// Move-only; the addresses live as long as the store.
class WeightStore {
 public:
  // Maps the files of a valid plan and checks that they are the ones it was compiled from, reading
  // every weight once. Memory beyond the mappings is what the packed and the copied weights take;
  // the pages of the files they come from are given back. Files whose weights are all embedded need
  // not exist.
  //   NotFound            a file is neither where the plan says nor beside the plan
  //   FailedPrecondition  a size or digest differs
  //   DataLoss            the plan file's embedded weights are not those it was written with
  //   ResourceExhausted   no memory for the packed weights
  // and the errors of MappedFile::Open.
  static absl::StatusOr<WeightStore> Open(const plan::Plan& plan, const WeightOptions& options);

  // Bytes of weight `index` of the plan, read-only, in its layout (or the file's, see
  // WeightOptions::packed), aligned to 8, packed ones to 64.
  const uint8_t* data(int index) const { return data_[index]; }

 private:
  WeightFiles files_;
  Region region_;  // what does not lie as it is wanted in any file
  std::vector<const uint8_t*> data_;
};

}  // namespace renga
