#include "ir/base/mma_layout.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "ir/base/mma_fields.h"
#include "ir/base/status.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

// How the codes of a block lie in the words of a lane.
enum class Codes {
  kPairedNibbles,   // weight j at nibble {0, 4, 1, 5, 2, 6, 3, 7}[j]: two neighbours in two halves
  kNibblesInOrder,  // weight j at nibble j
  kBytes,
  kHalves,
  kWords,
};

// How upper bits lie beside paired nibbles.
enum class Upper { kNone, kFifth, kUpperPairs };

enum class Scales {
  kNone,
  kD,          // a word a block: d of row g, d of row g + 8
  kDAndM,      // two words a block: both d, both m
  kExponents,  // two bytes a block
  kSixBits,    // a word a block: scales of both rows, minimums of both; then a plane of d, m
  kEightBits,  // two bytes for each half of a block; then a plane of d
};

struct PlaneSpec {
  int units;
  int words_of_8_blocks;
};

struct Format {
  DType type;
  int min_blocks, max_blocks;  // of a step
  Codes codes;
  Upper upper;
  Scales scales;
  PlaneSpec planes[4];  // codes, upper bits, scales, scales of scales; those there are
};

constexpr Format kFormats[] = {
    {DType::kF32, 1, 1, Codes::kWords, Upper::kNone, Scales::kNone, {{32, 128}}},
    {DType::kF16, 1, 2, Codes::kHalves, Upper::kNone, Scales::kNone, {{32, 64}}},
    {DType::kBF16, 1, 2, Codes::kHalves, Upper::kNone, Scales::kNone, {{32, 64}}},
    {DType::kQ8_0, 1, 4, Codes::kBytes, Upper::kNone, Scales::kD, {{32, 32}, {8, 8}}},
    {DType::kQ4_0, 2, 8, Codes::kPairedNibbles, Upper::kNone, Scales::kD, {{32, 16}, {8, 8}}},
    {DType::kQ4_1, 2, 4, Codes::kPairedNibbles, Upper::kNone, Scales::kDAndM, {{32, 16}, {8, 16}}},
    {DType::kQ5_0,
     2,
     8,
     Codes::kPairedNibbles,
     Upper::kFifth,
     Scales::kD,
     {{32, 16}, {32, 4}, {8, 8}}},
    {DType::kQ5_1,
     2,
     4,
     Codes::kPairedNibbles,
     Upper::kFifth,
     Scales::kDAndM,
     {{32, 16}, {32, 4}, {8, 16}}},
    {DType::kIQ4_NL, 2, 8, Codes::kNibblesInOrder, Upper::kNone, Scales::kD, {{32, 16}, {8, 8}}},
    {DType::kMXFP4,
     2,
     8,
     Codes::kNibblesInOrder,
     Upper::kNone,
     Scales::kExponents,
     {{32, 16}, {8, 4}}},
    {DType::kQ4_K,
     8,
     8,
     Codes::kPairedNibbles,
     Upper::kNone,
     Scales::kSixBits,
     {{32, 16}, {8, 8}, {8, 2}}},
    {DType::kQ5_K,
     8,
     8,
     Codes::kPairedNibbles,
     Upper::kFifth,
     Scales::kSixBits,
     {{32, 16}, {32, 4}, {8, 8}, {8, 2}}},
    {DType::kQ6_K,
     8,
     8,
     Codes::kPairedNibbles,
     Upper::kUpperPairs,
     Scales::kEightBits,
     {{32, 16}, {32, 8}, {16, 4}, {8, 1}}},
};

const Format* FindFormat(DType type) {
  for (const Format& format : kFormats) {
    if (format.type == type) return &format;
  }
  return nullptr;
}

constexpr int64_t kMaxBytes = int64_t{1} << 40;
constexpr int kTailBytes = 16;

int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// One direction of the copy; each bit's place is written once for both.
template <bool kUnpack>
class Mover {
 public:
  using Packed = std::conditional_t<kUnpack, const uint8_t, uint8_t>;
  using Numbers = std::conditional_t<kUnpack, BlockNumbers, const BlockNumbers>;
  using Number = std::conditional_t<kUnpack, uint32_t, const uint32_t>;

  Mover(const Format& format, const MmaLayout& layout, Packed* packed)
      : format_(format), layout_(layout), packed_(packed) {}

  // Block `block` of step `step` of row `row`; its codes are those from `first` of `numbers`.
  void Block(int64_t row, int64_t step, int block, Numbers& numbers, int first) {
    const int64_t item = row / 16 * layout_.steps + step;
    const int g = static_cast<int>(row % 8), r = static_cast<int>(row / 8 % 2);
    for (int q = 0; q < 4; ++q) {
      CodesOf(item, g * 4 + q, r, block, numbers.codes + first + 8 * q);
    }
    ScalesOf(item, g, r, block, numbers, first / 32);
  }

 private:
  void Bits(Number& number, int shift, int plane, int64_t item, int unit, int word, int at,
            int bits) {
    const MmaPlane& p = layout_.plane[plane];
    const int chunk = std::min(p.words, 4);
    const int64_t index =
        ((item * (p.words / chunk) + word / chunk) * p.units + unit) * chunk + word % chunk;
    Packed* place = packed_ + p.offset + index * 4;
    uint32_t value;
    std::memcpy(&value, place, sizeof(value));
    const uint32_t mask = bits == 32 ? ~0u : (1u << bits) - 1;
    if constexpr (kUnpack) {
      number |= (value >> at & mask) << shift;
    } else {
      value |= (number >> shift & mask) << at;
      std::memcpy(place, &value, sizeof(value));
    }
  }

  void CodesOf(int64_t item, int lane, int r, int block, Number* codes) {
    constexpr int kPlaceInPairs[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    for (int j = 0; j < 8; ++j) {
      switch (format_.codes) {
        case Codes::kPairedNibbles:
          Bits(codes[j], 0, 0, item, lane, block * 2 + r, 4 * kPlaceInPairs[j], 4);
          break;
        case Codes::kNibblesInOrder:
          Bits(codes[j], 0, 0, item, lane, block * 2 + r, 4 * j, 4);
          break;
        case Codes::kBytes:
          Bits(codes[j], 0, 0, item, lane, block * 4 + r * 2 + j / 4, j % 4 * 8, 8);
          break;
        case Codes::kHalves:
          Bits(codes[j], 0, 0, item, lane, block * 8 + r * 4 + j / 2, j % 2 * 16, 16);
          break;
        case Codes::kWords:
          Bits(codes[j], 0, 0, item, lane, block * 16 + r * 8 + j, 0, 32);
          break;
      }
      UpperBits(item, lane, r, block, j, codes[j]);
    }
  }

  // Of the weight's pair p = j / 2, the nibbles are used where they stand, at bits 0 (p even) or 4
  // (p odd) of a half; one shift of the upper bits brings them beside the nibbles of two pairs.
  void UpperBits(int64_t item, int lane, int r, int block, int j, Number& code) {
    const int odd = j / 2 % 2, half = j % 2 * 16;
    if (format_.upper == Upper::kFifth) {
      const int u = block % 2 * 4 + r * 2 + j / 4;  // one of the 8 shifts that serve two blocks
      const int at = (u < 4 ? u : u + 4) + 4 * odd;
      Bits(code, 4, 1, item, lane, block / 2, half + at, 1);
    } else if (format_.upper == Upper::kUpperPairs) {
      constexpr int kPlace[4][2] = {{4, 8}, {6, 10}, {0, 12}, {2, 14}};
      Bits(code, 4, 1, item, lane, block, half + kPlace[r * 2 + j / 4][odd], 2);
    }
  }

  void ScalesOf(int64_t item, int g, int r, int block, Numbers& n, int group) {
    const int plane = format_.upper == Upper::kNone ? 1 : 2;
    switch (format_.scales) {
      case Scales::kNone:
        break;
      case Scales::kD:
        Bits(n.d, 0, plane, item, g, block, 16 * r, 16);
        break;
      case Scales::kDAndM:
        Bits(n.d, 0, plane, item, g, block * 2, 16 * r, 16);
        Bits(n.m, 0, plane, item, g, block * 2 + 1, 16 * r, 16);
        break;
      case Scales::kExponents:
        Bits(n.d, 0, plane, item, g, block / 2, block % 2 * 16 + 8 * r, 8);
        break;
      case Scales::kSixBits:
        Bits(n.scales[group], 0, plane, item, g, block, 8 * r, 8);
        Bits(n.minimums[group], 0, plane, item, g, block, 16 + 8 * r, 8);
        if (block > 0) break;
        Bits(n.d, 0, plane + 1, item, g, 0, 16 * r, 16);
        Bits(n.m, 0, plane + 1, item, g, 1, 16 * r, 16);
        break;
      case Scales::kEightBits:
        for (int h = 0; h < 2; ++h) {
          Bits(n.scales[group * 2 + h], 0, plane, item, g * 2 + h, block / 2,
               block % 2 * 16 + 8 * r, 8);
        }
        if (block == 0) Bits(n.d, 0, plane + 1, item, g, 0, 16 * r, 16);
        break;
    }
  }

  const Format& format_;
  const MmaLayout& layout_;
  Packed* packed_;
};

int ExponentOf(const BlockCodec& codec, double bound) {
  if (codec.bound == nullptr || bound == 0) return 0;
  int exponent;
  std::frexp(bound, &exponent);  // bound < 2^exponent
  // Scales that are halves take two factors of at most 2^15; the ends of f32 bound the others.
  const int most = Info(codec.type).quantized && codec.type != DType::kMXFP4 ? 30 : 100;
  return std::min(codec.bound_exponent - exponent, most);
}

absl::Status CheckSpans(const MmaLayout& layout, size_t file, size_t packed) {
  const int64_t expected = layout.rows * RowBytes(layout.type, layout.k);
  if (file != static_cast<size_t>(expected) || packed != static_cast<size_t>(layout.bytes)) {
    return absl::InvalidArgumentError(StrCat("layout for mma: expected ", expected,
                                             " bytes of rows and ", layout.bytes, " packed, got ",
                                             file, " and ", packed));
  }
  return absl::OkStatus();
}

}  // namespace

bool HasMmaLayout(DType type) { return FindFormat(type) != nullptr; }

absl::StatusOr<MmaLayout> MmaLayoutOf(DType type, int64_t rows, int64_t k) {
  const Format* format = FindFormat(type);
  if (format == nullptr) {
    std::string types;
    for (const Format& each : kFormats) {
      StrAppend(&types, types.empty() ? "" : " ", Name(each.type));
    }
    return absl::UnimplementedError(
        StrCat("layout for mma: expected a type of ", types, ", got ", Name(type)));
  }
  const auto row_bytes = RowBytesChecked(type, k);
  if (rows < 1 || k < 1 || !row_bytes.has_value() || rows > kMaxBytes || *row_bytes > kMaxBytes ||
      (rows + 15) * (*row_bytes + 4096) > kMaxBytes) {
    return absl::InvalidArgumentError(StrCat("layout for mma: expected rows of whole blocks of ",
                                             Info(type).block_elements, " and at most ", kMaxBytes,
                                             " bytes, got ", Name(type), "[", rows, ",", k, "]"));
  }
  MmaLayout layout = {};
  layout.type = type;
  layout.rows = rows;
  layout.k = k;
  layout.tiles = (rows + 15) / 16;
  const int64_t blocks = RoundUp((k + 31) / 32, format->min_blocks);
  layout.step_blocks = format->max_blocks;
  while (blocks % layout.step_blocks != 0) layout.step_blocks /= 2;
  layout.steps = blocks / layout.step_blocks;
  int64_t offset = 0;
  for (const PlaneSpec& spec : format->planes) {
    if (spec.units == 0) break;
    const int words = spec.words_of_8_blocks * layout.step_blocks / 8;
    layout.plane[layout.planes++] = {spec.units, words, offset};
    offset = RoundUp(offset + layout.tiles * layout.steps * spec.units * words * 4, 256);
  }
  layout.tail_offset = offset;
  layout.bytes = offset + kTailBytes;
  return layout;
}

absl::Status PackForMma(const MmaLayout& layout, absl::Span<const uint8_t> file,
                        absl::Span<uint8_t> packed) {
  RENGA_RETURN_IF_ERROR(CheckSpans(layout, file.size(), packed.size()));
  const BlockCodec& codec = *FindBlockCodec(layout.type);
  std::fill(packed.begin(), packed.end(), 0);
  Mover<false> mover(*FindFormat(layout.type), layout, packed.data());
  const int64_t row_bytes = RowBytes(layout.type, layout.k);
  double bound = 0;
  for (int64_t row = 0; row < layout.rows; ++row) {
    for (int64_t k = 0; k < layout.k; k += codec.elements) {
      const int elements = static_cast<int>(std::min<int64_t>(codec.elements, layout.k - k));
      BlockNumbers numbers = {};
      codec.read(file.data() + row * row_bytes + RowBytes(layout.type, k), elements, &numbers);
      if (codec.bound != nullptr) bound = std::max(bound, codec.bound(numbers, elements));
      for (int first = 0; first < codec.elements; first += 32) {
        const int64_t block = (k + first) / 32;
        mover.Block(row, block / layout.step_blocks, static_cast<int>(block % layout.step_blocks),
                    numbers, first);
      }
    }
  }
  const int32_t exponent = ExponentOf(codec, bound);
  std::memcpy(packed.data() + layout.tail_offset, &exponent, sizeof(exponent));
  return absl::OkStatus();
}

absl::StatusOr<int32_t> MmaExponentOf(const MmaLayout& layout, absl::Span<const uint8_t> file) {
  RENGA_RETURN_IF_ERROR(CheckSpans(layout, file.size(), static_cast<size_t>(layout.bytes)));
  const BlockCodec& codec = *FindBlockCodec(layout.type);
  if (codec.bound == nullptr) return 0;
  const int64_t row_bytes = RowBytes(layout.type, layout.k);
  double bound = 0;
  for (int64_t row = 0; row < layout.rows; ++row) {
    for (int64_t k = 0; k < layout.k; k += codec.elements) {
      const int elements = static_cast<int>(std::min<int64_t>(codec.elements, layout.k - k));
      BlockNumbers numbers = {};
      codec.read(file.data() + row * row_bytes + RowBytes(layout.type, k), elements, &numbers);
      bound = std::max(bound, codec.bound(numbers, elements));
    }
  }
  return ExponentOf(codec, bound);
}

absl::Status UnpackFromMma(const MmaLayout& layout, absl::Span<const uint8_t> packed,
                           absl::Span<uint8_t> file) {
  RENGA_RETURN_IF_ERROR(CheckSpans(layout, file.size(), packed.size()));
  const BlockCodec& codec = *FindBlockCodec(layout.type);
  std::fill(file.begin(), file.end(), 0);
  Mover<true> mover(*FindFormat(layout.type), layout, packed.data());
  const int64_t row_bytes = RowBytes(layout.type, layout.k);
  for (int64_t row = 0; row < layout.rows; ++row) {
    for (int64_t k = 0; k < layout.k; k += codec.elements) {
      const int elements = static_cast<int>(std::min<int64_t>(codec.elements, layout.k - k));
      BlockNumbers numbers = {};
      for (int first = 0; first < codec.elements; first += 32) {
        const int64_t block = (k + first) / 32;
        mover.Block(row, block / layout.step_blocks, static_cast<int>(block % layout.step_blocks),
                    numbers, first);
      }
      codec.write(numbers, elements, file.data() + row * row_bytes + RowBytes(layout.type, k));
    }
  }
  return absl::OkStatus();
}

}  // namespace renga
