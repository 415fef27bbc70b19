// Rows of text in aligned columns.
#pragma once

#include <string>
#include <vector>

namespace renga {

class TextTable {
 public:
  // Cells are escaped for the terminal, on one line. Rows may differ in length.
  void Add(std::vector<std::string> cells);

  // Columns two spaces apart, each as wide as its widest cell but the last, without spaces at the
  // end; every row starts with `indent`. A column all of whose cells are empty takes no room.
  std::string Text(const std::string& indent = "") const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace renga
