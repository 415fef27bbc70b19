#include "tools/renga/bench_report.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "ir/base/strings.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

std::optional<double> PercentOfBound(const BenchRow& row) {
  if (!row.bound) return std::nullopt;
  return 100 * row.speed.median / *row.bound;
}

Json NumberJson(const std::optional<double>& number) {
  return number ? Json(*number) : Json(nullptr);
}

// Three digits or more: "0.0123", "1.23", "12.3", "1,234".
std::string NumberText(double number) {
  if (number >= 1000) return WithCommas(static_cast<int64_t>(std::llround(number)));
  if (number >= 100) return absl::StrFormat("%.0f", number);
  if (number >= 10) return absl::StrFormat("%.1f", number);
  return absl::StrFormat(number >= 0.1 || number == 0 ? "%.2f" : "%.2g", number);
}

std::string NumberText(const std::optional<double>& number) {
  return number ? NumberText(*number) : "-";
}

// Rates with their units: "18.2 GB/s", "798 TFLOP/s".
std::string RatesText(const DeviceRates& rates) {
  std::string text;
  if (rates.bytes_per_second) {
    StrAppend(&text, NumberText(*rates.bytes_per_second / 1e9), " GB/s");
  }
  if (rates.flops_per_second) {
    StrAppend(&text, text.empty() ? "" : ", ", NumberText(*rates.flops_per_second / 1e12),
              " TFLOP/s");
  }
  return StrCat(text, text.empty() ? "" : "; ", rates.source);
}

// Numbers stand under each other by their last digit.
std::string AlignedRows(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows[0].size());
  for (const std::vector<std::string>& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string room(widths[i] - row[i].size(), ' ');
      StrAppend(&text, i == 0 ? "" : "  ", i == 0 ? "" : room, row[i], i == 0 ? room : "");
    }
    text += "\n";
  }
  return text;
}

}  // namespace

Json ToJson(const BenchReport& report) {
  Json rows = Json::array();
  for (const BenchRow& row : report.rows) {
    rows.push_back({{"test", row.test},
                    {"tok_s", row.speed.median},
                    {"stdev", row.speed.deviation},
                    {"bytes", std::llround(row.token_cost.bytes)},
                    {"flops", std::llround(row.token_cost.flops)},
                    {"bound_tok_s", NumberJson(row.bound)},
                    {"percent_of_bound", NumberJson(PercentOfBound(row))}});
    if (row.host_share) rows.back()["host_percent"] = 100 * *row.host_share;
    if (row.sampling_seconds) rows.back()["sampling_us"] = 1e6 * *row.sampling_seconds;
  }
  Json json = {{"model", report.model},
               {"device", report.device},
               {"repetitions", report.repetitions},
               {"rates",
                {{"bytes_s", NumberJson(report.rates.bytes_per_second)},
                 {"flops_s", NumberJson(report.rates.flops_per_second)},
                 {"source", report.rates.source}}},
               {"rows", std::move(rows)}};
  if (report.timeline) json["timeline"] = ToJson(*report.timeline);
  return json;
}

std::string ToText(const BenchReport& report) {
  std::vector<std::vector<std::string>> rows = {
      {"test", "tok/s", "+-", "MB/token", "MFLOP/token", "bound tok/s", "% of bound"}};
  bool beyond = false, serves = false;
  for (const BenchRow& row : report.rows) {
    const std::optional<double> percent = PercentOfBound(row);
    beyond |= percent.value_or(0) > 100;
    rows.push_back({row.test, NumberText(row.speed.median), NumberText(row.speed.deviation),
                    NumberText(row.token_cost.bytes / 1e6), NumberText(row.token_cost.flops / 1e6),
                    NumberText(row.bound), percent ? absl::StrFormat("%.1f", *percent) : "-"});
    serves |= row.host_share.has_value();
  }
  if (serves) {
    rows[0].push_back("host %");
    for (size_t i = 0; i < report.rows.size(); ++i) {
      std::optional<double> percent = report.rows[i].host_share;
      if (percent) *percent *= 100;
      rows[i + 1].push_back(NumberText(percent));
    }
  }
  std::string text =
      StrCat("model   ", EscapeOnOneLine(report.model), ", ", EscapeOnOneLine(report.device),
             ", median of ", report.repetitions, "\nrates   ",
             EscapeOnOneLine(RatesText(report.rates)), "\n\n", AlignedRows(rows));
  for (const BenchRow& row : report.rows) {
    if (!row.sampling_seconds) continue;
    text += absl::StrFormat("\n%s: sampling adds %.1f us a step", row.test,
                            1e6 * *row.sampling_seconds);
    if (&row == &report.rows.back()) text += "\n";
  }
  if (beyond) {
    text +=
        "\nBeyond 100 %: what a token reads stays in caches, which are faster than memory; or "
        "other "
        "programs held up the measurement of memory.\n";
  }
  if (report.timeline) StrAppend(&text, "\n", ToText(*report.timeline));
  return text;
}

}  // namespace renga
