#include "codegen/nvrtc/search.h"

#include <glob.h>
#include <string.h>

#include <algorithm>

#include "ir/base/strings.h"

namespace renga::codegen {
namespace {

// Folders that match, newest version first ("cuda-13.0" before "cuda-12.9").
std::vector<std::string> Matches(const std::string& pattern) {
  glob_t found = {};
  std::vector<std::string> folders;
  if (glob(pattern.c_str(), GLOB_ONLYDIR, nullptr, &found) == 0) {
    folders.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  }
  globfree(&found);
  std::stable_sort(folders.begin(), folders.end(), [](const std::string& a, const std::string& b) {
    return strverscmp(a.c_str(), b.c_str()) > 0;
  });
  return folders;
}

// A folder of the user's as part of a pattern: its own *, ? and [ are plain characters.
std::string Escaped(std::string_view path) {
  std::string text;
  for (const char c : path) {
    if (c == '*' || c == '?' || c == '[' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

}  // namespace

NvrtcSearch UsualNvrtcSearch(const GetVariable& variable) {
  const auto value = [&](const char* name) { return variable(name).value_or(""); };
  if (const std::string folder = value("RENGA_NVRTC"); !folder.empty()) {
    return NvrtcSearchIn(folder, "RENGA_NVRTC");
  }
  std::vector<std::string> patterns;
  // {variable, what lies below it}: a toolkit's libraries are in lib64, in lib where a package
  // manager built it, and in targets/ where it was made for several machines.
  for (const char* name : {"CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX"}) {
    const std::string root = value(name);
    if (root.empty()) continue;
    for (const char* below : {"/lib64", "/lib", "/targets/*/lib"}) {
      patterns.push_back(Escaped(root) + below);
    }
  }
  for (const char* root : {"/usr/local/cuda", "/usr/local/cuda-1[2-9]*", "/opt/cuda"}) {
    for (const char* below : {"/lib64", "/lib"}) patterns.push_back(StrCat(root, below));
  }
  std::string cache = value("XDG_CACHE_HOME");
  const std::string home = value("HOME");
  if (cache.empty() && !home.empty()) cache = StrCat(home, "/.cache");
  if (!cache.empty()) patterns.push_back(Escaped(cache) + "/renga/nvrtc/lib");
  for (const std::string& root :
       {value("VIRTUAL_ENV"), value("CONDA_PREFIX"), home.empty() ? home : StrCat(home, "/.local"),
        std::string("/usr/local"), std::string("/usr")}) {
    if (root.empty()) continue;
    for (const char* packages : {"/site-packages", "/dist-packages"}) {
      patterns.push_back(StrCat(Escaped(root), "/lib/python3*", packages, "/nvidia/*/lib"));
    }
  }
  NvrtcSearch search;
  for (const std::string& pattern : patterns) {
    for (std::string& folder : Matches(pattern)) {
      const auto& known = search.folders;
      if (std::find(known.begin(), known.end(), folder) == known.end()) {
        search.folders.push_back(std::move(folder));
      }
    }
  }
  return search;
}

NvrtcSearch NvrtcSearchIn(std::string_view folder, std::string_view origin) {
  return {{std::string(folder)}, false, std::string(origin)};
}

}  // namespace renga::codegen
