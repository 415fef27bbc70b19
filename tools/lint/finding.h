// What lint says about a model.
#pragma once

#include <string>
#include <string_view>

namespace renga {

// How sure it is that something is wrong with the file, as opposed to only unusual.
enum class Sureness {
  kCertain,  // no correct model is like this
  kLikely,   // almost always a fault of whoever converted or stored the file
  kMaybe,    // there are correct models like this
};

// "certain", "likely", "maybe".
std::string_view Name(Sureness sureness);

// Texts hold names from the file, unescaped: whoever prints them escapes them.
struct Finding {
  std::string check;  // name of the check, filled in by Lint
  Sureness sureness = Sureness::kMaybe;
  std::string where;    // a tensor's name or a metadata key; "layer 3" where it is all of a layer
  int layer = -1;       // -1: outside layers
  std::string what;     // what is there: "2 of 4,096 values are NaN, the first at [17,33]"
  std::string meaning;  // what it does to the model; the same for all findings of one kind
  std::string advice;   // what to do about it
};

}  // namespace renga
