#include "runtime/text/stop_strings.h"

#include <algorithm>
#include <utility>

namespace renga {

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  stops_.erase(std::remove(stops_.begin(), stops_.end(), std::string()), stops_.end());
}

std::string StopStrings::Append(std::string_view text) {
  if (stopped_) return "";
  held_.append(text);
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t found = held_.find(stop);
    if (found < first ||
        (found == first && found != std::string::npos && stop.size() > stop_.size())) {
      first = found;
      stop_ = stop;
    }
  }
  if (first != std::string::npos) {
    // A longer stop string that began earlier may still be open; but what is complete stops.
    stopped_ = true;
    held_.resize(first);
    return std::exchange(held_, std::string());
  }
  // The longest end of the text that begins some stop string.
  size_t hold = 0;
  for (const std::string& stop : stops_) {
    for (size_t bytes = std::min(stop.size() - 1, held_.size()); bytes > hold; --bytes) {
      if (std::string_view(held_).substr(held_.size() - bytes) ==
          std::string_view(stop).substr(0, bytes)) {
        hold = bytes;
        break;
      }
    }
  }
  std::string shown = held_.substr(0, held_.size() - hold);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopStrings::Flush() { return std::exchange(held_, std::string()); }

}  // namespace renga
