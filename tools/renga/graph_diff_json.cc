#include "tools/renga/graph_diff_json.h"

#include <string>
#include <utility>

namespace renga {

Json GroupsJson(const GraphDiff& diff) {
  Json groups = Json::array();
  for (const ChangeGroup& group : diff.groups) {
    groups.push_back({{"kind", std::string(ToString(group.kind))},
                      {"subject", std::string(ToString(group.subject))},
                      {"layers", group.layers},
                      {"role", group.role},
                      {"what", group.what},
                      {"before", group.before},
                      {"after", group.after},
                      {"count", group.changes.size()}});
  }
  return groups;
}

}  // namespace renga
