// The filters of runtime/text/sampler.h in its order, on the largest logits of a row. Every number
// that decides is the same bits as there: weights are integers (token_weight.cuh), and no sum of
// floats is compared.
//
// All threads of the block compute the weights, one each: those before and those behind the
// temperature. Then one warp has all there is to decide in its registers, four candidates a lane,
// and adds with shuffles: in it nobody waits for anybody. Changes by bias and penalties, and
// typical sampling, are the block's, before that.
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
      : weights_(arena.Take<uint64_t>(kSampleKept)),
        numbers_(arena.Take<double>(kSampleKept)),
        entries_(arena.Take<Entry>(kSampleKept)),
        ids_(arena.Take<int>(kSampleChanges)),
        words_(arena.Take<int>(2)) {}

  // top.sorted holds the `count` largest of a row, at most kSampleKept, all there are where
  // `complete`. Afterwards top.keys holds candidates and changed tokens for Rank, and `bound` is
  // the key from which on they have no other before them. False: undecided. Without `logits`, a
  // rehearsal, all is 0 that would be read there.
  __device__ __forceinline__ bool Change(const SampleRow& row, const SampleChange* changes,
                                         const float* logits, bool complete, int count,
                                         TopKeys& top, uint64_t& bound) {
    const int t = threadIdx.x, c = t - kSampleKept;
    bound = complete ? 1 : top.sorted[count - 1];
    uint64_t key = t < count ? top.sorted[t] : 0;
    SetWord(0, 0);
    if (c >= 0 && c < row.changes) {
      const SampleChange change = changes[row.first_change + c];
      ids_[c] = change.id;
      const float given = logits == nullptr ? 0 : LoadFromL2(logits + change.id);
      const float logit = Changed(given, change, row.repeat);
      if (!(logit < Infinity())) {
        AtomicMax(words_, 1);  // beyond all numbers: the host says so
      } else if (logit > -Infinity()) {
        key = TokenKey::Of(logit, change.id);
      }
    }
    SyncThreads();
    if (words_[0] != 0) return false;
#pragma unroll 1
    for (int i = 0; i < row.changes && t < count; ++i) {
      if (ids_[i] == TokenKey::Id(key)) key = 0;  // it comes with its change
    }
    top.keys[t] = key;
    if (t + kSampleThreads < TopKeys::kRoom) top.keys[t + kSampleThreads] = 0;
    SyncThreads();
    return true;
  }
  // After Rank and a barrier: how many of top.sorted are candidates.
  __device__ __forceinline__ int CountFrom(uint64_t bound, const TopKeys& top) {
    SetWord(0, 0);
    if (top.keys[threadIdx.x] >= bound) AtomicAdd(words_, 1);
    SyncThreads();
    return words_[0];
  }

  // Chooses of `keys`, the first `count` of a row in order, at most kSampleKept, all there are
  // where not `open`; `sum` is that of the row's weights, 0 where it is not known. In warp 0 the
  // place of the chosen one, -1 where undecided; other warps do not come to know it.
  __device__ __forceinline__ int Choose(const SampleRow& row, bool open, uint64_t sum,
                                        uint64_t* keys, int count) {
    if (count == 0) return -1;
    if (row.top_k > 0) {
      if (row.top_k > count && open) return -1;
      count = min(count, row.top_k);
      open = false;
    }
    bool typical = row.typical_p < 1;
    if (typical && open) return -1;
#pragma unroll 1
    for (;; typical = false) {
      Weigh(row.temperature, keys, count);
      SyncThreads();
      if (!typical) [[likely]]
        break;
      count = KeepTypical(row.typical_p, keys, count);
    }
    if (threadIdx.x >= 32) return -1;
    if (row.top_p < 1) {
      if (open && (sum == 0 || row.changes > 0)) return -1;
      const int kept = CountOfTopP(row.top_p, open ? sum : 0, count);
      if (kept > count) return -1;
      count = kept;
      open = false;
    }
    if (row.log_min_p > -static_cast<double>(Infinity())) {
      const int kept = CountOfMinP(row.log_min_p, keys, count);
      if (kept == count && open) return -1;
      count = kept;
      open = false;
    }
    return open ? -1 : Draw(row.uniform, count);
  }

 private:
  // Of the candidates in the order of their ids.
  struct __align__(16) Entry {
    uint64_t weight;  // behind the temperature
    float logit;      // likewise
    int place;        // by logit
  };

  // Where the number of candidate i lies: those that a lane reads, 4 lane to 4 lane + 3, in turn.
  static __device__ __forceinline__ int PlaceOf(int i) { return i % 4 * 32 + i / 4; }

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

  // Half of the threads weigh a candidate each as it is, the others behind the temperature; these
  // find its place among the ids too.
  __device__ __forceinline__ void Weigh(float temperature, const uint64_t* keys, int count) {
    static_assert(kSampleThreads == 2 * kSampleKept, "two threads a candidate");
    const int i = threadIdx.x % kSampleKept;
    const bool cooled = threadIdx.x >= kSampleKept;
    const float divisor = cooled ? temperature : 1;
    const uint64_t key = i < count ? keys[i] : 0;
    const float logit = TokenKey::Logit(i < count ? key : keys[0]) / divisor;
    const float max = TokenKey::Logit(keys[0]) / divisor;
    const uint64_t weight = i < count ? TokenWeight(logit, max) : 0;
    if (!cooled) {
      weights_[PlaceOf(i)] = weight;
      return;
    }
    int rank = i;
    if (i < count) {
      rank = 0;
#pragma unroll 2
      for (int j = 0; j < count; ++j) rank += TokenKey::Id(keys[j]) < TokenKey::Id(key) ? 1 : 0;
    }
    entries_[PlaceOf(rank)] = {weight, logit, i};
  }

  // Moves those that stay together; how many.
  __device__ __forceinline__ int KeepTypical(float p, uint64_t* keys, int count) {
    const int t = threadIdx.x;
    const uint64_t key = t < count ? keys[t] : 0;
    const float max = TokenKey::Logit(keys[0]);
    const uint64_t weight = t < count ? weights_[PlaceOf(t)] : 0;
    const double below = t < count ? static_cast<double>(max) - TokenKey::Logit(key) : 0;
    if (t < count) numbers_[t] = below;
    SetWord(0, 0);
    uint64_t sum = 0, sum_below = 0;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      const uint64_t other = weights_[PlaceOf(i)];
      sum += other;
      if (other > 0) {
        sum_below += static_cast<uint64_t>(static_cast<double>(other) * numbers_[i]);
      }
    }
    const double mean = static_cast<double>(sum_below) / static_cast<double>(sum);
    double distance = below - mean;
    if (distance < 0) distance = -distance;
    if (weight == 0) distance = Infinity();
    SyncThreads();
    if (t < count) numbers_[t] = distance;
    SyncThreads();
    const double enough = static_cast<double>(p) * static_cast<double>(sum);
    int rank = 0;
    uint64_t before = 0;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      if (numbers_[i] < distance || (numbers_[i] == distance && i < t)) {
        ++rank;
        before += weights_[PlaceOf(i)];
      }
    }
    const bool reached = static_cast<double>(before + weight) > enough;
    if (t < count && reached && (rank == 0 || !(static_cast<double>(before) > enough))) {
      words_[0] = rank;
    }
    SyncThreads();
    const bool stays = t < count && rank <= words_[0];
    if (t < count) weights_[PlaceOf(t)] = stays ? 1 : 0;
    SyncThreads();
    int at = 0, kept = 0;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      const int one = static_cast<int>(weights_[PlaceOf(i)]);
      kept += one;
      if (i < t) at += one;
    }
    if (stays) keys[at] = key;
    SyncThreads();
    return kept;
  }

  // From here on of warp 0.

  // `sum` 0: that of the candidates. More than `count`: they do not suffice.
  __device__ __forceinline__ int CountOfTopP(float p, uint64_t sum, int count) const {
    const int lane = threadIdx.x % 32;
    uint64_t running[4], all = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) running[i] = all += weights_[i * 32 + lane];
    const uint64_t behind = WarpRunningSum(all), before = behind - all;
    if (sum == 0) {
      const uint32_t high = Shuffle(static_cast<uint32_t>(behind >> 32), 31);
      sum = static_cast<uint64_t>(high) << 32 | Shuffle(static_cast<uint32_t>(behind), 31);
    }
    const double enough = static_cast<double>(p) * static_cast<double>(sum);
    int kept = 1;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool reached = static_cast<double>(before + running[i]) >= enough;
      kept += PopCount(Ballot(lane * 4 + i < count && !reached));
    }
    return kept;
  }

  static __device__ __forceinline__ int CountOfMinP(double log_p, const uint64_t* keys, int count) {
    const int lane = threadIdx.x % 32;
    const double lowest = static_cast<double>(TokenKey::Logit(keys[0])) + log_p;
    int kept = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = i * 32 + lane;
      const float logit = TokenKey::Logit(at < count ? keys[at] : 0);
      kept += PopCount(Ballot(at < count && static_cast<double>(logit) >= lowest));
    }
    return max(kept, 1);
  }

  __device__ __forceinline__ int Draw(double uniform, int count) const {
    const int lane = threadIdx.x % 32;
    uint64_t running[4], all = 0;
    bool infinite = false;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const Entry entry = entries_[i * 32 + lane];
      const bool stays = entry.place < count;
      running[i] = all += stays ? entry.weight : 0;
      infinite = infinite || (stays && !(fabsf(entry.logit) < Infinity()));
    }
    if (AnyLane(infinite)) return 0;  // so little temperature leaves the best
    const uint64_t behind = WarpRunningSum(all), before = behind - all;
    const uint32_t high = Shuffle(static_cast<uint32_t>(behind >> 32), 31);
    const uint64_t sum =
        static_cast<uint64_t>(high) << 32 | Shuffle(static_cast<uint32_t>(behind), 31);
    const uint64_t target = min(static_cast<uint64_t>(uniform * static_cast<double>(sum)), sum - 1);
    int at = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) at += PopCount(Ballot(before + running[i] <= target));
    return entries_[PlaceOf(at)].place;
  }

  uint64_t* weights_;  // as they are
  double* numbers_;
  Entry* entries_;
  int* ids_;
  int* words_;
};

}  // namespace renga::kernels
