// The filters of runtime/text/sampler.h in its order, on the largest logits of a row. Every number
// that decides is the same bits as there: weights are integers (token_weight.cuh), and no sum of
// floats is compared. A candidate is a thread; sums over the candidates before one are loops, as
// there are hardly ever more than 40.
//
// `open` says that below the candidates there are more that have not been cut off yet. Where a
// decision would need those, the row is undecided.
#pragma once

#include "codegen/kernels/token_weight.cuh"
#include "codegen/kernels/top_keys.cuh"

namespace renga::kernels {

class SampleFilters {
 public:
  __device__ __forceinline__ explicit SampleFilters(SharedArena& arena)
      : weights_(arena.Take<uint64_t>(kSampleThreads)),
        numbers_(arena.Take<double>(kSampleThreads)),
        ids_(arena.Take<int>(kSampleChanges)),
        words_(arena.Take<int>(2)) {}

  // Shared memory for an int a thread, before anything else is called.
  __device__ __forceinline__ int* counts() const { return reinterpret_cast<int*>(numbers_); }

  // `keys` holds the `count` largest of a row in order, at most kSampleKept, all there are where
  // `complete`. Afterwards it holds candidates with the changes of bias and penalties, in order,
  // and `count` is how many of them have no other before them. False: undecided.
  __device__ __forceinline__ bool Change(const SampleRow& row, const SampleChange* changes,
                                         const float* logits, bool complete, TopKeys& top,
                                         int& count) {
    if (row.changes == 0) return true;
    const int t = threadIdx.x, c = t - kSampleKept;
    // Nothing outside of the candidates comes before the last of them.
    const uint64_t bound = complete ? 1 : top.keys[count - 1];
    uint64_t key = t < count ? top.keys[t] : 0;
    SetWord(0, 0);
    if (c >= 0 && c < row.changes) {
      const SampleChange change = changes[row.first_change + c];
      ids_[c] = change.id;
      const float logit = Changed(LoadFromL2(logits + change.id), change, row.repeat);
      if (logit < Infinity()) {
        key = TokenKey::Of(logit, change.id);
      } else {
        AtomicMax(words_, 1);  // beyond all numbers: the host says so
      }
    }
    SyncThreads();
    if (words_[0] != 0) return false;
#pragma unroll 1
    for (int i = 0; i < row.changes && t < count; ++i) {
      if (ids_[i] == TokenKey::Id(key)) key = 0;  // it comes with its change
    }
    SyncThreads();
    top.keys[t] = key;
    top.Sort(kSampleThreads);
    SetWord(0, 0);
    if (top.keys[t] >= bound && (t == kSampleThreads - 1 || top.keys[t + 1] < bound)) {
      words_[0] = t + 1;
    }
    SyncThreads();
    count = words_[0];
    return true;
  }

  // The chosen id of `keys`, the first `count` of a row in order, all there are where `complete`;
  // `sum` is that of the row's weights, 0 where it is not known. -1: undecided.
  __device__ __forceinline__ int Choose(const SampleRow& row, bool complete, uint64_t sum,
                                        uint64_t* keys, int count) {
    bool open = !complete;
    if (count == 0) return -1;
    if (row.top_k > 0) {
      if (row.top_k > count && open) return -1;
      count = min(count, row.top_k);
      open = false;
    }
    if (row.typical_p < 1) {
      if (open) return -1;
      count = KeepTypical(row.typical_p, keys, count);
    }
    if (row.top_p < 1) {
      if (open && (sum == 0 || row.changes > 0)) return -1;
      count = CountOfTopP(row.top_p, open ? sum : 0, keys, count);
      if (count == 0) return -1;
      open = false;
    }
    if (row.log_min_p > -static_cast<double>(Infinity())) {
      const int kept = CountOfMinP(row.log_min_p, keys, count);
      if (kept == count && open) return -1;
      count = kept;
      open = false;
    }
    if (open) return -1;
    return Draw(row, keys, count);
  }

 private:
  // A word that all threads have read before and see from here on, until one writes to it.
  __device__ __forceinline__ void SetWord(int word, int value) {
    SyncThreads();
    if (threadIdx.x == 0) words_[word] = value;
    SyncThreads();
  }

  // The products and quotients are rounded to f32 by themselves: through f64, so that no compiler
  // makes one operation of a product and a difference. (53 digits are enough for a quotient of
  // numbers of 24 to round to the same f32 as at once: Figueroa, "When is double rounding
  // innocuous?", 1995.)
  static __device__ __forceinline__ float Changed(float logit, const SampleChange& change,
                                                  float repeat) {
    logit += change.bias;
    if (change.penalised == 0 || logit == -Infinity()) return logit;
    const double exact = static_cast<double>(logit);
    logit = static_cast<float>(logit <= 0 ? exact * repeat : exact / repeat);
    return logit - change.penalty;
  }

  // Moves those that stay together; how many.
  __device__ __forceinline__ int KeepTypical(float p, uint64_t* keys, int count) {
    const int t = threadIdx.x;
    const uint64_t key = t < count ? keys[t] : 0;
    const float max = TokenKey::Logit(keys[0]);
    uint64_t weight = 0;
    double below = 0;
    if (t < count) {
      weight = TokenWeight(TokenKey::Logit(key), max);
      below = static_cast<double>(max) - TokenKey::Logit(key);
    }
    SetWord(0, 0);
    weights_[t] = weight;
    numbers_[t] = below;
    SyncThreads();
    uint64_t sum = 0, sum_below = 0;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      sum += weights_[i];
      if (weights_[i] > 0) {
        sum_below += static_cast<uint64_t>(static_cast<double>(weights_[i]) * numbers_[i]);
      }
    }
    const double mean = static_cast<double>(sum_below) / static_cast<double>(sum);
    double distance = below - mean;
    if (distance < 0) distance = -distance;
    if (weight == 0) distance = Infinity();
    SyncThreads();
    numbers_[t] = distance;
    SyncThreads();
    const double enough = static_cast<double>(p) * static_cast<double>(sum);
    int rank = 0;
    uint64_t before = 0;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      if (numbers_[i] < distance || (numbers_[i] == distance && i < t)) {
        ++rank;
        before += weights_[i];
      }
    }
    const bool reached = static_cast<double>(before + weight) > enough;
    if (t < count && reached && (rank == 0 || !(static_cast<double>(before) > enough))) {
      words_[0] = rank;
    }
    SyncThreads();
    const bool stays = t < count && rank <= words_[0];
    weights_[t] = stays ? 1 : 0;
    SyncThreads();
    int at = 0, kept = 0;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      kept += static_cast<int>(weights_[i]);
      if (i < t) at += static_cast<int>(weights_[i]);
    }
    if (stays) keys[at] = key;
    SyncThreads();
    return kept;
  }

  // `sum` 0: that of the candidates. 0: they do not suffice.
  __device__ __forceinline__ int CountOfTopP(float p, uint64_t sum, const uint64_t* keys,
                                             int count) {
    const int t = threadIdx.x;
    const float max = TokenKey::Logit(keys[0]);
    const uint64_t weight = t < count ? TokenWeight(TokenKey::Logit(keys[t]), max) : 0;
    SetWord(0, 0);
    weights_[t] = weight;
    SyncThreads();
    uint64_t all = 0, running = 0;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      all += weights_[i];
      if (i <= t) running = all;
    }
    const double enough = static_cast<double>(p) * static_cast<double>(sum == 0 ? all : sum);
    const bool reached = static_cast<double>(running) >= enough;
    if (t < count && reached && (t == 0 || !(static_cast<double>(running - weight) >= enough))) {
      words_[0] = t + 1;
    }
    SyncThreads();
    return words_[0];
  }

  __device__ __forceinline__ int CountOfMinP(double log_p, const uint64_t* keys, int count) {
    const int t = threadIdx.x;
    const double lowest = static_cast<double>(TokenKey::Logit(keys[0])) + log_p;
    const auto stays = [&](int i) {
      return i < count && static_cast<double>(TokenKey::Logit(keys[i])) >= lowest;
    };
    SetWord(0, 1);
    if (stays(t) && !stays(t + 1)) words_[0] = t + 1;
    SyncThreads();
    return words_[0];
  }

  __device__ __forceinline__ int Draw(const SampleRow& row, const uint64_t* keys, int count) {
    const int t = threadIdx.x;
    const float first = TokenKey::Logit(keys[0]), last = TokenKey::Logit(keys[count - 1]);
    const float largest = fmaxf(fabsf(first), fabsf(last));
    if (!(largest / row.temperature < Infinity())) return TokenKey::Id(keys[0]);
    const float max = first / row.temperature;
    const int id = t < count ? TokenKey::Id(keys[t]) : 0;
    const uint64_t weight =
        t < count ? TokenWeight(TokenKey::Logit(keys[t]) / row.temperature, max) : 0;
    SetWord(0, -1);
    weights_[t] = weight;
    SyncThreads();
    uint64_t sum = 0, before = 0;  // the latter of lower ids
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      sum += weights_[i];
      if (TokenKey::Id(keys[i]) < id) before += weights_[i];
    }
    const uint64_t target =
        min(static_cast<uint64_t>(row.uniform * static_cast<double>(sum)), sum - 1);
    if (before <= target && target < before + weight) words_[0] = id;
    SyncThreads();
    return words_[0];
  }

  uint64_t* weights_;
  double* numbers_;
  int* ids_;
  int* words_;
};

}  // namespace renga::kernels
