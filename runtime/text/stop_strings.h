// Ends a stream of text at the first of some strings, without ever showing part of one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace renga {

// Not thread-safe. Time for each call: bytes held back and added, times the stop strings.
class StopStrings {
 public:
  // Empty strings are ignored: they would stop everything before it began.
  explicit StopStrings(std::vector<std::string> stops);

  // Takes more text and returns what can be shown: all but an end that may be the beginning of a
  // stop string. Once a stop string is complete, returns what is left of it and stopped() is true;
  // whatever is added then is dropped. Of several the one that begins first counts.
  std::string Append(std::string_view text);

  // The end of the stream: the text held back, as no stop string can follow any more.
  std::string Flush();

  bool stopped() const { return stopped_; }
  const std::string& stop() const { return stop_; }  // the string that stopped it; else empty

 private:
  std::vector<std::string> stops_;
  std::string held_;
  std::string stop_;
  bool stopped_ = false;
};

}  // namespace renga
