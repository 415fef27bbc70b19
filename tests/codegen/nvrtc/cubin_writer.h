// Writes cubins for tests: what the reader looks at, without code. It shares no code with the
// reader.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace renga::codegen {

struct FakeKernel {
  std::string name;
  uint32_t registers = 32;
  uint32_t stack = 0;
  uint64_t shared = 0;      // size of .nv.shared.NAME, as it stands in the file
  uint32_t threads = 0;     // 0: no launch bounds
  uint16_t parameters = 8;  // bytes of the bank that holds them
  std::vector<uint16_t> parameter_offsets = {};  // in it; none: without records of them
  bool is_entry = true;
};

template <typename T>
std::string Le(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
}

// An ELF64 image of ABI 8, as NVRTC 13 writes it.
inline std::string WriteCubin(int sm, const std::vector<FakeKernel>& kernels) {
  struct Section {
    std::string name;
    uint32_t type;
    std::string content;
    uint64_t bytes;
    uint32_t link;
  };
  std::vector<Section> sections = {{"", 0, "", 0, 0}, {".shstrtab", 3, "", 0, 0}};
  std::string names(1, '\0'), symbols(24, '\0'), info;
  const auto record = [](uint8_t attribute, const std::string& payload) {
    return Le<uint8_t>(4) + Le(attribute) + Le<uint16_t>(payload.size()) + payload;
  };
  uint32_t index = 1;
  for (const FakeKernel& k : kernels) {
    symbols += Le<uint32_t>(names.size()) + Le<uint8_t>(0x12) + Le<uint8_t>(k.is_entry ? 0x10 : 0) +
               Le<uint16_t>(5) + Le<uint64_t>(0) + Le<uint64_t>(0);
    names += k.name + '\0';
    info += record(0x2f, Le(index) + Le(k.registers)) + record(0x11, Le(index) + Le(k.stack));
    ++index;
  }
  sections.push_back({".strtab", 3, names, names.size(), 0});
  sections.push_back({".symtab", 2, symbols, symbols.size(), 2});
  sections.push_back({".nv.info", 0x70000000, info, info.size(), 3});
  for (const FakeKernel& k : kernels) {
    std::string own = Le<uint8_t>(3) + Le<uint8_t>(0x19) + Le(k.parameters);
    for (size_t i = 0; i < k.parameter_offsets.size(); ++i) {
      own += record(0x17, Le<uint32_t>(0) + Le(static_cast<uint16_t>(i)) +
                              Le(k.parameter_offsets[i]) + Le<uint32_t>(0x0301f000));
    }
    if (k.threads != 0) own += record(0x05, Le(k.threads) + Le<uint32_t>(1) + Le<uint32_t>(1));
    sections.push_back({".text." + k.name, 1, std::string(128, 'c'), 128, 0});
    sections.push_back({".nv.info." + k.name, 0x70000000, own, own.size(), 3});
    if (k.shared != 0) sections.push_back({".nv.shared." + k.name, 8, "", k.shared, 0});
  }
  std::string section_names;
  std::vector<uint32_t> name_at;
  for (const Section& s : sections) {
    name_at.push_back(section_names.size());
    section_names += s.name + '\0';
  }
  sections[1].content = section_names;
  sections[1].bytes = section_names.size();

  std::string body, table;
  for (size_t i = 0; i < sections.size(); ++i) {
    const Section& s = sections[i];
    table += Le(name_at[i]) + Le(s.type) + Le<uint64_t>(0) + Le<uint64_t>(0) +
             Le<uint64_t>(64 + body.size()) + Le(s.bytes) + Le(s.link) + Le<uint32_t>(0) +
             Le<uint64_t>(1) + Le<uint64_t>(0);
    body += s.content;
  }
  return std::string(
             "\x7f"
             "ELF\x02\x01\x01\x41\x08",
             9) +
         std::string(7, '\0') + Le<uint16_t>(2) + Le<uint16_t>(190) + Le<uint32_t>(1) +
         Le<uint64_t>(0) + Le<uint64_t>(0) + Le<uint64_t>(64 + body.size()) +
         Le<uint32_t>(0x06000000 | sm << 8) + Le<uint16_t>(64) + Le<uint16_t>(0) + Le<uint16_t>(0) +
         Le<uint16_t>(64) + Le<uint16_t>(static_cast<uint16_t>(sections.size())) + Le<uint16_t>(1) +
         body + table;
}

}  // namespace renga::codegen
