// Finding and loading libnvrtc, held against stand-ins: which one is taken, and what errors say.
#include "codegen/nvrtc/library.h"

#include <unistd.h>

#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/codegen/nvrtc/fake_library.h"
#include "tests/support/temp_folder.h"

namespace renga::codegen {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::string LoadError(const NvrtcSearch& search) {
  const auto library = NvrtcLibrary::Load(search);
  EXPECT_EQ(library.status().code(), absl::StatusCode::kUnavailable);
  return std::string(library.status().message());
}

TEST(NvrtcLibrary, IsLoadedFromAFolder) {
  const NvrtcLibrary& library = FakeLibrary();
  EXPECT_EQ(library.version(), (NvrtcVersion{13, 0}));
  EXPECT_THAT(library.identity(), testing::MatchesRegex("13.0 of [1-9][0-9]+ bytes"));
  EXPECT_THAT(library.path(), testing::EndsWith("/libnvrtc.so.13"));
  EXPECT_THAT(library.SupportedTargets(),
              ElementsAre("sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"));
}

TEST(NvrtcLibrary, OlderOnesKnowFewerTargets) {
  const TempFolder folder;
  InstallFake(folder.path(), "fake_nvrtc_12_4", "libnvrtc.so.12", "12.4");
  const auto library = NvrtcLibrary::Load(NvrtcSearchIn(folder.path(), "the test"));
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_THAT((*library)->SupportedTargets(), ElementsAre("sm_80", "sm_86", "sm_89", "sm_90a"));
  KernelSource source{.name = "k", .text = "", .threads = 32};
  EXPECT_THAT(
      std::string(
          CompileKernel(**library, source, **FindGpuTarget("sm_100a"), {}).status().message()),
      AllOf(StartsWith("kernel k for sm_100a: NVRTC 12.4 (/"),
            HasSubstr("does not know this target, expected 12.8 or newer; install")));
}

TEST(NvrtcLibrary, MissingSaysWhatWasTriedAndHowToGetIt) {
  const TempFolder folder;
  EXPECT_EQ(LoadError(NvrtcSearchIn(folder.path(), "RENGA_NVRTC")),
            StrCat("nvrtc: no usable libnvrtc in the folder of RENGA_NVRTC; tried ", folder.path(),
                   ": no libnvrtc.so.13 or libnvrtc.so.12 in it; install it with "
                   "tools/fetch-nvrtc, with 'pip install nvidia-cuda-nvrtc' or with a CUDA toolkit "
                   "12.8 or newer, or name its folder in RENGA_NVRTC"));
}

TEST(NvrtcLibrary, UnusableOnesAreRefusedWithTheReason) {
  const TempFolder folder;
  const auto in = [&](const char* name) { return NvrtcSearchIn(folder.File(name), "the test"); };
  InstallFake(folder.File("old"), "fake_nvrtc_11_8", "libnvrtc.so.12", "11.8");
  EXPECT_THAT(LoadError(in("old")), HasSubstr("/old/libnvrtc.so.12: version 11.8 is too old, "
                                              "expected 12.1 or newer"));
  InstallFake(folder.File("partial"), "fake_nvrtc_without_log", "libnvrtc.so.13", "13.0");
  EXPECT_THAT(LoadError(in("partial")),
              HasSubstr("/partial/libnvrtc.so.13: it has no nvrtcGetProgramLog"));
  // Builtins of another version are the usual trap of two toolkits mixed in one folder.
  InstallFake(folder.File("mixed"), "fake_nvrtc_12_4", "libnvrtc.so.12", "12.3");
  EXPECT_THAT(LoadError(in("mixed")), AllOf(HasSubstr("its libnvrtc-builtins.so.12.4 cannot be "
                                                      "loaded"),
                                            HasSubstr("No such file")));
  std::filesystem::create_directories(folder.File("junk"));
  folder.Write("junk/libnvrtc.so.13", "not a library at all");
  EXPECT_THAT(LoadError(in("junk")), HasSubstr("/junk/libnvrtc.so.13: "));
}

// A newer soname does not hide a usable older one, nor an unusable folder the next.
TEST(NvrtcLibrary, GoesOnToTheNextPlace) {
  const TempFolder folder;
  InstallFake(folder.File("a"), "fake_nvrtc_without_log", "libnvrtc.so.13", "13.0");
  InstallFake(folder.File("a"), "fake_nvrtc_12_4", "libnvrtc.so.12", "12.4");
  InstallFake(folder.File("b"), "fake_nvrtc_13_0", "libnvrtc.so.13", "13.0");
  NvrtcSearch search;
  search.loader = false;
  search.folders = {folder.File("none"), folder.File("a"), folder.File("b")};
  const auto library = NvrtcLibrary::Load(search);
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_EQ((*library)->version(), (NvrtcVersion{12, 4}));
}

// Folders below a temporary one; the machine's own, in /usr and /opt, are left out.
std::vector<std::string> Found(const TempFolder& folder,
                               std::map<std::string, std::string> variables) {
  const NvrtcSearch search = UsualNvrtcSearch([&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  });
  std::vector<std::string> folders;
  for (const std::string& path : search.folders) {
    if (path.starts_with(folder.path())) folders.push_back(path.substr(folder.path().size() + 1));
  }
  return folders;
}

TEST(NvrtcSearch, LooksWhereToolkitsAndWheelsPutIt) {
  const TempFolder folder;
  const std::string wheels = "lib/python3.11/site-packages/nvidia/";
  for (const std::string& path :
       {std::string("cuda/lib64"), std::string("cache/renga/nvrtc/lib"),
        "venv[1]/" + wheels + "cu13/lib", "venv[1]/" + wheels + "cuda_nvrtc/lib",
        "home/.local/" + wheels + "cu13/lib", std::string("home/.cache/renga/nvrtc/lib"),
        std::string("conda/lib")}) {
    std::filesystem::create_directories(folder.File(path));
  }
  EXPECT_THAT(Found(folder, {{"CUDA_HOME", folder.File("cuda")},
                             {"CUDA_PATH", folder.File("cuda")},
                             {"XDG_CACHE_HOME", folder.File("cache")},
                             {"VIRTUAL_ENV", folder.File("venv[1]")},
                             {"CONDA_PREFIX", folder.File("conda")},
                             {"HOME", folder.File("home")}}),
              ElementsAre("cuda/lib64", "conda/lib", "cache/renga/nvrtc/lib",
                          "venv[1]/" + wheels + "cuda_nvrtc/lib", "venv[1]/" + wheels + "cu13/lib",
                          "home/.local/" + wheels + "cu13/lib"));
  EXPECT_THAT(Found(folder, {{"HOME", folder.File("home")}}),
              ElementsAre("home/.cache/renga/nvrtc/lib", "home/.local/" + wheels + "cu13/lib"));
  EXPECT_THAT(Found(folder, {}), testing::IsEmpty());
}

TEST(NvrtcSearch, WhoNamesAFolderGetsThatOneAlone) {
  const NvrtcSearch search = UsualNvrtcSearch([](const char* name) -> std::optional<std::string> {
    if (std::string_view(name) == "RENGA_NVRTC") return "/somewhere/else";
    return "/usr/local/cuda";
  });
  EXPECT_THAT(search.folders, ElementsAre("/somewhere/else"));
  EXPECT_FALSE(search.loader);
  EXPECT_EQ(search.origin, "RENGA_NVRTC");
}

}  // namespace
}  // namespace renga::codegen
