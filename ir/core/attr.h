// Attributes: the named constants of a node. Sorted by name, so that equal nodes print equally.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>

namespace renga {

using AttrValue = std::variant<int64_t, double, bool, std::string>;
using AttrMap = std::map<std::string, AttrValue, std::less<>>;

enum class AttrType { kInt, kFloat, kBool, kName };  // in the order of AttrValue's alternatives

inline AttrType TypeOf(const AttrValue& value) { return static_cast<AttrType>(value.index()); }
std::string_view ToString(AttrType type);  // "int", "float", "bool", "name"

// As printed in the IR: 12, 1e-06, true, neox. A float always has a '.', an 'e', "inf" or "nan" in
// it, is the shortest decimal that reads back to the same double; a name that is no identifier is
// quoted.
std::string ToString(const AttrValue& value);

}  // namespace renga
