#include "tools/renga/verify_report.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "ir/core/graph.h"
#include "ir/diff/graph_diff.h"
#include "tools/renga/compare_json.h"
#include "tools/renga/text.h"
#include "tools/view/html.h"

namespace renga {
namespace {

constexpr size_t kMostShown = 20;  // of each kind, for people

std::string Figures(const BadValue& value) {
  std::string text;
  if (value.likely.empty()) {
    text = absl::StrFormat("; differs by %.3g of its size (allowed %.3g)", value.error.relative,
                           value.tolerance);
  }
  if (!value.error.worst_at.empty()) {
    StrAppend(&text, absl::StrFormat("; at [%s] expected %.6g, got %.6g", value.error.worst_at,
                                     value.error.a_at_worst, value.error.b_at_worst));
  }
  if (!value.error.observation.empty()) StrAppend(&text, "; ", value.error.observation);
  return text;
}

// In which of several steps, where not in all.
std::string StepsDetail(const BadValue& value, size_t steps) {
  if (value.steps.empty() || value.steps.size() >= steps) return "";
  return StrCat("; only with ", StrJoin(value.steps, "; "));
}

std::string FidelityText(const Fidelity& fidelity) {
  if (fidelity.positions == 0 && fidelity.not_numbers > 0) {
    return StrCat("the whole, ", fidelity.steps, ": no numbers at any of ", fidelity.not_numbers,
                  " positions, as the interpreter has none");
  }
  std::string text = absl::StrFormat(
      "the whole, %s: KL %.3g mean, %.3g max; top-1 %.2f %% of %d positions", fidelity.steps,
      fidelity.kl_mean, fidelity.kl_max, 100 * fidelity.top1, fidelity.positions);
  if (fidelity.not_numbers > 0) {
    StrAppend(&text, "; no numbers at ", fidelity.not_numbers,
              " more, as the interpreter has none there");
  }
  return text;
}

std::string LastLine(const VerifyReport& report) {
  const bool device = report.device_ok();
  const std::string_view verdict =
      report.ok()
          ? "ok on "
          : (device ? "the model is broken; what it says is computed rightly on " : "not ok on ");
  return StrCat(verdict, report.device, absl::StrFormat("  (%.1f s)", report.seconds));
}

// Each line with whether it is good, bad, or neither.
struct Line {
  std::string mark;  // "ok", "BAD", ""
  std::string text;
};

// What is said of a value or weight, without the number of its layer: the same of its like.
std::string WithoutLayer(std::string text, int layer) {
  const std::string of = StrCat("blk.", layer, ".");
  for (size_t at = 0; (at = text.find(of, at)) != std::string::npos;) {
    text.replace(at, of.size(), "blk.*.");
  }
  const std::string first = StrCat(layer, ".");
  if (text.starts_with(first)) text.replace(0, first.size(), "*.");
  return text;
}

int LayerOfWeight(std::string_view name) {
  return name.starts_with("blk.") ? LayerOf(name.substr(4)) : -1;
}

// One line for what is said alike of several layers: the first one's, and where it is so too.
struct Said {
  int layer;
  std::string what;  // name, operator and cause
  std::string more;  // figures of this one alone
};
void AddGrouped(std::string_view mark, const std::vector<Said>& all, std::vector<Line>* lines) {
  std::vector<std::string> keys;
  std::vector<std::vector<const Said*>> groups;
  for (const Said& said : all) {
    const std::string key = WithoutLayer(said.what, said.layer);
    const auto found = std::find(keys.begin(), keys.end(), key);
    if (found == keys.end()) {
      keys.push_back(key);
      groups.push_back({&said});
    } else {
      groups[static_cast<size_t>(found - keys.begin())].push_back(&said);
    }
  }
  for (size_t i = 0; i < std::min(groups.size(), kMostShown); ++i) {
    const std::vector<const Said*>& group = groups[i];
    lines->push_back({std::string(mark), group[0]->what + group[0]->more});
    if (group.size() == 1) continue;
    std::vector<int> layers;
    for (const Said* said : group) layers.push_back(said->layer);
    layers.erase(layers.begin());
    std::sort(layers.begin(), layers.end());
    lines->push_back({"", StrCat("the same in ", LayersText(layers))});
  }
  if (groups.size() > kMostShown) {
    lines->push_back({"", StrCat("and ", groups.size() - kMostShown, " more (--json has all)")});
  }
}

std::vector<Line> LinesOf(const VerifyReport& report) {
  std::vector<Line> lines;
  std::vector<Said> weights, model, bad_values;
  for (const WeightFault& fault : report.weights) {
    weights.push_back({LayerOfWeight(fault.name), StrCat("@", fault.name, "  ", fault.what), ""});
  }
  AddGrouped("BAD", weights, &lines);
  if (report.nodes) {
    const Verdict& verdict = *report.nodes;
    for (const ModelFault& fault : verdict.model) {
      model.push_back({fault.layer, StrCat(fault.name, "  ", fault.op, "  ", fault.what), ""});
    }
    AddGrouped("MODEL", model, &lines);
    for (const BadValue& value : verdict.bad) {
      const std::string likely =
          value.likely.empty() ? "nothing that was tried gives its values" : value.likely;
      bad_values.push_back({value.layer, StrCat(value.name, "  ", value.op, "  ", likely),
                            Figures(value) + StepsDetail(value, report.steps.size())});
    }
    AddGrouped("BAD", bad_values, &lines);
    for (const std::string& skipped : verdict.skipped) {
      lines.push_back({"", StrCat("not compared  ", skipped)});
    }
    const int64_t bad = static_cast<int64_t>(verdict.bad.size());
    std::string text = StrCat(verdict.values, " values of nodes alone");
    if (bad > 0) StrAppend(&text, ", all others right");
    if (!verdict.worst.empty()) {
      StrAppend(&text, absl::StrFormat(", worst %.2g of its tolerance (%s)", verdict.worst_share,
                                       verdict.worst));
    }
    StrAppend(&text, ": ", StrJoin(report.steps, "; "));
    lines.push_back({verdict.bad.empty() ? "ok" : "", text});
    for (const std::string& not_run : report.not_run) {
      lines.push_back({"", StrCat("not checked  ", not_run)});
    }
  }
  for (const Fidelity& fidelity : report.fidelity) {
    lines.push_back({fidelity.device_ok() ? "ok" : "BAD", FidelityText(fidelity)});
  }
  if (const int64_t known = report.nodes ? report.nodes->known : 0; known + report.known_ways > 0) {
    lines.push_back({"", StrCat("goes on from a run that was interrupted, which had ", known,
                                " of the values and ", report.known_ways,
                                " of the ways (--fresh starts over)")});
  }
  if (report.llama_cpp) {
    lines.push_back(
        {"", absl::StrFormat("llama.cpp on this model, from the same weights in F32: KL %.2g mean; "
                             "top-1 %.1f %% (recorded)",
                             report.llama_cpp->kl_mean, 100 * report.llama_cpp->top1)});
  }
  if (report.against) {
    lines.push_back({report.against->equal() ? "ok" : "BAD",
                     StrCat("against llama.cpp: ", VerdictText(*report.against))});
  }
  return lines;
}

Json FidelityJson(const Fidelity& fidelity) {
  return {{"steps", fidelity.steps},
          {"positions", fidelity.positions},
          {"kl_mean", fidelity.kl_mean},
          {"kl_p99", fidelity.kl_p99},
          {"kl_max", fidelity.kl_max},
          {"top1", fidelity.top1},
          {"not_numbers", fidelity.not_numbers}};
}

}  // namespace

std::string VerifyText(const VerifyReport& report) {
  std::string text;
  for (const Line& line : LinesOf(report)) {
    // "BAD  " and "ok   " are of one width; who is neither stands below what they say.
    StrAppend(&text, absl::StrFormat("%-5s", line.mark + (line.mark == "MODEL" ? "  " : "")),
              EscapeForTerminal(line.text), "\n");
  }
  return StrCat(text, LastLine(report), "\n");
}

Json VerifyJson(const VerifyReport& report) {
  Json bad = Json::array(), model = Json::array(), weights = Json::array();
  const auto layer_of = [](int layer) { return layer < 0 ? Json() : Json(layer); };
  if (report.nodes) {
    for (const BadValue& value : report.nodes->bad) {
      bad.push_back({{"node", value.name},
                     {"op", value.op},
                     {"layer", layer_of(value.layer)},
                     {"kind", value.kind},
                     {"error", value.error.relative},
                     {"tolerance", value.tolerance},
                     {"max_abs", value.error.max_abs},
                     {"at", value.error.worst_at},
                     {"expected", value.error.a_at_worst},
                     {"got", value.error.b_at_worst},
                     {"likely", value.likely},
                     {"steps", value.steps}});
    }
    for (const ModelFault& fault : report.nodes->model) {
      model.push_back({{"node", fault.name},
                       {"op", fault.op},
                       {"layer", layer_of(fault.layer)},
                       {"what", fault.what}});
    }
  }
  for (const WeightFault& fault : report.weights) {
    weights.push_back({{"weight", fault.name}, {"what", fault.what}});
  }
  Json chunkings = Json::array();
  for (const Fidelity& fidelity : report.fidelity) chunkings.push_back(FidelityJson(fidelity));
  Json result = {{"ok", report.ok()},
                 {"device_ok", report.device_ok()},
                 {"device", report.device},
                 {"values", report.nodes ? report.nodes->values : 0},
                 {"known", report.nodes ? report.nodes->known : 0},
                 {"known_ways", report.known_ways},
                 {"steps", report.steps},
                 {"not_checked", report.not_run},
                 {"bad", std::move(bad)},
                 {"weights", std::move(weights)},
                 {"model", std::move(model)},
                 {"skipped", report.nodes ? Json(report.nodes->skipped) : Json::array()},
                 {"worst", report.nodes ? report.nodes->worst : ""},
                 {"worst_share", report.nodes ? report.nodes->worst_share : 0},
                 {"fidelity", report.fidelity.empty() ? Json() : FidelityJson(report.fidelity[0])},
                 {"llama_cpp", report.llama_cpp ? Json{{"kl_mean", report.llama_cpp->kl_mean},
                                                       {"top1", report.llama_cpp->top1}}
                                                : Json()},
                 {"chunkings", std::move(chunkings)},
                 {"against", report.against ? LogComparisonJson(*report.against) : Json()},
                 {"seconds", report.seconds}};
  return result;
}

std::string VerifyHtml(std::string_view model, const VerifyReport& report) {
  using view::HtmlEscape;
  std::string rows;
  for (const Line& line : LinesOf(report)) {
    const std::string_view kind = line.mark == "ok" ? "ok" : (line.mark.empty() ? "note" : "bad");
    StrAppend(&rows, "<tr class=\"", kind, "\"><td>", HtmlEscape(line.mark), "</td><td>",
              HtmlEscape(line.text), "</td></tr>\n");
  }
  return StrCat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n<title>verify ",
      HtmlEscape(model),
      "</title>\n<style>body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
      "td{padding:.2em .8em;vertical-align:top}td:first-child{font-weight:bold}"
      ".bad{background:#fde8e6}.ok td:first-child{color:#176b2c}.note{color:#555}"
      "@media(prefers-color-scheme:dark){body{background:#16181c;color:#e6e6e6}"
      ".bad{background:#4a1f1b}.ok td:first-child{color:#7fd694}.note{color:#aaa}}</style></head>\n"
      "<body><h1>verify ",
      HtmlEscape(model), "</h1>\n<p><strong>", HtmlEscape(LastLine(report)),
      "</strong></p>\n<table>\n", rows, "</table></body></html>\n");
}

}  // namespace renga
