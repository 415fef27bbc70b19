#include "tools/renga/memory_map.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_format.h"
#include "ir/base/strings.h"
#include "ir/diff/graph_diff.h"
#include "runtime/plan/layout.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

using plan::Lifetime;
using plan::Plan;

// What fits on a screen. A model's layer has some 20 steps and as many buffers.
constexpr int kMaxColumns = 96;
constexpr size_t kMaxRows = 40;
constexpr std::string_view kLetters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

bool InArena(const Plan& plan, const std::vector<Lifetime>& lives, size_t buffer) {
  return plan.buffers[buffer].space == plan::Space::kArena && plan.buffers[buffer].view_of < 0 &&
         lives[buffer].first >= 0;
}

uint64_t EndOf(const plan::Buffer& buffer) { return buffer.offset + buffer.bytes; }

// The name without the number of its layer.
std::string_view RoleIn(std::string_view name, int layer) {
  const std::string prefix = StrCat(layer, ".");
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

// Equal for sections that place the same in the same way. What lives on from before goes by its
// place alone: for the first layer that is the embedding, for the others the layer before.
std::string Signature(const Plan& plan, const std::vector<Lifetime>& lives,
                      const MemorySection& section, int layer) {
  const int steps = section.last_step - section.first_step + 1;
  std::string signature = StrCat(steps, ";");
  for (const int index : section.buffers) {
    const plan::Buffer& buffer = plan.buffers[index];
    const int first = lives[index].first - section.first_step;
    const int last = std::min(lives[index].last - section.first_step, steps);
    const std::string_view name = first < 0 ? "" : RoleIn(buffer.name, layer);
    StrAppend(&signature, name.size(), ":", name, " ", buffer.offset, " ", buffer.bytes, " ",
              std::max(first, -1), " ", last, ";");
  }
  return signature;
}

// Sections with the buffers alive in each, in one walk over both, as both are in step order.
std::vector<MemorySection> AllSections(const Plan& plan, const std::vector<Lifetime>& lives) {
  std::vector<MemorySection> sections;
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    const int layer = plan.steps[s].layer;
    if (s == 0 || plan.steps[s - 1].layer != layer) {
      sections.emplace_back();
      sections.back().first_step = static_cast<int>(s);
      if (layer >= 0) sections.back().layers = {layer};
    }
    sections.back().last_step = static_cast<int>(s);
  }
  std::vector<int> by_start;
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    if (InArena(plan, lives, i)) by_start.push_back(static_cast<int>(i));
  }
  std::sort(by_start.begin(), by_start.end(),
            [&](int x, int y) { return lives[x].first < lives[y].first; });
  std::vector<int> alive;
  size_t next = 0;
  for (MemorySection& section : sections) {
    std::erase_if(alive, [&](int i) { return lives[i].last < section.first_step; });
    while (next < by_start.size() && lives[by_start[next]].first <= section.last_step) {
      alive.push_back(by_start[next++]);
    }
    section.buffers = alive;
    std::sort(section.buffers.begin(), section.buffers.end(), [&](int x, int y) {
      return std::pair(plan.buffers[x].offset, lives[x].first) <
             std::pair(plan.buffers[y].offset, lives[y].first);
    });
  }
  return sections;
}

// Where the rows of a section begin, and where the last ends: every address at which a buffer
// begins or ends, thinned out where they are too many.
std::vector<uint64_t> RowBounds(const Plan& plan, const MemorySection& section) {
  std::vector<uint64_t> bounds;
  for (const int index : section.buffers) {
    bounds.push_back(plan.buffers[index].offset);
    bounds.push_back(EndOf(plan.buffers[index]));
  }
  std::sort(bounds.begin(), bounds.end());
  bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
  if (bounds.size() <= kMaxRows + 1) return bounds;
  std::vector<uint64_t> thinned;
  for (size_t i = 0; i <= kMaxRows; ++i) {
    thinned.push_back(bounds[i * (bounds.size() - 1) / kMaxRows]);
  }
  return thinned;
}

char LetterOf(size_t place) { return place < kLetters.size() ? kLetters[place] : '#'; }

// One line a range of addresses.
std::vector<std::string> DrawRows(const Plan& plan, const std::vector<Lifetime>& lives,
                                  const MemorySection& section, const std::vector<uint64_t>& bounds,
                                  int steps_per_column) {
  const int steps = section.last_step - section.first_step + 1;
  const int columns = (steps + steps_per_column - 1) / steps_per_column;
  std::vector<std::string> rows(bounds.size() - 1, std::string(columns, '.'));
  for (size_t place = 0; place < section.buffers.size(); ++place) {
    const int index = section.buffers[place];
    const plan::Buffer& buffer = plan.buffers[index];
    const int first = std::max(lives[index].first, section.first_step) - section.first_step;
    const int last = std::min(lives[index].last, section.last_step) - section.first_step;
    // The first row that ends behind the buffer's start.
    size_t row = std::upper_bound(bounds.begin(), bounds.end(), buffer.offset) - bounds.begin();
    for (row = std::max<size_t>(row, 1); row <= rows.size() && bounds[row - 1] < EndOf(buffer);
         ++row) {
      for (int c = first / steps_per_column; c <= last / steps_per_column; ++c) {
        char& cell = rows[row - 1][c];
        cell = cell == '.' ? LetterOf(place) : '+';  // several, where rows or columns are thinned
      }
    }
  }
  return rows;
}

std::string Title(const MemorySection& section) {
  const std::string steps = section.first_step == section.last_step
                                ? StrCat("step ", section.first_step)
                                : StrCat("steps ", section.first_step, "-", section.last_step);
  if (section.layers.size() < 2) return StrCat(LayersText(section.layers), "  ", steps);
  return StrCat(LayersText(section.layers), "  ", steps, " of layer ", section.layers.front(),
                ", the others alike");
}

// The letters of the section's buffers on some of the same bytes, by place in the section.
std::vector<std::string> SharingLetters(const Plan& plan, const MemorySection& section,
                                        size_t shown) {
  std::vector<std::string> letters(shown);
  for (size_t i = 0; i < shown; ++i) {
    const plan::Buffer& a = plan.buffers[section.buffers[i]];
    for (size_t j = 0; j < shown; ++j) {
      const plan::Buffer& b = plan.buffers[section.buffers[j]];
      if (i != j && a.offset < EndOf(b) && b.offset < EndOf(a)) letters[i] += LetterOf(j);
    }
  }
  return letters;
}

std::string Legend(const Plan& plan, const std::vector<Lifetime>& lives,
                   const MemorySection& section) {
  const size_t shown = std::min(section.buffers.size(), kLetters.size());
  const std::vector<std::string> sharing = SharingLetters(plan, section, shown);
  size_t name_width = 0, type_width = 0;
  std::vector<std::string> names, types;
  for (size_t place = 0; place < shown; ++place) {
    const plan::Buffer& buffer = plan.buffers[section.buffers[place]];
    names.push_back(EscapeForTerminal(buffer.name));
    types.push_back(plan::ToString(buffer.type, plan.symbols));
    name_width = std::max(name_width, names.back().size());
    type_width = std::max(type_width, types.back().size());
  }
  std::string text;
  for (size_t place = 0; place < shown; ++place) {
    const int index = section.buffers[place];
    const plan::Buffer& buffer = plan.buffers[index];
    const std::string life = StrCat(lives[index].first, "-", lives[index].last);
    StrAppend(&text,
              absl::StrFormat("  %c  %-*s  %-*s %12d bytes  steps %-9s", LetterOf(place),
                              static_cast<int>(name_width), names[place],
                              static_cast<int>(type_width), types[place], buffer.bytes, life));
    if (!sharing[place].empty()) StrAppend(&text, "  shares bytes with ", sharing[place]);
    while (text.back() == ' ') text.pop_back();
    text += "\n";
  }
  if (shown < section.buffers.size()) {
    StrAppend(&text, "  ... and ", section.buffers.size() - shown, " more, drawn as #\n");
  }
  return text;
}

}  // namespace

std::vector<MemorySection> MemorySections(const Plan& plan, const std::vector<Lifetime>& lives,
                                          std::optional<int> layer) {
  std::vector<MemorySection> sections;
  std::unordered_map<std::string, size_t> by_signature;
  for (MemorySection& section : AllSections(plan, lives)) {
    const int of = section.layers.empty() ? -1 : section.layers.front();
    if (layer) {
      if (of == *layer) sections.push_back(std::move(section));
      continue;
    }
    if (of >= 0) {
      const auto [found, added] =
          by_signature.emplace(Signature(plan, lives, section, of), sections.size());
      if (!added) {
        std::vector<int>& layers = sections[found->second].layers;
        if (layers.back() != of) layers.push_back(of);
        continue;
      }
    }
    sections.push_back(std::move(section));
  }
  return sections;
}

std::vector<std::vector<int>> Sharers(const Plan& plan, const std::vector<Lifetime>& lives) {
  std::map<int, std::vector<int>> by_layer;
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    if (!InArena(plan, lives, i)) continue;
    by_layer[plan.steps[lives[i].first].layer].push_back(static_cast<int>(i));
  }
  std::vector<std::vector<int>> sharers(plan.buffers.size());
  for (auto& [layer, buffers] : by_layer) {
    std::sort(buffers.begin(), buffers.end(),
              [&](int x, int y) { return plan.buffers[x].offset < plan.buffers[y].offset; });
    for (size_t i = 0; i < buffers.size(); ++i) {
      std::vector<int>& of_i = sharers[buffers[i]];
      const uint64_t end = EndOf(plan.buffers[buffers[i]]);
      for (size_t j = i + 1; j < buffers.size() && plan.buffers[buffers[j]].offset < end; ++j) {
        if (of_i.size() >= kMaxSharers) break;
        of_i.push_back(buffers[j]);
        std::vector<int>& of_j = sharers[buffers[j]];
        if (of_j.size() < kMaxSharers) of_j.push_back(buffers[i]);
      }
    }
  }
  for (std::vector<int>& list : sharers) std::sort(list.begin(), list.end());
  return sharers;
}

Peak FullestStep(const Plan& plan, const std::vector<Lifetime>& lives) {
  std::vector<int64_t> change(plan.steps.size() + 1, 0);
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    if (!InArena(plan, lives, i)) continue;
    change[lives[i].first] += static_cast<int64_t>(plan.buffers[i].bytes);
    change[lives[i].last + 1] -= static_cast<int64_t>(plan.buffers[i].bytes);
  }
  Peak peak;
  int64_t alive = 0;
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    alive += change[s];
    if (peak.step < 0 || static_cast<uint64_t>(alive) > peak.bytes) {
      peak = {static_cast<int>(s), static_cast<uint64_t>(alive)};
    }
  }
  return peak;
}

std::string MemorySectionLine(const Plan& plan, const MemorySection& section) {
  uint64_t end = 0;
  for (const int index : section.buffers) end = std::max(end, EndOf(plan.buffers[index]));
  std::string text =
      StrCat(Title(section), "  ", section.buffers.size(),
             section.buffers.size() == 1 ? " buffer in the first " : " buffers in the first ",
             BytesText(end));
  if (!section.layers.empty()) StrAppend(&text, "  (drawn by --layer ", section.layers[0], ")");
  return text + "\n";
}

std::string MemorySectionText(const Plan& plan, const std::vector<Lifetime>& lives,
                              const MemorySection& section) {
  std::string text = StrCat(Title(section), "\n");
  if (section.buffers.empty()) return text;
  const int steps = section.last_step - section.first_step + 1;
  const int steps_per_column = (steps + kMaxColumns - 1) / kMaxColumns;
  if (steps_per_column > 1) StrAppend(&text, "  a column is ", steps_per_column, " steps\n");
  const std::vector<uint64_t> bounds = RowBounds(plan, section);
  const std::vector<std::string> rows = DrawRows(plan, lives, section, bounds, steps_per_column);
  for (size_t row = 0; row < rows.size(); ++row) {
    StrAppend(&text, absl::StrFormat("%12d  %s  %s\n", bounds[row], rows[row],
                                     BytesText(bounds[row + 1] - bounds[row])));
  }
  return StrCat(text, Legend(plan, lives, section));
}

}  // namespace renga
