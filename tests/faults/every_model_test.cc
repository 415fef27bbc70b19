// Every fault of a device in every model that can have it, each with another prompt, other
// positions and pages of another size: what must be named follows from the graph alone.
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/faults/zoo/device_faults.h"
#include "tests/ir/golden_file.h"

namespace renga::faults {
namespace {

using testing::IsEmpty;

// Of the n-th fault in a model.
ZooOptions OptionsOf(const ZooModel& model, const DeviceFault& fault, size_t n) {
  ZooOptions options;
  options.fused = fault.fused;
  options.quick = n % 4 != 0;  // else to the last token of the context
  options.context = 24 + 8 * static_cast<int64_t>(n % 3);
  options.page_tokens = n % 2 == 0 ? 4 : 16;
  options.ids.clear();
  const size_t seed = n + model.name.size() * 11;
  for (size_t i = 0; i < 2 + seed % 7; ++i) {
    options.ids.push_back(
        static_cast<int32_t>((i * 37 + seed * 5 + 3) % static_cast<size_t>(model.vocab)));
  }
  return options;
}

class EveryModel : public testing::TestWithParam<std::string> {};

TEST_P(EveryModel, EveryFaultIsFoundAndNothingElse) {
  const auto model = OpenZooModel(GetParam());
  ASSERT_TRUE(model.ok()) << model.status();
  size_t n = 0;
  for (const DeviceFault& fault : DeviceFaults()) {
    ++n;
    if (!fault.cannot(*model).empty()) continue;
    SCOPED_TRACE(fault.name);
    Graph graph;
    const auto verdict =
        VerifyWith(model->path, fault.faults(*model), OptionsOf(*model, fault, n), &graph);
    ASSERT_TRUE(verdict.ok()) << verdict.status();
    EXPECT_EQ(verdict->steps.size(), 3u) << testing::PrintToString(verdict->not_run);
    EXPECT_THAT(Differences(fault.wrong(*model, graph), verdict->nodes), IsEmpty());
  }
}

// ---- which of them that are ----

// Of each model how many of the faults it can have, and why not the others.
std::string Table() {
  std::vector<std::string> texts;                          // in the order of their first models
  std::map<std::string, std::vector<std::string>> models;  // by text
  for (const std::string& path : ZooModelPaths()) {
    const auto model = OpenZooModel(path);
    if (!model.ok()) return std::string(model.status().message());
    std::map<std::string, std::vector<std::string>> not_these;  // by why
    size_t can = 0;
    for (const DeviceFault& fault : DeviceFaults()) {
      const std::string why = fault.cannot(*model);
      can += why.empty() ? 1 : 0;
      if (!why.empty()) not_these[why].push_back(fault.name);
    }
    std::string text = StrCat(can, " of ", DeviceFaults().size(), "\n");
    for (const auto& [why, names] : not_these) {
      StrAppend(&text, "  ", why, ": ", StrJoin(names, " "), "\n");
    }
    if (models[text].empty()) texts.push_back(text);
    models[text].push_back(model->name);
  }
  std::string table;
  for (const std::string& text : texts) {
    StrAppend(&table, StrJoin(models[text], " "), ": ", text);
  }
  return table;
}

TEST(EveryModelTable, WhichFaultsWhichModelCanHave) {
  const std::string golden = RENGA_SOURCE_DIR "/tests/faults/applies.txt";
  const std::string table = Table();
  std::cout << table;
  if (UpdateGolden()) std::ofstream(golden, std::ios::binary) << table;
  EXPECT_EQ(table, ReadTestFile(golden)) << "UPDATE_GOLDEN=1 rewrites " << golden;
  // None is skipped everywhere, and those without a rule are skipped nowhere.
  for (const DeviceFault& fault : DeviceFaults()) {
    int can = 0;
    for (const std::string& path : ZooModelPaths()) {
      const auto model = OpenZooModel(path);
      ASSERT_TRUE(model.ok()) << model.status();
      can += fault.cannot(*model).empty() ? 1 : 0;
    }
    EXPECT_GT(can, 0) << fault.name << " is tried in no model";
  }
}

// A fault that a rule leaves out would indeed change nothing that could be told: where it can be
// put in all the same, verify finds nothing.
TEST(EveryModelTable, WhatIsLeftOutIsNoFault) {
  int tried = 0;
  for (const std::string& path : ZooModelPaths()) {
    const auto model = OpenZooModel(path);
    ASSERT_TRUE(model.ok()) << model.status();
    for (const DeviceFault& fault : DeviceFaults()) {
      const std::string why = fault.cannot(*model);
      if (why.empty()) continue;
      if (fault.several) continue;  // the model can have the others of them
      SCOPED_TRACE(StrCat(model->name, " ", fault.name, ": ", why));
      const auto verdict = VerifyWith(path, fault.faults(*model), OptionsOf(*model, fault, 1));
      ASSERT_TRUE(verdict.ok()) << verdict.status();
      EXPECT_THAT(Named(verdict->nodes), IsEmpty());
      ++tried;
    }
  }
  EXPECT_GT(tried, 50);
}

std::string TestNameOfPath(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param.substr(info.param.rfind('/') + 1);
  name.resize(name.rfind('.'));
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, EveryModel, testing::ValuesIn(ZooModelPaths()), TestNameOfPath);

}  // namespace
}  // namespace renga::faults
