// Folders with a stand-in for libnvrtc (fake_nvrtc.cc), and sources that tell it what to answer.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "codegen/nvrtc/compile.h"
#include "codegen/nvrtc/library.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/codegen/nvrtc/cubin_writer.h"

namespace renga::codegen {

// Puts the stand-in `fake` ("fake_nvrtc_13_0") into `folder` as `soname`, and its builtins where
// `builtins` names a version.
inline void InstallFake(const std::string& folder, std::string_view fake, std::string_view soname,
                        std::string_view builtins) {
  const std::string from = StrCat(RENGA_BINARY_DIR, "/fake_nvrtc/");
  std::filesystem::create_directories(folder);
  const auto copy = [&](std::string_view name, std::string_view as) {
    std::filesystem::copy_file(StrCat(from, name, ".so"), StrCat(folder, "/", as),
                               std::filesystem::copy_options::overwrite_existing);
  };
  copy(fake, soname);
  if (!builtins.empty()) copy("fake_builtins", StrCat("libnvrtc-builtins.so.", builtins));
}

// The stand-in of version 13.0, one for all tests of the program.
inline const NvrtcLibrary& FakeLibrary() {
  static const auto& library = *new std::shared_ptr<const NvrtcLibrary>([] {
    const std::string folder = StrCat(RENGA_BINARY_DIR, "/fake_nvrtc/13.0-", getpid());
    InstallFake(folder, "fake_nvrtc_13_0", "libnvrtc.so.13", "13.0");
    auto loaded = NvrtcLibrary::Load(NvrtcSearchIn(folder, "the test"));
    std::filesystem::remove_all(folder);  // the process keeps what it has loaded
    if (!loaded.ok()) {
      ADD_FAILURE() << loaded.status();
      abort();
    }
    return *std::move(loaded);
  }());
  return *library;
}

inline std::string Hex(std::string_view bytes) {
  std::string text;
  for (const unsigned char c : bytes) StrAppend(&text, absl::Hex(c, absl::kZeroPad2));
  return text;
}

// A source for which the stand-in returns a cubin with that kernel in it.
inline KernelSource FakeSource(const FakeKernel& kernel, int sm, std::string_view more = "") {
  KernelSource source;
  source.name = kernel.name;
  source.text = StrCat("// fake: cubin ", Hex(WriteCubin(sm, {kernel})), "\n", more);
  source.threads = 128;
  return source;
}

}  // namespace renga::codegen
