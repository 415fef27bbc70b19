// Kernels with a mistake put in, for tests of the tests: copies of the headers with a line changed,
// or a plan with a launch or a constant changed.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/emulator/device/plan_kernels.h"
#include "tests/emulator/device/tests/support.h"
#include "tests/support/temp_folder.h"

namespace renga::emulator {

// Replaces `from`, which must be there, by `to` wherever it stands.
inline absl::Status Replace(const std::string& from, const std::string& to, std::string* text) {
  if (text->find(from) == std::string::npos) {
    return absl::NotFoundError(StrCat("there is no \"", from, "\" to put a mistake into"));
  }
  for (size_t at = 0; (at = text->find(from, at)) != std::string::npos; at += to.size()) {
    text->replace(at, from.size(), to);
  }
  return absl::OkStatus();
}

// What kernels are compiled with: the repository's, but for the headers of kernels, which are a
// copy. Removed with this.
class KernelHeaders {
 public:
  KernelHeaders() {
    namespace fs = std::filesystem;
    fs::create_directories(folder_.File("codegen"));
    fs::copy(Source() + "/codegen/kernels", Folder());
    fs::create_directory_symlink(Source() + "/tests", folder_.File("tests"));
  }

  const std::string& root() const { return folder_.path(); }

  absl::Status Edit(const std::string& header, const std::string& from, const std::string& to) {
    std::string text = Read(header);
    RENGA_RETURN_IF_ERROR(Annotate(Replace(from, to, &text), header));
    std::ofstream(Folder() + "/" + header, std::ios::binary) << text;
    return absl::OkStatus();
  }

  // Whether `text` includes the header, or one that does.
  bool Includes(const std::string& text, const std::string& header) const {
    std::set<std::string> seen;
    return Includes(text, header, &seen);
  }

 private:
  static std::string Source() { return RENGA_SOURCE_DIR; }
  std::string Folder() const { return folder_.File("codegen/kernels"); }
  std::string Read(const std::string& header) const {
    std::ifstream file(Folder() + "/" + header, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  bool Includes(const std::string& text, const std::string& header,
                std::set<std::string>* seen) const {
    const std::string mark = "#include \"codegen/kernels/";
    for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos; ++at) {
      const size_t start = at + mark.size();
      const std::string name = text.substr(start, text.find('"', start) - start);
      if (name == header) return true;
      if (seen->insert(name).second && Includes(Read(name), header, seen)) return true;
    }
    return false;
  }

  TempFolder folder_;
};

// Those of the plan's kernels for which `changed` is true, compiled with these headers.
template <typename Changed>
absl::StatusOr<std::shared_ptr<const KernelLibrary>> CompileSome(const plan::Plan& plan,
                                                                 const std::string& root,
                                                                 Changed changed) {
  plan::Plan some;
  for (const plan::GpuKernel& kernel : plan.gpu.kernels) {
    if (changed(kernel)) some.gpu.kernels.push_back(kernel);
  }
  const plan::Plan* const plans[] = {&some};
  return CompilePlans(plans, KernelOptions(root));
}

}  // namespace renga::emulator
