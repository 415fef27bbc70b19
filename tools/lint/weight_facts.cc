#include "tools/lint/weight_facts.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <string>

#include "ir/base/status.h"
#include "ir/reference/dequant.h"
#include "ir/reference/parallel.h"
#include "tools/lint/scale_places.h"

namespace renga {
namespace {

// Elements of the piece of a tensor that a thread takes at a time, and of what it reads of that at
// once; both multiples of every type's block and of kStretch.
constexpr int64_t kPiece = int64_t{1} << 18;
constexpr int64_t kChunk = int64_t{1} << 14;

// Facts of one piece, and what it takes to put pieces together.
struct PieceFacts {
  WeightFacts facts;
  uint32_t first_bits = 0;
  int64_t zeros_in_front = 0;  // run of zeros that the piece begins with, and that it ends with
  int64_t zeros_at_end = 0;
};

struct Piece {
  uint32_t tensor;
  int64_t start;  // element of the tensor
};

uint32_t Bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

constexpr uint32_t kSign = 0x80000000, kInfinity = 0x7f800000;

struct StretchCounts {
  uint32_t zeros = 0, not_finite = 0, differing = 0;
};

// Integer arithmetic with a constant trip count, which the compiler turns into vector code.
StretchCounts CountStretch(const float* values, uint32_t first_bits) {
  uint32_t bits[kStretch];
  std::memcpy(bits, values, sizeof(bits));
  StretchCounts counts;
  for (int i = 0; i < kStretch; ++i) {
    const int32_t magnitude = static_cast<int32_t>(bits[i] & ~kSign);
    counts.zeros += magnitude == 0 ? 1 : 0;
    counts.not_finite += magnitude >= static_cast<int32_t>(kInfinity) ? 1 : 0;
    counts.differing |= bits[i] ^ first_bits;
  }
  return counts;
}

StretchCounts CountRest(const float* values, int64_t count, uint32_t first_bits) {
  StretchCounts counts;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = Bits(values[i]), magnitude = bits & ~kSign;
    counts.zeros += magnitude == 0 ? 1 : 0;
    counts.not_finite += magnitude >= kInfinity ? 1 : 0;
    counts.differing |= bits ^ first_bits;
  }
  return counts;
}

class PieceReader {
 public:
  // `start`: the piece's first element in its tensor.
  explicit PieceReader(int64_t start) : start_(start) {}

  // Decoded values, in order.
  void AddValues(const float* values, int64_t count) {
    WeightFacts& facts = piece_.facts;
    if (facts.elements == 0) {
      facts.first = values[0];
      piece_.first_bits = Bits(values[0]);
    }
    for (int64_t i = 0; i < count; i += kStretch) {
      const int64_t n = std::min(kStretch, count - i);
      const StretchCounts counts = n == kStretch ? CountStretch(values + i, piece_.first_bits)
                                                 : CountRest(values + i, n, piece_.first_bits);
      if (counts.differing != 0) facts.constant = false;
      if (counts.not_finite != 0) AddNotFinite(values + i, n);
      facts.zeros += counts.zeros;
      AddRun(counts.zeros == n ? n : 0);
      facts.elements += n;
    }
  }

  void AddScales(const uint8_t* blocks, int64_t count, const ScalePlace& place, int block_bytes) {
    for (int64_t i = 0; i < count; ++i, blocks += block_bytes) {
      uint16_t scale;
      std::memcpy(&scale, blocks + place.scale_at, sizeof(scale));
      const uint8_t* quants = blocks + place.quants_at;
      if ((scale & 0x7fff) == 0 && std::memcmp(quants, quants + 1, place.quants_bytes - 1) != 0) {
        if (piece_.facts.lost_blocks++ == 0) piece_.facts.first_lost_block = block_ + i;
      }
      if ((scale & 0x7c00) == 0x7c00) ++piece_.facts.bad_scales;
    }
    block_ += count;
    piece_.facts.blocks += count;
  }

  PieceFacts Finish() {
    piece_.facts.decoded = piece_.facts.elements > 0;
    piece_.facts.constant &= piece_.facts.decoded;
    piece_.zeros_at_end = run_;
    return piece_;
  }

 private:
  void AddNotFinite(const float* values, int64_t count) {
    WeightFacts& facts = piece_.facts;
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t magnitude = Bits(values[i]) & ~kSign;
      if (magnitude < kInfinity) continue;
      ++(magnitude == kInfinity ? facts.infinities : facts.nans);
      if (facts.first_not_finite < 0) facts.first_not_finite = start_ + facts.elements + i;
    }
  }

  // The next stretch: `zeros` is its length where it is all zeros, else 0. Call before its elements
  // are counted.
  void AddRun(int64_t zeros) {
    WeightFacts& facts = piece_.facts;
    if (zeros == 0) {
      run_ = 0;
      return;
    }
    if (piece_.zeros_in_front == facts.elements) piece_.zeros_in_front += zeros;
    if (run_ == 0) run_at_ = start_ + facts.elements;
    run_ += zeros;
    if (run_ <= facts.zero_run) return;
    facts.zero_run = run_;
    facts.zero_run_at = run_at_;
  }

  const int64_t start_;
  PieceFacts piece_;
  int64_t run_ = 0, run_at_ = 0;
  int64_t block_ = 0;
};

// Reads one piece of a tensor.
absl::StatusOr<PieceFacts> ReadPiece(const GgufFile& file, const GgufTensor& tensor,
                                     int64_t start) {
  const DTypeInfo& type = Info(tensor.type);
  const DequantFn decode = FindDequant(tensor.type);
  const ScalePlace* scales = FindScalePlace(tensor.type);
  const int64_t end = std::min(tensor.elements(), start + kPiece);
  std::vector<uint8_t> bytes(kChunk / type.block_elements * type.block_bytes);
  std::vector<float> values(decode != nullptr ? kChunk : 0);
  PieceReader reader(start);
  DigestStream digest;
  for (int64_t at = start; at < end; at += kChunk) {
    const int64_t count = std::min(kChunk, end - at), blocks = count / type.block_elements;
    const auto chunk = absl::MakeSpan(bytes).subspan(0, blocks * type.block_bytes);
    // Not through the mapping: a file that is cut off meanwhile is an error, and nothing of it
    // stays in memory.
    RENGA_RETURN_IF_ERROR(file.parts()[tensor.part].file.Read(
        tensor.offset + at / type.block_elements * type.block_bytes, chunk));
    digest.Add(chunk);
    if (scales != nullptr) reader.AddScales(chunk.data(), blocks, *scales, type.block_bytes);
    if (decode == nullptr) continue;
    decode(chunk.data(), count, values.data());
    reader.AddValues(values.data(), count);
  }
  PieceFacts piece = reader.Finish();
  piece.facts.digest = digest.Finish();
  return piece;
}

// Facts of a tensor from those of its pieces, in order.
WeightFacts Combine(absl::Span<const PieceFacts> pieces) {
  WeightFacts all;
  all.decoded = pieces[0].facts.decoded;
  all.first = pieces[0].facts.first;
  std::string digests;
  int64_t run = 0;  // that the pieces so far end with
  for (const PieceFacts& piece : pieces) {
    const WeightFacts& facts = piece.facts;
    if (!facts.constant || piece.first_bits != pieces[0].first_bits) all.constant = false;
    if (all.first_not_finite < 0) all.first_not_finite = facts.first_not_finite;
    if (all.first_lost_block < 0 && facts.first_lost_block >= 0) {
      all.first_lost_block = all.blocks + facts.first_lost_block;
    }
    if (facts.zero_run > all.zero_run) {
      all.zero_run = facts.zero_run;
      all.zero_run_at = facts.zero_run_at;
    }
    if (const int64_t joined = run + piece.zeros_in_front; joined > all.zero_run) {
      all.zero_run = joined;
      all.zero_run_at = all.elements - run;
    }
    run = piece.zeros_in_front == facts.elements ? run + facts.elements : piece.zeros_at_end;
    all.elements += facts.elements;
    all.nans += facts.nans;
    all.infinities += facts.infinities;
    all.zeros += facts.zeros;
    all.blocks += facts.blocks;
    all.lost_blocks += facts.lost_blocks;
    all.bad_scales += facts.bad_scales;
    digests += facts.digest.ToHex();
  }
  all.digest = DigestOf(digests);
  return all;
}

}  // namespace

absl::StatusOr<std::vector<WeightFacts>> ReadWeightFacts(const GgufFile& file,
                                                         const WeightFactsOptions& options) {
  std::vector<Piece> pieces;
  std::vector<size_t> first_piece;  // of each tensor
  int64_t total = 0;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const GgufTensor& tensor = file.tensors()[i];
    first_piece.push_back(pieces.size());
    const int64_t elements = tensor.elements();
    for (int64_t at = 0; at < elements; at += kPiece) {
      pieces.push_back({static_cast<uint32_t>(i), at});
    }
    total += static_cast<int64_t>(tensor.bytes);
  }
  first_piece.push_back(pieces.size());

  std::vector<PieceFacts> results(pieces.size());
  std::atomic<int64_t> done = 0;
  std::atomic<bool> stopped = false;
  std::mutex mutex;
  absl::Status error;
  RowThreads threads(options.threads);
  threads.Run(static_cast<int64_t>(pieces.size()), [&](int64_t i) {
    if (stopped) return;
    const GgufTensor& tensor = file.tensors()[pieces[i].tensor];
    auto result = ReadPiece(file, tensor, pieces[i].start);
    if (!result.ok()) {
      const std::lock_guard<std::mutex> lock(mutex);
      error.Update(result.status());
      stopped = true;
      return;
    }
    results[i] = *std::move(result);
    const int64_t elements = std::min(kPiece, tensor.elements() - pieces[i].start);
    const int64_t now = done += RowBytes(tensor.type, elements);
    if (options.progress && !options.progress(now, total)) stopped = true;
  });
  RENGA_RETURN_IF_ERROR(error);
  if (stopped) return absl::CancelledError("interrupted");

  std::vector<WeightFacts> facts;
  facts.reserve(file.tensors().size());
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    facts.push_back(Combine(
        absl::MakeConstSpan(results).subspan(first_piece[i], first_piece[i + 1] - first_piece[i])));
    facts.back().elements = file.tensors()[i].elements();
  }
  return facts;
}

}  // namespace renga
