// diff of two folders of pass dumps (`--dump-dir`): after which pass did they part?
#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/str_replace.h"
#include "ir/base/status.h"
#include "tools/renga/diff.h"

namespace renga {
namespace {

namespace fs = std::filesystem;

// "02.rows-asked.ir" -> "rows-asked": a pass more or less in front must not shift the others.
std::string StageOf(const std::string& file) {
  const size_t dot = file.find('.');
  return file.substr(dot + 1, file.size() - dot - 1 - std::string_view(".ir").size());
}

struct Stage {
  std::string file;  // its name in the folder, which begins with its place
  std::string name;
};

absl::StatusOr<std::vector<Stage>> StagesIn(const std::string& folder) {
  std::error_code error;
  std::vector<Stage> stages;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!name.ends_with(".ir") || name.find('.') + 1 >= name.size() - 2) continue;
    stages.push_back({name, StageOf(name)});
  }
  if (error) return absl::InvalidArgumentError(StrCat(folder, ": cannot read: ", error.message()));
  if (stages.empty()) {
    return absl::InvalidArgumentError(
        StrCat(folder,
               ": expected dumps such as 00.frontend.ir, got none; `renga compile "
               "--dump-dir` writes them"));
  }
  std::sort(stages.begin(), stages.end(),
            [](const Stage& a, const Stage& b) { return a.file < b.file; });
  return stages;
}

std::string Indented(const std::string& text) {
  std::string result = StrCat("    ", absl::StrReplaceAll(text, {{"\n", "\n    "}}));
  result.erase(result.find_last_not_of(' ') + 1);
  return result;
}

}  // namespace

bool IsFolder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

absl::StatusOr<DiffAnswer> DiffFolders(const DiffFlags& flags) {
  RENGA_ASSIGN_OR_RETURN(const std::vector<Stage> stages_a, StagesIn(flags.a));
  RENGA_ASSIGN_OR_RETURN(const std::vector<Stage> stages_b, StagesIn(flags.b));
  std::map<std::string, std::string> file_of_a;
  for (const Stage& stage : stages_a) file_of_a[stage.name] = stage.file;
  DiffAnswer answer;
  Json stages = Json::array();
  const auto only = [&](const std::string& name, std::string_view side) {
    answer.equal = false;
    StrAppend(&answer.text, name, "  only in ", side, "\n");
    stages.push_back({{"name", name}, {"equal", false}, {"only_in", std::string(side)}});
  };
  for (const Stage& stage : stages_b) {
    const auto found = file_of_a.find(stage.name);
    if (found == file_of_a.end()) {
      only(stage.name, "b");
      continue;
    }
    DiffFlags pair = flags;
    pair.a = StrCat(flags.a, "/", found->second);
    pair.b = StrCat(flags.b, "/", stage.file);
    file_of_a.erase(found);
    RENGA_ASSIGN_OR_RETURN(DiffAnswer compared, DiffGraphFiles(pair, FileKind::kIr, FileKind::kIr));
    const bool first = !compared.equal && answer.json.find("first") == answer.json.end();
    if (first) answer.json["first"] = stage.name;
    StrAppend(&answer.text, stage.name, compared.equal ? "  equal" : "  differs",
              first ? "   <- first\n" : "\n", compared.equal ? "" : Indented(compared.text));
    answer.equal &= compared.equal;
    compared.json["name"] = stage.name;
    compared.json["equal"] = compared.equal;
    stages.push_back(std::move(compared.json));
  }
  for (const auto& [name, file] : file_of_a) only(name, "a");
  answer.json["kind"] = "passes";
  answer.json["stages"] = std::move(stages);
  return answer;
}

}  // namespace renga
