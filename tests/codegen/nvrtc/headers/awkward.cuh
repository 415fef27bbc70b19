// A header whose text is hard to embed: quotes, brackets, semicolons, backslashes, other scripts.
#pragma once

// "quoted" 'single' `back` \ \n \x41 \" ;; [a;b] [[ ]] ${NOT} @NOT@ %d )" )text" R"(raw)" µ ≤ 漢
#define AWKWARD(a, b) \
  ((a) + (b))

struct Awkward {
  static constexpr int kValues[] = {1, 2, 3};
};

//	a tab, and a line that ends in blanks after the headline was   
