#include "codegen/nvrtc/cubin_info.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

#include "codegen/nvrtc/target.h"
#include "ir/base/status.h"

// The layout is ELF64 (System V ABI) with NVIDIA's sections, which are not documented; what is read
// here was observed in the output of NVRTC 12.1, 12.8, 12.9, 13.0 and 13.5:
//   .text.K        the code of function K
//   .nv.info       records of all functions: registers and stack frame, by symbol
//   .nv.info.K     records of kernel K: parameter bytes, launch bounds
//   .nv.shared.K   its size is the static shared memory of K
// A record is {u8 format, u8 attribute, u16 value}; with format 4 the value is the number of bytes
// that follow.
namespace renga::codegen {
namespace {

constexpr uint16_t kMachineCuda = 190;
constexpr uint64_t kHeaderBytes = 64, kSectionBytes = 64, kSymbolBytes = 24;
constexpr uint32_t kSymbolTable = 2, kNoBits = 8;
constexpr uint8_t kEntryFlag = 0x10;  // in a symbol's st_other: a kernel, not a device function

constexpr uint8_t kMaxThreads = 0x05, kFrameSize = 0x11, kParameter = 0x17, kParameterBytes = 0x19,
                  kRegisters = 0x2f;
constexpr uint8_t kHasPayload = 4;

// Sections and names may overlap in a hostile image; these bound what that can cost.
constexpr size_t kMaxNameBytes = 1024;
constexpr size_t kMaxKernels = 1000;

// From compute capability 9.0 on, .nv.shared.K counts what the driver reserves.
constexpr int kFirstSmCountingReserved = 90;

absl::Status Broken(std::string_view what) {
  return absl::DataLossError(StrCat("cubin: ", what, "; compile the kernel again"));
}

// Reads little-endian numbers at offsets that the image itself names.
class Bytes {
 public:
  explicit Bytes(std::string_view data) : data_(data) {}
  uint64_t size() const { return data_.size(); }

  std::optional<std::string_view> Range(uint64_t offset, uint64_t bytes) const {
    if (offset > data_.size() || bytes > data_.size() - offset) return std::nullopt;
    return data_.substr(offset, bytes);
  }
  template <typename T>
  T At(uint64_t offset) const {  // 0 outside, which no valid structure relies on
    T value = 0;
    if (const auto range = Range(offset, sizeof(T))) memcpy(&value, range->data(), sizeof(T));
    return value;
  }
  // The NUL-terminated text at `offset`; nullopt where it does not end within kMaxNameBytes.
  std::optional<std::string_view> Text(uint64_t offset) const {
    if (offset >= data_.size()) return std::nullopt;
    const std::string_view text = data_.substr(offset, kMaxNameBytes + 1);
    const size_t end = text.find('\0');
    if (end == std::string_view::npos) return std::nullopt;
    return text.substr(0, end);
  }

 private:
  std::string_view data_;
};

struct Section {
  std::string_view name;
  uint32_t type = 0;
  uint64_t bytes = 0;        // also of sections without content
  std::string_view content;  // empty for those
  uint32_t link = 0;
};

absl::StatusOr<std::vector<Section>> ReadSections(const Bytes& image) {
  const uint64_t table = image.At<uint64_t>(40);
  const uint64_t entry = image.At<uint16_t>(58);
  const uint64_t count = image.At<uint16_t>(60);
  const uint64_t names_index = image.At<uint16_t>(62);
  if (entry != kSectionBytes) {
    return Broken(StrCat("expected section headers of 64 bytes, got ", entry));
  }
  if (count == 0 || names_index >= count || !image.Range(table, count * entry)) {
    return Broken("the table of sections is not inside the file");
  }
  const auto range = [&](uint64_t index) {
    const uint64_t at = table + index * entry;
    return image.Range(image.At<uint64_t>(at + 24), image.At<uint64_t>(at + 32));
  };
  const auto names = range(names_index);
  if (!names) return Broken("the names of sections are not inside the file");
  std::vector<Section> sections;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = table + i * entry;
    Section section;
    section.type = image.At<uint32_t>(at + 4);
    section.bytes = image.At<uint64_t>(at + 32);
    section.link = image.At<uint32_t>(at + 40);
    const auto name = Bytes(*names).Text(image.At<uint32_t>(at));
    if (!name) return Broken(StrCat("section ", i, " has no name"));
    section.name = *name;
    if (section.type != kNoBits) {
      const auto content = range(i);
      if (!content) return Broken(StrCat("section ", i, " is not inside the file"));
      section.content = *content;
    }
    sections.push_back(section);
  }
  return sections;
}

struct Symbol {
  std::string_view name;
  bool is_kernel = false;
};

absl::StatusOr<std::vector<Symbol>> ReadSymbols(const std::vector<Section>& sections) {
  const auto table = std::find_if(sections.begin(), sections.end(),
                                  [](const Section& s) { return s.type == kSymbolTable; });
  if (table == sections.end()) return Broken("it has no symbols");
  if (table->link >= sections.size()) return Broken("the names of symbols are missing");
  const Bytes names(sections[table->link].content), content(table->content);
  std::vector<Symbol> symbols;
  for (uint64_t at = 0; at + kSymbolBytes <= content.size(); at += kSymbolBytes) {
    const auto name = names.Text(content.At<uint32_t>(at));
    if (!name) return Broken(StrCat("symbol ", symbols.size(), " has no name"));
    symbols.push_back({*name, (content.At<uint8_t>(at + 5) & kEntryFlag) != 0});
  }
  return symbols;
}

// Calls `visit(attribute, payload)` for every record; a value without payload arrives as its two
// bytes. False where the records do not fill the section.
template <typename Visit>
bool ForEachRecord(std::string_view section, const Visit& visit) {
  const Bytes bytes(section);
  for (uint64_t at = 0; at < bytes.size();) {
    const auto header = bytes.Range(at, 4);
    if (!header) return false;
    const uint8_t format = bytes.At<uint8_t>(at);
    const uint8_t attribute = bytes.At<uint8_t>(at + 1);
    if (format == kHasPayload) {
      const uint64_t size = bytes.At<uint16_t>(at + 2);
      const auto payload = bytes.Range(at + 4, size);
      if (!payload) return false;
      visit(attribute, *payload);
      at += 4 + size;
    } else {
      visit(attribute, header->substr(2));
      at += 4;
    }
  }
  return true;
}

bool StripPrefix(std::string_view prefix, std::string_view* text) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

// .nv.info: {symbol, value} pairs.
void ReadGlobalRecord(uint8_t attribute, std::string_view payload,
                      const std::vector<Symbol>& symbols,
                      std::map<std::string_view, KernelResources>* kernels) {
  if (payload.size() != 8) return;
  const Bytes bytes(payload);
  const uint32_t symbol = bytes.At<uint32_t>(0);
  if (symbol >= symbols.size()) return;
  const auto kernel = kernels->find(symbols[symbol].name);
  if (kernel == kernels->end()) return;
  if (attribute == kRegisters) kernel->second.registers = bytes.At<uint32_t>(4);
  if (attribute == kFrameSize) kernel->second.stack_bytes = bytes.At<uint32_t>(4);
}

// Where a kernel's parameters lie in their bank of constants. The first lies behind its start where
// it is aligned to more than the bank (a tensor map on sm_90a: 48 bytes).
struct Parameters {
  int64_t end = 0;
  std::optional<int64_t> first;
};

void ReadKernelRecord(uint8_t attribute, std::string_view payload, Parameters* parameters,
                      KernelResources* kernel) {
  const Bytes bytes(payload);
  if (attribute == kParameterBytes) parameters->end = bytes.At<uint16_t>(0);
  if (attribute == kParameter && payload.size() == 12) {  // {u32, u16 index, u16 offset, u32}
    const int64_t offset = bytes.At<uint16_t>(6);
    parameters->first = std::min(parameters->first.value_or(offset), offset);
  }
  if (attribute == kMaxThreads && payload.size() == 12) {
    // Three sizes of at most 1024; an image that claims more is read as saying nothing.
    int64_t threads = 1;
    for (uint64_t at = 0; at < 12; at += 4) {
      const int64_t size = bytes.At<uint32_t>(at);
      if (size < 1 || size > kMaxBlockThreads) return;
      threads *= size;
    }
    kernel->max_threads = threads;
  }
}

// Old images (ABI 7) have the compute capability in the flags' low byte, newer ones in the next.
int ComputeCapability(const Bytes& image) {
  const uint32_t flags = image.At<uint32_t>(48);
  const uint8_t abi = image.At<uint8_t>(8);
  return static_cast<int>((abi >= 8 ? flags >> 8 : flags) & 0xff);
}

}  // namespace

const KernelResources* CubinInfo::Find(std::string_view name) const {
  const auto found = std::find_if(kernels.begin(), kernels.end(),
                                  [&](const KernelResources& k) { return k.name == name; });
  return found == kernels.end() ? nullptr : &*found;
}

absl::StatusOr<CubinInfo> ReadCubin(std::string_view data) {
  const Bytes image(data);
  if (data.size() < kHeaderBytes || !data.starts_with("\x7f"
                                                      "ELF")) {
    return Broken(StrCat("expected an ELF image, got ", data.size(), " other bytes"));
  }
  if (image.At<uint8_t>(4) != 2 || image.At<uint8_t>(5) != 1 ||
      image.At<uint16_t>(18) != kMachineCuda) {
    return Broken("expected a 64-bit CUDA image, got one of another machine");
  }
  CubinInfo info;
  info.sm = ComputeCapability(image);
  RENGA_ASSIGN_OR_RETURN(const std::vector<Section> sections, ReadSections(image));
  RENGA_ASSIGN_OR_RETURN(const std::vector<Symbol> symbols, ReadSymbols(sections));
  std::map<std::string_view, KernelResources> kernels;
  for (const Symbol& symbol : symbols) {
    if (symbol.is_kernel && !symbol.name.empty()) {
      kernels[symbol.name].name = std::string(symbol.name);
    }
  }
  if (kernels.size() > kMaxKernels) return Broken(StrCat("it has over ", kMaxKernels, " kernels"));
  uint64_t record_bytes = 0;
  for (const Section& section : sections) {
    std::string_view name = section.name;
    if (name.starts_with(".nv.info")) record_bytes += section.content.size();
    if (record_bytes > image.size()) return Broken("its sections overlap");
    bool sound = true;
    if (name == ".nv.info") {
      sound = ForEachRecord(section.content, [&](uint8_t attribute, std::string_view payload) {
        ReadGlobalRecord(attribute, payload, symbols, &kernels);
      });
    } else if (StripPrefix(".nv.info.", &name)) {
      const auto kernel = kernels.find(name);
      if (kernel == kernels.end()) continue;
      Parameters parameters;
      sound = ForEachRecord(section.content, [&](uint8_t attribute, std::string_view payload) {
        ReadKernelRecord(attribute, payload, &parameters, &kernel->second);
      });
      kernel->second.parameter_bytes =
          std::max<int64_t>(0, parameters.end - parameters.first.value_or(0));
    } else if (StripPrefix(".text.", &name)) {
      const auto kernel = kernels.find(name);
      if (kernel != kernels.end()) kernel->second.code_bytes = section.content.size();
    } else if (StripPrefix(".nv.shared.", &name)) {
      const auto kernel = kernels.find(name);
      if (kernel == kernels.end()) continue;
      // The size is a number in the file and no content backs it.
      if (section.bytes > (uint64_t{1} << 31)) {
        return Broken(StrCat("kernel ", name.substr(0, 80), " claims ", section.bytes,
                             " bytes of shared memory"));
      }
      kernel->second.static_shared = static_cast<int64_t>(section.bytes);
      if (info.sm >= kFirstSmCountingReserved) {
        kernel->second.static_shared -= std::min(kernel->second.static_shared, kReservedShared);
      }
    }
    if (!sound)
      return Broken(StrCat("the records of ", section.name.substr(0, 80), " are cut off"));
  }
  for (auto& [name, kernel] : kernels) {
    // 255 is what an instruction can name; an image beyond that, or without the record, would make
    // every figure computed from it wrong.
    if (kernel.registers < 1 || kernel.registers > 255) {
      return Broken(StrCat("kernel ", name.substr(0, 80), " has ", kernel.registers,
                           " registers, expected 1 to 255"));
    }
    info.kernels.push_back(std::move(kernel));
  }
  return info;
}

}  // namespace renga::codegen
