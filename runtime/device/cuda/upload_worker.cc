#include "runtime/device/cuda/upload_worker.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "ir/base/mma_layout.h"
#include "ir/base/packing.h"
#include "ir/base/status.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/pack_weight.h"

namespace renga::cuda {
namespace {

// Read and taken into the digest at a time: still in a cache for the latter.
constexpr size_t kReadBytes = size_t{256} << 10;
// Packing kernels read whole words of raw bytes.
constexpr size_t kRawMultiple = 4;
// Of a launch: their rows are an int.
constexpr int64_t kMostTiles = int64_t{1} << 26;
// For packing: blocks of threads that a multiprocessor is kept busy with, and bytes for which
// another is worth while. Neither changes a result.
constexpr int64_t kBlocksPerMultiprocessor = 8, kBytesOfBlock = 8 << 10;

// The layout of a weight's matrices, of which there may be several.
absl::StatusOr<MmaLayout> LayoutOf(const plan::Weight& weight) {
  const std::vector<int64_t>& shape = weight.source.shape;
  RENGA_ASSIGN_OR_RETURN(const MmaLayout layout,
                         MmaLayoutOf(weight.source.dtype, shape[shape.size() - 2], shape.back()));
  if (layout.steps <= std::numeric_limits<int32_t>::max()) return layout;
  return absl::UnimplementedError(StrCat("rows of ", layout.k, " weights are too long to pack"));
}

}  // namespace

absl::StatusOr<UploadWorker> UploadWorker::Create(ContextRef context, size_t piece_bytes,
                                                  bool packs, double patience_seconds) {
  UploadWorker worker;
  RENGA_RETURN_IF_ERROR(context->MakeCurrent());
  RENGA_ASSIGN_OR_RETURN(worker.stream_, Stream::Create(context));
  for (Slot& slot : worker.slots_) {
    RENGA_ASSIGN_OR_RETURN(slot.pinned, PinnedMemory::Allocate(context, piece_bytes));
    if (packs) {
      RENGA_ASSIGN_OR_RETURN(slot.staging, Memory::Allocate(context, piece_bytes));
    }
    RENGA_ASSIGN_OR_RETURN(slot.done, Event::Create(context));
  }
  worker.piece_bytes_ = piece_bytes;
  worker.patience_seconds_ = patience_seconds;
  worker.context_ = std::move(context);
  return worker;
}

UploadWorker::~UploadWorker() {
  if (context_ != nullptr && !context_->abandoned()) (void)stream_.Synchronize();
}

absl::StatusOr<UploadWorker::Slot*> UploadWorker::NextSlot() {
  Slot& slot = slots_[next_];
  next_ = 1 - next_;
  if (slot.used) RENGA_RETURN_IF_ERROR(Waited(slot.done.WaitWithin(patience_seconds_, 0)));
  return &slot;
}

absl::Status UploadWorker::Waited(const absl::Status& status) const {
  if (!absl::IsDeadlineExceeded(status)) return status;
  context_->Abandon();
  return absl::UnavailableError(StrCat(context_->gpu().name, ": what brings weights there has not ",
                                       "ended after ", patience_seconds_, " s"));
}

absl::Status UploadWorker::Release(Slot& slot) {
  slot.used = true;
  return stream_.Record(slot.done);
}

absl::Status UploadWorker::Send(const WeightFiles::Place& place, uint64_t at, size_t bytes,
                                Slot& slot, uint8_t* to, size_t multiple, DigestStream* digest) {
  for (size_t done = 0; done < bytes; done += kReadBytes) {
    const auto some = absl::MakeSpan(slot.pinned.data() + done, std::min(kReadBytes, bytes - done));
    RENGA_RETURN_IF_ERROR(place.file->Read(place.offset + at + done, some));
    digest->Add(some);
  }
  const size_t sent = (bytes + multiple - 1) / multiple * multiple;
  std::memset(slot.pinned.data() + bytes, 0, sent - bytes);
  return stream_.WriteLater(to, {slot.pinned.data(), sent});
}

absl::Status UploadWorker::LoadMatrix(const plan::Weight& weight, const WeightFiles::Place& place,
                                      uint64_t from, const PackingKernel& kernel, uint8_t* to,
                                      DigestStream* digest, Advance advance) {
  RENGA_ASSIGN_OR_RETURN(const MmaLayout layout, LayoutOf(weight));
  plan::PackWeightArgs args = plan::PackWeightArgsOf(layout);
  args.packed = reinterpret_cast<uint64_t>(to);
  void* arguments[] = {&args};
  LaunchShape shape;
  shape.threads = kernel.threads;
  shape.shared_bytes = kernel.shared_bytes;
  const int64_t most = kBlocksPerMultiprocessor * context_->gpu().multiprocessors;
  const int64_t tiles_of_piece = std::clamp<int64_t>(
      static_cast<int64_t>(piece_bytes_) / (16 * args.row_bytes), 1, kMostTiles);
  for (int64_t tile = 0; tile < layout.tiles; tile += tiles_of_piece) {
    const int64_t first = tile * 16;
    const int64_t rows = std::min(tiles_of_piece * 16, layout.rows - first);
    const size_t bytes = static_cast<size_t>(rows * args.row_bytes);
    RENGA_ASSIGN_OR_RETURN(Slot * slot, NextSlot());
    RENGA_RETURN_IF_ERROR(Send(place, from + static_cast<uint64_t>(first * args.row_bytes), bytes,
                               *slot, slot->staging.data(), kRawMultiple, digest));
    args.file = reinterpret_cast<uint64_t>(slot->staging.data());
    args.first_tile = tile;
    args.rows = static_cast<int32_t>(rows);
    args.tiles = static_cast<int32_t>((rows + 15) / 16);
    shape.grid[0] = static_cast<unsigned>(
        std::clamp<int64_t>(static_cast<int64_t>(bytes) / kBytesOfBlock, 1, most));
    RENGA_RETURN_IF_ERROR(stream_.Launch(kernel.function, shape, arguments));
    RENGA_RETURN_IF_ERROR(Release(*slot));
    RENGA_RETURN_IF_ERROR(advance(static_cast<int64_t>(bytes)));
  }
  args.finish = 1;
  shape.grid[0] = 1;
  return stream_.Launch(kernel.function, shape, arguments);
}

absl::StatusOr<Digest> UploadWorker::Load(const plan::Weight& weight,
                                          const WeightFiles::Place& place,
                                          const PackingKernel* kernel, uint8_t* to,
                                          Advance advance) {
  DigestStream digest;
  if (kernel != nullptr) {
    RENGA_ASSIGN_OR_RETURN(const MmaLayout layout, LayoutOf(weight));
    const uint64_t matrix =
        static_cast<uint64_t>(layout.rows * RowBytes(weight.source.dtype, layout.k));
    for (uint64_t from = 0; from < place.bytes; from += matrix) {
      RENGA_RETURN_IF_ERROR(LoadMatrix(weight, place, from, *kernel, to, &digest, advance));
      to += layout.bytes;
    }
    return digest.Finish();
  }
  for (uint64_t at = 0; at < place.bytes; at += piece_bytes_) {
    const size_t bytes = static_cast<size_t>(std::min<uint64_t>(piece_bytes_, place.bytes - at));
    RENGA_ASSIGN_OR_RETURN(Slot * slot, NextSlot());
    RENGA_RETURN_IF_ERROR(Send(place, at, bytes, *slot, to + at, 1, &digest));
    RENGA_RETURN_IF_ERROR(Release(*slot));
    RENGA_RETURN_IF_ERROR(advance(static_cast<int64_t>(bytes)));
  }
  return digest.Finish();
}

absl::StatusOr<std::optional<absl::Status>> UploadWorker::Verify(const plan::Weight& weight,
                                                                 const uint8_t* at) {
  using Wrong = std::optional<absl::Status>;
  std::vector<uint8_t> stored(plan::StoredBytes(weight));
  RENGA_RETURN_IF_ERROR(stream_.Read(at, absl::MakeSpan(stored)));
  const auto check = [](std::string_view what, const Digest& digest, const Digest& expected) {
    if (digest == expected) return Wrong();
    return Wrong(absl::UnavailableError(
        StrCat("what arrived on the GPU has ", what, " ", digest.ToHex(), ", expected ",
               expected.ToHex(), "; memory, bus or driver of this machine may be faulty")));
  };
  if (weight.embedded) return check("digest", DigestOf(stored), weight.embedded->digest);
  if (weight.layout.empty()) return check("digest", DigestOf(stored), weight.digest);
  RENGA_ASSIGN_OR_RETURN(const MmaLayout layout, LayoutOf(weight));
  std::vector<uint8_t> file(
      static_cast<size_t>(layout.rows * RowBytes(weight.source.dtype, layout.k)));
  const size_t packed_bytes = static_cast<size_t>(layout.bytes);
  DigestStream digest;
  for (size_t from = 0; from < stored.size(); from += packed_bytes) {
    const auto packed = absl::MakeConstSpan(stored).subspan(from, packed_bytes);
    RENGA_RETURN_IF_ERROR(UnpackFromMma(layout, packed, absl::MakeSpan(file)));
    digest.Add(file);
    RENGA_ASSIGN_OR_RETURN(const int32_t expected, MmaExponentOf(layout, file));
    int32_t exponent;
    std::memcpy(&exponent, packed.data() + layout.tail_offset, sizeof(exponent));
    if (exponent == expected) continue;
    return Wrong(absl::InternalError(StrCat("the exponent on the GPU is ", exponent, ", expected ",
                                            expected, "; renga's packing kernel may be wrong")));
  }
  return check("digest", digest.Finish(), weight.digest);
}

}  // namespace renga::cuda
