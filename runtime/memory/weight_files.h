// Where the bytes of a plan's weights are: the user's own GGUF files, and the plan file for those
// that are embedded.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ir/base/digest.h"
#include "ir/base/mapped_file.h"
#include "runtime/plan/plan.h"

namespace renga {

struct WeightPaths {
  std::string plan_path;   // names the plan in errors; files that are not where the plan says are
                           // also looked for beside it; embedded weights come from it
  std::string model_path;  // first model file, instead of the stored one; the other parts of a
                           // split model are then looked for beside it
};

// Move-only; addresses of files and bytes live as long as it does.
class WeightFiles {
 public:
  // Maps the files of a valid plan, none of which it reads. Those whose weights are all embedded
  // need not exist.
  //   NotFound            a file is neither where the plan says nor beside the plan
  //   FailedPrecondition  a size differs from that of the file the plan was compiled from
  //   DataLoss            the plan file is too short for the weights it embeds
  // and the errors of MappedFile::Open.
  static absl::StatusOr<WeightFiles> Open(const plan::Plan& plan, WeightPaths paths);

  struct Place {
    const MappedFile* file = nullptr;
    uint64_t offset = 0;
    uint64_t bytes = 0;
    bool packed = false;  // in the weight's layout there; else in the model file's
  };
  // Of a weight of the plan.
  Place Find(const plan::Weight& weight) const;

  // Whether `digest`, of all bytes at that place, is the plan's: FailedPrecondition for a model
  // file that changed, DataLoss for a damaged plan file.
  absl::Status CheckDigest(const plan::Weight& weight, const Digest& digest) const;

 private:
  WeightPaths paths_;
  std::vector<MappedFile> files_;  // of the plan, not open where nothing comes from it; then the
                                   // plan file, open where weights are embedded
  uint64_t data_start_ = 0;        // of the embedded weights
};

}  // namespace renga
