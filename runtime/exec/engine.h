// Many generations at once on one device: each step takes one token of every sequence that is being
// continued, and with what is left of its tokens pieces of prompts. Sequences that begin alike
// share the pages of their beginning; where pages run out the youngest gives its own back and is
// computed again later. What a sequence gets does not depend on what else is there, as far as the
// device's results do not (on the cpu they never do).
//
// On a device that runs ahead, a step in which all sequences go on from what the device itself has
// chosen is started before that has been read, so that the device never waits for the host. Where
// one of them turns out to have ended, what was computed for it is dropped.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/exec/completion.h"
#include "runtime/exec/generate.h"
#include "runtime/exec/step_batch.h"
#include "runtime/exec/step_runner.h"
#include "runtime/exec/timeline.h"
#include "runtime/memory/kv_pages.h"
#include "runtime/text/tokenizer.h"

namespace renga {

struct EngineOptions {
  int64_t max_running = 0;  // sequences in a step; 0: as many as the plan allows
  int64_t step_tokens = 0;  // at most, in a step; 0: as many as the plan allows
  bool share_prefixes = true;
  // For plans whose results depend on what else is in a step (plan::Geometry::invariant_tokens):
  // every result is bit by bit that of the request alone. A step takes a piece of one prompt, as
  // long as it would be alone, or single tokens of so many requests that none changes another's;
  // nothing is computed twice, and prefixes are not shared.
  bool deterministic = false;
  bool run_ahead = true;         // where the device does
  Timeline* timeline = nullptr;  // where there is one, it has when steps were put together
};

using RequestId = int64_t;

// What happened so far.
struct EngineCounters {
  int64_t steps = 0;
  int64_t tokens = 0;         // computed
  int64_t reused_tokens = 0;  // that another sequence had computed
  int64_t preemptions = 0;
  int64_t steps_ahead = 0;     // of the steps: started before the one before was finished
  int64_t dropped_tokens = 0;  // of those computed: for requests that had ended before
  // Tokens that the device sampled, and those for which it was the host that did, with their
  // logits. Not those that are just the arg max, where the device says what that is.
  int64_t device_tokens = 0;
  int64_t host_tokens = 0;
};

// Not thread-safe. Callbacks of requests must not call the engine.
class Engine {
 public:
  // `tokenizer` must outlive it. InvalidArgument for options beyond the plan's.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(std::unique_ptr<StepRunner> runner,
                                                        const Tokenizer& tokenizer,
                                                        const EngineOptions& options);
  ~Engine();  // after what is under way
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Queues a generation. Ids count up from 0; requests begin in that order. Errors, after which
  // nothing has changed (GenerateOptions::cancel ends a request when its turn comes):
  //   InvalidArgument  an empty prompt, one longer than the context, or with shift than half of it;
  //                    sampling parameters
  //   OutOfRange       a prompt id that is no token
  absl::StatusOr<RequestId> Add(std::vector<int32_t> prompt, GenerateOptions options);

  // Queues one that goes on from `parent`: with its prompt and the first `kept` tokens that it
  // generated, sharing what has been computed of them. NotFound for a request that is not there (or
  // was taken); OutOfRange unless 0 <= kept <= those generated; else as Add.
  absl::StatusOr<RequestId> Fork(RequestId parent, int64_t kept, GenerateOptions options);

  // Ends a request wherever it is; what it has is its result. NotFound.
  absl::Status Cancel(RequestId id);

  // One run of the model, whose tokens are there afterwards; the next may be under way then. False
  // when no request is left unfinished, in which case nothing ran.
  // What fails for one request ends that one with its error. The errors here are the device's,
  // after which the engine is of no more use.
  absl::StatusOr<bool> Step();

  bool finished(RequestId id) const;
  // Tokens that the request generated since the last call. NotFound.
  absl::StatusOr<std::vector<GeneratedToken>> Poll(RequestId id);
  // What there is of the request, and all of it when it has finished; valid until the engine is
  // called again. NotFound; the error that ended the request.
  absl::StatusOr<const GenerateResult*> Look(RequestId id) const;
  // Of a finished request, which is forgotten: its result, or the error that ended it. NotFound;
  // FailedPrecondition while it goes on.
  absl::StatusOr<GenerateResult> Take(RequestId id);

  // What is known of the beginning of `tokens`, whole pages, as the bytes of a file
  // (saved_prefix.h). ResourceExhausted while max_running requests run; else the device's errors.
  absl::StatusOr<std::string> SavePrefix(absl::Span<const int32_t> tokens);
  // Makes known what SavePrefix saved, and returns its tokens. InvalidArgument for other bytes, and
  // for those of another model or another plan of it; ResourceExhausted where the pages do not
  // suffice. Of no use without EngineOptions::share_prefixes.
  absl::StatusOr<std::vector<int32_t>> RestorePrefix(std::string_view bytes);

  const EngineCounters& counters() const { return counters_; }
  const KvPages& pages() const { return pages_; }
  const StepRunner& runner() const { return *runner_; }
  int64_t max_running() const { return max_running_; }
  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }

 private:
  using Clock = std::chrono::steady_clock;

  struct Request {
    RequestId id;
    std::vector<int32_t> tokens;  // the prompt, then what was generated
    int64_t prompt_tokens;        // of them
    Completion completion;
    int sequence = -1;          // of pages_, while it runs
    int64_t computed = 0;       // tokens whose keys and values are there, the first ones
    int64_t ever_computed = 0;  // the most of them there ever were
    int64_t prompt_rows = 0;    // of GenerateOptions::prompt_top, reported
    size_t polled = 0;
    bool look_at_logits = false;  // of its next token, whatever the device chooses
    // The device could not say once: nothing is computed any more that may be for nothing.
    bool undecided = false;
    Clock::time_point started, first_token;
    std::optional<absl::StatusOr<GenerateResult>> result;

    int64_t pending() const { return static_cast<int64_t>(tokens.size()) - computed; }
    bool wants_prompt_rows() const {
      return completion.options().prompt_top && prompt_rows < prompt_tokens;
    }
  };
  // What a request has in a step.
  struct Piece {
    Request* request;  // null: it has ended since
    int64_t tokens;
    int64_t rows;
    size_t first_row;
  };

  Engine(std::unique_ptr<StepRunner> runner, const Tokenizer& tokenizer,
         const EngineOptions& options);

  absl::Span<const int32_t> HeldPages(int sequence, int group) const;
  absl::Status WritePages(int sequence, int group, std::string_view bytes);

  absl::Status CheckPrompt(absl::Span<const int32_t> prompt) const;
  absl::StatusOr<Request*> NewRequest(std::vector<int32_t> prompt, GenerateOptions options);
  absl::StatusOr<Request*> Find(RequestId id) const;
  void End(Request& request, absl::StatusOr<GenerateResult> result);

  // Which requests run.
  enum class Admission { kRuns, kLater, kNoRoom };
  bool EndIfCancelled(Request& request);
  void Admit();
  Admission AdmitOne(Request& request);
  int64_t MostPages(const Request& request, int group) const;
  bool Fits(const Request& request, int64_t known) const;
  bool FitsIn(int group, const Request& request, int64_t known) const;
  bool WaitsForAnother(const Request& request, int64_t known) const;
  void Leave(Request& request);
  void Preempt(Request& request);

  // Which of their tokens a step takes.
  void Schedule();
  void ScheduleAlike();
  void SchedulePiece(Request& request);
  bool Append(Request& request, int64_t tokens);
  bool MakeRoomFor(const Request& request);
  bool InStep(const Request& request) const;

  absl::Status StartBatch(bool fed_back);
  absl::Status FinishStep();
  void AskDevice(bool ahead);
  const SampledRow* SampledAt(size_t row) const;
  absl::StatusOr<absl::Span<const float>> Logits(size_t row);
  absl::Status TakeResults(const Piece& piece);
  absl::Status Advance(Request& request, size_t row);
  void ContextIsFull(Request& request);
  void Shift(Request& request);

  // Steps started before the one under way is finished.
  bool DeviceChooses(const Request& request) const;
  bool IsToken(int32_t id) const;
  bool CanGoOn(const Piece& piece) const;
  bool IsToEnd(const Piece& piece) const;
  bool MayGoAhead() const;
  bool ScheduleAhead();
  absl::Status StartAhead();
  void Drop(const Request& request);
  absl::Status ComputeAgain(Request& request);

  std::unique_ptr<StepRunner> runner_;
  const Tokenizer& tokenizer_;
  KvPages pages_;
  int64_t max_running_, step_tokens_, max_rows_;
  bool share_prefixes_, deterministic_, run_ahead_;
  Timeline* timeline_;
  RequestId last_served_ = -1;  // where results are to be those of each request alone
  RequestId next_id_ = 0;
  std::map<RequestId, std::unique_ptr<Request>> requests_;  // that were not taken
  std::map<RequestId, Request*> waiting_, running_;
  EngineCounters counters_;
  absl::Status failed_;

  int under_way_ = 0;  // steps started and not finished

  // Of the step at hand, and of the one behind it; kept for their memory.
  std::vector<Piece> pieces_, ahead_;
  StepBatch batch_;
  std::vector<int32_t> cells_;
  std::vector<RowSampling> asks_;
  std::vector<float> logits_;  // [rows, vocab], where somebody looks at them
};

}  // namespace renga
