#include "tools/repro/standalone_text.h"

#include <sstream>

#include "codegen/kernels/embedded.h"
#include "ir/base/strings.h"

namespace renga::codegen {
absl::Span<const DeviceHeader> ReproSources();
}

namespace renga {
namespace {

// The path of a line `#include "path"`, or nothing.
std::string IncludedPath(const std::string& line) {
  const size_t start = line.find_first_not_of(" \t");
  if (start == std::string::npos || line.compare(start, 8, "#include") != 0) return "";
  const size_t open = line.find('"'), close = line.find('"', open + 1);
  if (open == std::string::npos || close == std::string::npos) return "";
  return line.substr(open + 1, close - open - 1);
}

const codegen::DeviceHeader* FindText(std::string_view name) {
  if (const auto* header = codegen::FindEmbeddedHeader(name)) return header;
  for (const codegen::DeviceHeader& source : codegen::ReproSources()) {
    if (source.name == name) return &source;
  }
  return nullptr;
}

}  // namespace

std::string StandaloneText::Header(std::string_view name) {
  if (!seen_.insert(std::string(name)).second) return "";
  const codegen::DeviceHeader* const header = FindText(name);
  if (header == nullptr) return StrCat("#error \"", name, " is not there\"\n");
  return StrCat("// ---- ", name, "\n", Expand(header->text));
}

std::string StandaloneText::Expand(std::string_view text) {
  std::string expanded;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line == "#pragma once") continue;
    if (const std::string path = IncludedPath(line); !path.empty()) {
      expanded += Header(path);
    } else {
      StrAppend(&expanded, line, "\n");
    }
  }
  return expanded;
}

std::string StandaloneText::Own(std::string_view name) { return Header(name); }

std::string StandaloneText::Host() { return Header("tests/emulator/primitives_host.h"); }

std::string StandaloneText::Body(std::string_view source, std::string* includes) {
  std::string body;
  std::istringstream lines{std::string(source)};
  for (std::string line; std::getline(lines, line);) {
    if (const std::string path = IncludedPath(line); !path.empty()) {
      *includes += Header(path);
    } else {
      StrAppend(&body, line, "\n");
    }
  }
  return body;
}

}  // namespace renga
