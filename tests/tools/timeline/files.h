// A file that --timeline wrote, read back.
#pragma once

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace renga {

struct ReadSpan {
  std::string name;
  double begin = 0, end = 0;  // microseconds
  int64_t run = -1;
};

struct ReadTimeline {
  nlohmann::json summary;
  std::map<std::string, std::vector<ReadSpan>> rows;  // by the name of the row, in their order

  static ReadTimeline Of(const std::string& path) {
    ReadTimeline read;
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    const nlohmann::json json = nlohmann::json::parse(text.str(), nullptr, false);
    EXPECT_FALSE(json.is_discarded()) << path;
    if (json.is_discarded()) return read;
    read.summary = json["otherData"];
    std::map<std::pair<int, int>, std::string> names;
    for (const nlohmann::json& event : json["traceEvents"]) {
      const std::pair<int, int> place(event["pid"], event["tid"]);
      if (event["ph"] == "M") {
        if (event["name"] == "thread_name") names[place] = event["args"]["name"];
        continue;
      }
      EXPECT_EQ(event["ph"], "X");
      const double begin = event["ts"];
      ReadSpan span{event["name"], begin, begin + event["dur"].get<double>()};
      if (event.contains("args")) span.run = event["args"]["run"];
      read.rows[names[place]].push_back(std::move(span));
    }
    return read;
  }

  // A device's times come as floats of up to a second, the file has nanoseconds.
  static constexpr double kRounding = 0.2;

  // Of a row: each span lies in one that is open, or begins when all before it have ended.
  void ExpectNests(const std::string& row) const {
    std::vector<double> open;
    ASSERT_GT(rows.count(row), 0u) << row;
    for (const ReadSpan& span : rows.at(row)) {
      EXPECT_LE(span.begin, span.end) << row << " " << span.name;
      while (!open.empty() && open.back() <= span.begin + kRounding) open.pop_back();
      if (!open.empty()) {
        EXPECT_LE(span.end, open.back() + kRounding) << row << " " << span.name;
      }
      open.push_back(span.end);
    }
  }

  int64_t Count(const std::string& row, const std::string& name) const {
    int64_t count = 0;
    if (rows.count(row) == 0) return 0;
    for (const ReadSpan& span : rows.at(row)) count += span.name == name ? 1 : 0;
    return count;
  }
};

}  // namespace renga
