// Disjoint sets of numbers, for connected components.
#pragma once

#include <numeric>
#include <vector>

namespace renga {

class UnionFind {
 public:
  explicit UnionFind(int size) : parent_(size) { std::iota(parent_.begin(), parent_.end(), 0); }

  int Find(int x) {
    while (parent_[x] != x) x = parent_[x] = parent_[parent_[x]];
    return x;
  }
  // The smaller number represents both sets.
  void Unite(int x, int y) {
    x = Find(x);
    y = Find(y);
    if (x < y) {
      parent_[y] = x;
    } else {
      parent_[x] = y;
    }
  }

 private:
  std::vector<int> parent_;
};

}  // namespace renga
