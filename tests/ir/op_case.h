// Cases of operators, as text: separated by "// -----", each a
// comment "Tests that ...", a graph, and directives in comments:
//   // SYMBOL T=3 L=5                      sizes of this run
//   // INPUT %x: 1 2.5 3                   a parameter, row-major
//   // WEIGHT @w: ...                      a weight of type f32, f16 or bf16
//   // CACHE %c: ...                       what a cache holds before the run; zeros without it
//   // EXPECT %y: 1 2 (tolerance 1e-6)     a returned value; |got - want| <= tolerance * max(1,
//                                          |want|); integers exactly
//   // EXPECT-ERROR: "part of a message"   from parsing, inference or evaluation
// A line that starts with "//   " continues the directive before it. tests/ops/expect.py computes
// the expected numbers, independently of the code under test.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "ir/reference/interpreter.h"
#include "ir/text/parse.h"

namespace renga {

struct Numbers {
  std::vector<double> values;
  double tolerance = -1;  // -1: none given
};

struct OpCase {
  std::string text;
  std::string title;
  SymbolValues symbols;
  std::map<std::string, Numbers> given;   // by reference with its sigil: INPUT, WEIGHT and CACHE
  std::map<std::string, Numbers> expect;  // likewise
  std::string error;                      // empty: the case must succeed
};

inline Numbers ReadNumbers(std::string text) {
  Numbers numbers;
  const std::string marker = "(tolerance ";
  if (const size_t at = text.find(marker); at != std::string::npos) {
    numbers.tolerance = std::stod(text.substr(at + marker.size()));
    text.resize(at);
  }
  std::istringstream words(text);
  std::string word;
  while (words >> word) {
    size_t used = 0;
    numbers.values.push_back(std::stod(word, &used));
    EXPECT_EQ(used, word.size()) << "not a number: " << word;
  }
  return numbers;
}

inline void ReadDirective(const std::string& line, OpCase* out) {
  const size_t space = std::min(line.find(' '), line.size());
  const std::string kind = line.substr(0, space);
  const std::string rest = line.substr(std::min(space + 1, line.size()));
  if (kind == "Tests") {
    out->title = line;
  } else if (kind == "SYMBOL") {
    std::istringstream words(rest);
    std::string word;
    while (words >> word) {
      const size_t equals = word.find('=');
      ASSERT_NE(equals, std::string::npos) << line;
      out->symbols[word.substr(0, equals)] = std::stoll(word.substr(equals + 1));
    }
  } else if (kind == "EXPECT-ERROR:") {
    ASSERT_GT(rest.size(), 2u) << line;
    out->error = rest.substr(1, rest.size() - 2);
  } else if (kind == "INPUT" || kind == "WEIGHT" || kind == "CACHE" || kind == "EXPECT") {
    const size_t colon = rest.find(':');
    ASSERT_NE(colon, std::string::npos) << line;
    auto& into = kind == "EXPECT" ? out->expect : out->given;
    const bool is_new =
        into.emplace(rest.substr(0, colon), ReadNumbers(rest.substr(colon + 1))).second;
    EXPECT_TRUE(is_new) << line;
  } else {
    FAIL() << "unknown directive: " << line;
  }
}

inline OpCase ReadCase(const std::string& text) {
  OpCase out;
  out.text = text;
  std::istringstream lines(text);
  std::vector<std::string> directives;
  std::string line;
  while (std::getline(lines, line)) {
    if (line.rfind("//   ", 0) == 0 && !directives.empty()) {
      directives.back() += line.substr(4);
    } else if (line.rfind("// ", 0) == 0) {
      directives.push_back(line.substr(3));
    }
  }
  for (const std::string& directive : directives) ReadDirective(directive, &out);
  return out;
}

// Fills `tensor`, whose type and shape are set, as a tensor of that type can hold the numbers.
inline void Fill(const Numbers& numbers, HostTensor* tensor) {
  tensor->Allocate();
  ASSERT_EQ(static_cast<int64_t>(numbers.values.size()), tensor->elements());
  for (size_t i = 0; i < numbers.values.size(); ++i) {
    if (tensor->dtype == DType::kI32) {
      tensor->i[i] = static_cast<int32_t>(numbers.values[i]);
    } else {
      tensor->f[i] = RoundTo(tensor->dtype, static_cast<float>(numbers.values[i]));
    }
  }
}

inline std::vector<uint8_t> WeightBytesOf(DType dtype, const Numbers& numbers) {
  std::vector<uint8_t> bytes;
  for (double number : numbers.values) {
    const float value = static_cast<float>(number);
    uint8_t raw[4];
    size_t size = 2;
    if (dtype == DType::kF32) {
      size = 4;
      std::memcpy(raw, &value, size);
    } else {
      const uint16_t half = dtype == DType::kF16 ? FloatToHalf(value) : FloatToBFloat16(value);
      std::memcpy(raw, &half, size);
    }
    bytes.insert(bytes.end(), raw, raw + size);
  }
  return bytes;
}

class CaseRun {
 public:
  explicit CaseRun(const OpCase& op_case) : case_(op_case) {}

  // Parses and evaluates; the returned values by reference.
  absl::StatusOr<std::map<std::string, HostTensor>> Run() {
    RENGA_ASSIGN_OR_RETURN(graph_, Parse(case_.text, "case.ir"));
    const auto weights = [this](const std::string& name) {
      return absl::StatusOr<absl::Span<const uint8_t>>(Bytes(name));
    };
    RENGA_ASSIGN_OR_RETURN(auto interpreter,
                           Interpreter::Create(graph_, weights, case_.symbols, /*threads=*/1));
    for (size_t c = 0; c < graph_.caches.size(); ++c) {
      const std::string ref = RefText(graph_.value(graph_.caches[c]));
      used_.insert(ref);
      const auto given = case_.given.find(ref);
      if (given != case_.given.end()) Fill(given->second, &interpreter->Cache(c));
    }
    std::vector<HostTensor> params;
    for (ValueId id : graph_.params) params.push_back(Param(graph_.value(id)));
    for (const auto& [ref, numbers] : case_.given) {
      EXPECT_TRUE(used_.count(ref) == 1) << ref << " is given and not in the graph";
    }
    RENGA_RETURN_IF_ERROR(interpreter->Run(case_.symbols, params));
    std::map<std::string, HostTensor> results;
    for (size_t r = 0; r < graph_.returns.size(); ++r) {
      results[RefText(graph_.value(graph_.returns[r]))] = interpreter->Return(r);
    }
    return results;
  }

 private:
  const Numbers& Given(const std::string& ref) {
    static const auto& none = *new Numbers();
    used_.insert(ref);
    const auto found = case_.given.find(ref);
    EXPECT_NE(found, case_.given.end()) << "no INPUT or WEIGHT for " << ref;
    return found == case_.given.end() ? none : found->second;
  }

  absl::Span<const uint8_t> Bytes(const std::string& name) {
    const Value& value = graph_.value(graph_.FindValue(name, /*weight=*/true));
    bytes_.push_back(std::make_unique<std::vector<uint8_t>>(
        WeightBytesOf(value.type.dtype, Given(RefText(value)))));
    return *bytes_.back();
  }

  HostTensor Param(const Value& value) {
    HostTensor tensor;
    tensor.dtype = value.type.dtype;
    for (const Dim& dim : value.type.shape) {
      tensor.shape.push_back(dim.is_symbol() ? case_.symbols.at(dim.symbol) : dim.value);
    }
    Fill(Given(RefText(value)), &tensor);
    return tensor;
  }

  const OpCase& case_;
  Graph graph_;
  std::vector<std::unique_ptr<std::vector<uint8_t>>> bytes_;
  std::set<std::string> used_;
};

inline void Compare(const std::string& ref, const Numbers& want, const HostTensor& got) {
  ASSERT_EQ(got.elements(), static_cast<int64_t>(want.values.size())) << ref;
  for (size_t i = 0; i < want.values.size(); ++i) {
    if (got.dtype == DType::kI32) {
      EXPECT_EQ(got.i[i], want.values[i]) << ref << " element " << i;
      continue;
    }
    ASSERT_GT(want.tolerance, 0) << ref << ": floating point values need a tolerance";
    EXPECT_NEAR(got.f[i], want.values[i], want.tolerance * std::max(1.0, std::abs(want.values[i])))
        << ref << " element " << i;
  }
}

}  // namespace renga
