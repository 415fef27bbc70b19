// diff --html: two graphs side by side.
#include "tools/renga/diff.h"

namespace renga {

std::string DiffHtml(const DiffFlags& flags, const GraphComparison& graphs) {
  DiffPage page;
  page.a_title = flags.a;
  page.b_title = flags.b;
  page.producer = "renga " RENGA_VERSION;
  page.a = &graphs.a;
  page.b = &graphs.b;
  page.diff = &graphs.diff;
  page.errors = graphs.errors;
  page.times = graphs.times;
  return DiffPageHtml(page);
}

}  // namespace renga
