#include "tools/renga/run_report.h"

#include <cmath>
#include <cstdio>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

double Rate(int64_t tokens, double seconds) {
  return tokens > 0 && seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

Json TopJson(const TopIds& top) {
  Json json = Json::array();
  for (const auto& [id, logit] : top) json.push_back(Json::array({id, logit}));
  return json;
}

void AppendTop(const TopIds& top, std::string* text) {
  for (const auto& [id, logit] : top) StrAppend(text, absl::StrFormat("  %d:%.4f", id, logit));
  *text += "\n";
}

std::string RateText(double rate) {
  return rate < 10 ? absl::StrFormat("%.2f", rate)
                   : WithCommas(static_cast<int64_t>(std::llround(rate)));
}

}  // namespace

Json ToJson(const RunReport& report) {
  const GenerateResult& result = report.result;
  const GenerateTimings& timings = result.timings;
  Json json = {{"prompt_ids", report.prompt_ids},
               {"ids", result.ids},
               {"text", result.text},
               {"finish_reason", std::string(ToString(result.finish_reason))},
               {"device", report.device},
               {"seed", report.seed}};
  if (report.kernels_compiled) json["kernels_compiled"] = *report.kernels_compiled;
  if (report.logits > 0) {
    Json steps = Json::array();
    for (const GeneratedToken& token : result.tokens) {
      steps.push_back({{"id", token.id}, {"logprob", token.logprob}, {"top", TopJson(token.top)}});
    }
    json["steps"] = std::move(steps);
  }
  if (!result.prompt_top.empty()) {
    Json positions = Json::array();
    for (const TopIds& top : result.prompt_top) positions.push_back(TopJson(top));
    json["prompt_top"] = std::move(positions);
  }
  json["timings"] = {
      {"load_s", report.load_seconds},
      {"prompt_tokens", timings.prompt_tokens},
      {"reused_tokens", timings.reused_tokens},
      {"prompt_tok_s", Rate(timings.prompt_tokens, timings.prompt_seconds)},
      {"decode_tokens", timings.decode_tokens},
      {"decode_tok_s", Rate(timings.decode_tokens, timings.decode_seconds)},
  };
  if (timings.shifts > 0) json["timings"]["shifts"] = timings.shifts;
  if (timings.device_tokens > 0) json["timings"]["device_tokens"] = timings.device_tokens;
  if (report.timeline) json["timeline"] = ToJson(*report.timeline);
  return json;
}

std::string LogitsText(const RunReport& report) {
  std::string text;
  if (report.logits == 0) return text;
  for (size_t i = 0; i < report.result.prompt_top.size(); ++i) {
    StrAppend(&text, absl::StrFormat("%6d after %6d ", i, report.prompt_ids[i]));
    AppendTop(report.result.prompt_top[i], &text);
  }
  for (const GeneratedToken& token : report.result.tokens) {
    StrAppend(&text, absl::StrFormat("%6d logprob %8.4f ", token.id, token.logprob));
    AppendTop(token.top, &text);
  }
  return text;
}

void PrintSummary(const RunReport& report) {
  const GenerateResult& result = report.result;
  const GenerateTimings& timings = result.timings;
  std::string text;
  const size_t tokens = result.ids.size();
  if (tokens > 0) {
    StrAppend(&text, tokens, tokens == 1 ? " token" : " tokens");
    const double rate = Rate(timings.decode_tokens, timings.decode_seconds);
    if (rate > 0) StrAppend(&text, ", ", RateText(rate), " tok/s");
    StrAppend(&text,
              absl::StrFormat(", first token after %.0f ms; ", 1000 * report.first_token_seconds));
  }
  StrAppend(&text, "prompt ", timings.prompt_tokens, " tokens, ",
            RateText(Rate(timings.prompt_tokens, timings.prompt_seconds)), " tok/s");
  if (tokens > 0) StrAppend(&text, "; ended by ", ToString(result.finish_reason));
  if (tokens > 0 && report.sampled) StrAppend(&text, "; seed ", report.seed);
  text += "\n";
  if (report.timeline) text += ToText(*report.timeline);
  fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace renga
