// One thread of an upload (weight_upload.h): a stream, two staging buffers, and a weight at a time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ir/base/digest.h"
#include "runtime/device/cuda/resources.h"
#include "runtime/memory/weight_files.h"
#include "runtime/plan/plan.h"

namespace renga::cuda {

// A plan::GpuPacker, loaded.
struct PackingKernel {
  Function function;
  unsigned threads = 0;
  unsigned shared_bytes = 0;
};

class UploadWorker {
 public:
  // For the thread that calls it. `piece_bytes`, a multiple of 4, is at least 16 rows of every
  // weight that will be packed; `packs` says whether there is any. Whatever takes longer than
  // `patience_seconds` is Unavailable, and the context is abandoned.
  static absl::StatusOr<UploadWorker> Create(ContextRef context, size_t piece_bytes, bool packs,
                                             double patience_seconds);
  UploadWorker(UploadWorker&&) = default;
  // Waits: nothing may be freed under what is queued.
  ~UploadWorker();

  // Called with the bytes of each piece once they are read; its error ends the weight.
  using Advance = absl::FunctionRef<absl::Status(int64_t)>;

  // Reads all bytes of a weight and queues what brings them to `to`, by `kernel` if that is not
  // null; there zeros must stand. Returns the digest of what was read.
  absl::StatusOr<Digest> Load(const plan::Weight& weight, const WeightFiles::Place& place,
                              const PackingKernel* kernel, uint8_t* to, Advance advance);
  // Until everything queued has ended.
  absl::Status Finish() { return Waited(stream_.SynchronizeWithin(patience_seconds_)); }

  // After Finish: what is wrong with what stands at `at` for the weight, by the plan's digests:
  // Unavailable (something else arrived) or Internal (it was packed wrongly); none where it is
  // right. Errors are the driver's.
  absl::StatusOr<std::optional<absl::Status>> Verify(const plan::Weight& weight, const uint8_t* at);

 private:
  struct Slot {
    PinnedMemory pinned;
    Memory staging;  // raw bytes for a packing kernel
    Event done;      // when both may be used again
    bool used = false;
  };
  UploadWorker() = default;

  // The next buffer, once what was queued from it has ended.
  absl::StatusOr<Slot*> NextSlot();
  // Bytes of the file into the slot, into the digest, and on to `to`; there zeros up to a multiple
  // of `multiple` follow them.
  absl::Status Send(const WeightFiles::Place& place, uint64_t at, size_t bytes, Slot& slot,
                    uint8_t* to, size_t multiple, DigestStream* digest);
  absl::Status LoadMatrix(const plan::Weight& weight, const WeightFiles::Place& place,
                          uint64_t from, const PackingKernel& kernel, uint8_t* to,
                          DigestStream* digest, Advance advance);
  absl::Status Release(Slot& slot);
  absl::Status Waited(const absl::Status& status) const;

  ContextRef context_;
  size_t piece_bytes_ = 0;
  double patience_seconds_ = 0;
  std::array<Slot, 2> slots_;
  int next_ = 0;
  Stream stream_;
};

}  // namespace renga::cuda
