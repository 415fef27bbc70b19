#include "tests/emulator/machine.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include "ir/base/status.h"
#include "tests/emulator/pages.h"

namespace renga::emulator {
namespace {

std::string Text(const Dim3& at) { return StrCat("(", at.x, ",", at.y, ",", at.z, ")"); }

Dim3 Unfold(uint32_t number, const Dim3& size) {
  return {number % size.x, number / size.x % size.y, number / size.x / size.y};
}

}  // namespace

Machine::~Machine() {
  for (auto& block : blocks_) UnmapPages(block->shared, kArenaBytes);
}

// ---- knowledge ----

void Machine::SetKnown(Thread* thread, KnowledgeRef known) {
  thread->own = known->Of(thread->block->number);
  thread->known = std::move(known);
}

void Machine::Learn(Thread* thread, const KnowledgeRef& known) {
  if (!known) return;
  if (joined_a_ != thread->known || joined_b_ != known) {
    joined_a_ = thread->known;
    joined_b_ = known;
    joined_ = Join(thread->known, known);
  }
  SetKnown(thread, joined_);
}

KnowledgeRef Machine::Release(Thread* thread) {
  return With(thread->known, thread->block->number, thread->agent, thread->tick++);
}

void Machine::Meet(absl::Span<Thread* const> threads, const KnowledgeRef& more) {
  KnowledgeRef all = more;
  const Knowledge* last = nullptr;
  for (const Thread* thread : threads) {
    if (thread->known.get() == last) continue;
    last = thread->known.get();
    all = Join(all, thread->known);
  }
  const uint32_t number = threads[0]->block->number;
  auto* ticks = new Ticks{all->Of(number)->at};
  for (Thread* thread : threads) ticks->at[thread->agent] = thread->tick++;
  auto* met = new Knowledge{all->blocks, all->previous_kernel_done};
  met->Set(number, Ref<const Ticks>(ticks));
  const KnowledgeRef known(met);
  for (Thread* thread : threads) SetKnown(thread, known);
}

// ---- errors ----

std::string Machine::LineOf(const void* pc) const {
  return kernel_->module->LineOf(kernel_->module->SiteOf(pc));
}

std::string Machine::PlaceOf(const Thread& thread) const {
  return StrCat("block ", Text(thread.block->index), ", thread ", Text(thread.view->thread));
}

void Machine::FailAt(const std::string& what, const void* pc) {
  error_ = StrCat("kernel ", kernel_->name, ", ", PlaceOf(current()), ", ", LineOf(pc), ": ", what);
  Fiber::Switch(&current_->fiber, &main_);  // never to return
}

void Machine::Fail(const char* what, const void* pc) { FailAt(what, pc); }

void Machine::Trap() { FailAt("Trap", __builtin_return_address(0)); }

void Machine::CheckStack(uintptr_t stack_pointer, const void* pc) {
  const uintptr_t low = current().view->stack_low;
  FailAt(StrCat("local variables and calls need ", low - stack_pointer, " bytes more than the ",
                Fiber::kStackBytes, " of a thread here"),
         pc);
}

// ---- running ----

void Machine::FiberEntry(void* machine) { static_cast<Machine*>(machine)->RunThread(); }

void Machine::RunThread() {
  for (;;) {
    kernel_->thunk(arguments_);
    EndThread();
  }
}

void Machine::CheckThreadEnd(const Thread& thread) {
  auto copies = thread.copy_groups;
  copies.push_back(thread.open_copies);
  for (const std::vector<Copy>& group : copies) {
    if (group.empty()) continue;
    FailAt("the thread ends with this copy in flight: no WaitForCopies covers it",
           group.front().pc);
  }
  auto products = thread.wgmma_groups;
  products.push_back(thread.open_wgmma);
  for (const std::vector<WgmmaOperation>& group : products) {
    if (group.empty()) continue;
    FailAt("the thread ends with this product in flight: no WaitForWgmma covers it",
           group.front().pc);
  }
}

void Machine::EndThread() {
  Thread& thread = current();
  CheckThreadEnd(thread);
  Block& block = *thread.block;
  thread.done = true;
  polls_ = 0;
  block.live_lanes[thread.warp] &= ~(1u << thread.lane);
  if (--block.live == 0) CheckBlockEnd(&block);
  while (thread.done) SwitchFrom(&thread);
}

void Machine::CheckBlockEnd(Block* block) {
  for (const Mbarrier& barrier : block->mbarriers) {
    if (barrier.loads.empty()) continue;
    FailAt("the block ends with this load in flight: nothing waits for its mbarrier",
           barrier.loads.front().pc);
  }
  for (size_t id = 1; id < block->barriers.size(); ++id) {
    const Barrier& barrier = block->barriers[id];
    if (barrier.arrived == 0) continue;
    FailAt(StrCat("the block ends with ", barrier.arrived, " of ", barrier.expected,
                  " threads at barrier ", id),
           barrier.pc);
  }
  LaunchRecord& record = launches_.rbegin()->second;
  record.waited = record.waited || block->waited;
  record.let_next_start_early =
      record.let_next_start_early && (block->triggered_early || !block->waited);
}

void Machine::SwitchFrom(Thread* thread) {
  uint32_t next;
  while (!ready_.Pop(&next)) {
    if (!DeliverWhenIdle()) {
      Fiber::Switch(&thread->fiber, &main_);
      return;
    }
  }
  Thread* to = threads_[next].get();
  if (to == thread) return;
  current_ = to;
  attachment_->thread = to->view;
  Fiber::Switch(&thread->fiber, &to->fiber);
}

void Machine::Park(const char* what, const void* pc) {
  // Those who only meet, in shuffles or at barriers, may go on for ever too.
  if (++accesses_ > options_.max_accesses) {
    FailAt(StrCat("the launch made more than ", options_.max_accesses,
                  " accesses and meetings: does a loop not end?"),
           pc);
  }
  Thread& thread = current();
  thread.waits_for = what;
  thread.pc = pc;
  polls_ = 0;
  while (thread.waits_for != nullptr) SwitchFrom(&thread);
}

void Machine::Wake(std::vector<Thread*>* threads) {
  woken_.clear();
  for (Thread* thread : *threads) {
    if (thread->waits_for == nullptr) continue;  // runs: the one that releases the others
    thread->waits_for = nullptr;
    woken_.push_back(thread->index);
  }
  threads->clear();
  ready_.PushAll(&woken_);
}

void Machine::YieldIfRandom() {
  if (!ready_.preempts()) return;
  Thread& thread = current();
  ready_.Push(thread.index);
  SwitchFrom(&thread);
}

// Loads arrive as late as they can: when every thread waits for something.
bool Machine::DeliverWhenIdle() {
  for (auto& block : blocks_) {
    std::vector<Mbarrier*> barriers;
    for (Mbarrier& barrier : block->mbarriers) {
      if (!barrier.loads.empty() && !barrier.waiting.empty()) barriers.push_back(&barrier);
    }
    if (barriers.empty()) continue;
    const bool random = options_.schedule.kind != Schedule::Kind::kForward;
    Mbarrier* barrier = barriers[random ? ready_.random().Below(barriers.size()) : 0];
    Deliver(barrier, random ? ready_.random().Below(barrier->loads.size()) : 0);
    return true;
  }
  return false;
}

std::string Machine::DeadlockReport() const {
  std::map<std::pair<std::string, std::string>, std::vector<const Thread*>> groups;
  size_t done = 0;
  for (const auto& thread : threads_) {
    if (thread->done) {
      ++done;
      continue;
    }
    std::string what = thread->waits_for == nullptr ? "to run" : thread->waits_for;
    if (thread->barrier >= 0 && what == "WaitForMbarrier") {
      const Mbarrier& barrier = thread->block->mbarriers[thread->barrier];
      StrAppend(&what, " (mbarrier ", thread->barrier, ", phase ", barrier.phase, ": ",
                barrier.pending, " of ", barrier.count, " arrivals and ", barrier.missing_bytes,
                " bytes to come)");
    } else if (thread->barrier >= 0) {
      const Barrier& barrier = thread->block->barriers[thread->barrier];
      StrAppend(&what, " ", thread->barrier, " (", barrier.arrived, " of ", barrier.expected,
                " threads have come)");
    }
    groups[{what, LineOf(thread->pc)}].push_back(thread.get());
  }
  std::string report = StrCat("kernel ", kernel_->name, ": deadlock");
  for (const auto& [key, threads] : groups) {
    StrAppend(&report, groups.begin()->first == key ? ": " : "; ", threads.size(),
              threads.size() == 1 ? " thread waits" : " threads wait", " for ", key.first, " at ",
              key.second, ", the first ", PlaceOf(*threads.front()));
  }
  return StrCat(report, "; ", done, " have ended");
}

void Machine::PrepareBlock(Block* block, uint32_t number, uint32_t slot) {
  const uint32_t warps = (block_threads_ + 31) / 32;
  block->index = Unfold(number, grid_);
  block->number = number;
  block->first_thread = slot * block_threads_;
  block->live = block_threads_;
  block->live_lanes.assign(warps, ~0u);
  if (block_threads_ % 32 != 0) block->live_lanes.back() = (1u << block_threads_ % 32) - 1;
  block->barriers.assign(16, Barrier());
  block->meetings.clear();
  block->meetings.resize(warps);
  block->mbarriers.clear();
  block->mbarriers.reserve(kMaxMbarriers);
  block->warpgroups.assign(kMaxWarpgroups, Warpgroup());
  block->arrays.clear();
  block->released.clear();
  block->waited = block->triggered_early = false;
  if (block->shared == nullptr) {
    block->shared = static_cast<uint8_t*>(MapPages(kArenaBytes));
    block->shadow = std::make_unique<Shadow>(kArenaBytes);
    block->shared_used = kArenaBytes;
  }
  block->shadow->SetStates(0, block->shared_used, ByteState::kOutside);
  block->shared_used = 0;

  auto* ticks = new Ticks;
  ticks->at.resize(block_threads_ + kMaxMbarriers + kMaxWarpgroups);
  auto* start = new Knowledge;
  start->previous_kernel_done = !options_.overlaps_previous;
  start->Set(number, Ref<const Ticks>(ticks));
  const KnowledgeRef known(start);
  for (uint32_t i = 0; i < block_threads_; ++i) {
    Thread& thread = *threads_[block->first_thread + i];
    thread.block = block;
    thread.index = block->first_thread + i;
    thread.agent = i;
    thread.lane = i % 32;
    thread.warp = i / 32;
    thread.done = false;
    thread.waits_for = nullptr;
    thread.pc = nullptr;
    thread.barrier = -1;
    SetKnown(&thread, known);
    thread.tick = 1;
    thread.released_by_fence = thread.acquired_by_fence = KnowledgeRef();
    thread.async_fence_tick = 0;
    thread.arrays_taken = 0;
    thread.open_copies.clear();
    thread.copy_groups.clear();
    thread.open_wgmma.clear();
    thread.wgmma_groups.clear();
    thread.wgmma_committed = 0;
    thread.sums.clear();
    thread.wgmma_fenced = false;
    if (!thread.fiber.started()) thread.fiber.Start(FiberEntry, this);
    thread.view = static_cast<ThreadView*>(thread.fiber.local());
    *thread.view = {Unfold(i, block_size_),
                    block->index,
                    block_size_,
                    grid_,
                    thread.fiber.stack_low(),
                    Fiber::kStackBytes + Fiber::kLocalBytes};
  }
}

void Machine::RunBlocks(uint32_t count) {
  const uint32_t threads = count * block_threads_;
  std::vector<uint32_t> all(threads);
  std::iota(all.begin(), all.end(), 0u);
  ready_.PushAll(&all);
  uint32_t next;
  while (error_.empty() && (ready_.Pop(&next) || DeliverWhenIdle())) {
    if (threads_[next]->done) continue;
    current_ = threads_[next].get();
    attachment_->thread = current_->view;
    Fiber::Switch(&main_, &current_->fiber);
  }
  for (uint32_t i = 0; i < threads && error_.empty(); ++i) {
    if (!threads_[i]->done) error_ = DeadlockReport();
  }
}

void Machine::BeginRecord(const Kernel& kernel, const LaunchOptions& options) {
  LaunchRecord record;
  record.kernel = kernel.name;
  record.module = kernel.module;
  record.let_next_start_early = true;  // until a block says otherwise
  if (options.overlaps_previous && !launches_.empty()) {
    const auto& [number, previous] = *launches_.rbegin();
    const auto add = [](std::vector<uint32_t>* to, const std::vector<uint32_t>& more) {
      to->insert(to->end(), more.begin(), more.end());
    };
    record.may_run_before_wait = {number};
    add(&record.may_run_before_wait, previous.may_run_after_wait);
    if (previous.let_next_start_early) {
      add(&record.may_run_before_wait, previous.may_run_before_wait);
    }
    add(&record.may_run_after_wait,
        previous.waited ? previous.may_run_after_wait : previous.may_run_before_wait);
  }
  launches_[++launch_] = std::move(record);
  if (launches_.size() > 64) launches_.erase(launches_.begin());
}

absl::Status Machine::Launch(const Kernel& kernel, Dim3 grid, Dim3 block, size_t shared_bytes,
                             void** arguments, const LaunchOptions& options) {
  const uint64_t threads = static_cast<uint64_t>(block.x) * block.y * block.z;
  const uint64_t blocks = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
  if (threads == 0 || threads > 1024 || block.z > 64) {
    return absl::InvalidArgumentError(StrCat("kernel ", kernel.name, ": expected a block of 1 to ",
                                             "1024 threads, got ", Text(block)));
  }
  agent_bits_ = std::bit_width(threads + kMaxMbarriers + kMaxWarpgroups);
  if (blocks == 0 || grid.y > 65535 || grid.z > 65535 || blocks >> (32 - agent_bits_) != 0) {
    return absl::InvalidArgumentError(StrCat("kernel ", kernel.name, ": expected a grid of 1 to ",
                                             (1u << (32 - agent_bits_)) - 1, " blocks, got ",
                                             Text(grid)));
  }
  if (shared_bytes > kMaxSharedBytes) {
    return absl::InvalidArgumentError(StrCat("kernel ", kernel.name, ": expected at most ",
                                             kMaxSharedBytes, " bytes of shared memory, got ",
                                             shared_bytes));
  }
  if (launch_ == kMaxLaunch) return absl::ResourceExhaustedError("too many launches");

  kernel_ = &kernel;
  arguments_ = arguments;
  options_ = options;
  grid_ = grid;
  block_size_ = block;
  block_threads_ = static_cast<uint32_t>(threads);
  shared_bytes_ = shared_bytes;
  accesses_ = polls_ = 0;
  error_.clear();
  released_.clear();
  attachment_ = &kernel.module->attachment();
  Runtime* runtime = this;
  attachment_->runtime = runtime;
  memcpy(&attachment_->calls, static_cast<void*>(runtime), sizeof(attachment_->calls));
  BeginRecord(kernel, options);

  const auto together = static_cast<uint32_t>(options.cooperative ? blocks : 1);
  while (blocks_.size() < together) blocks_.push_back(std::make_unique<Block>());
  threads_.resize(std::max<size_t>(threads_.size(), together * threads));
  for (auto& thread : threads_) {
    if (thread == nullptr) thread = std::make_unique<Thread>();
    thread->done = true;
  }
  std::vector<uint32_t> order(blocks);
  std::iota(order.begin(), order.end(), 0u);
  const Schedule::Kind kind = options.schedule.kind;
  if (kind == Schedule::Kind::kReverse) std::reverse(order.begin(), order.end());
  if (kind == Schedule::Kind::kRandom || kind == Schedule::Kind::kSkewed) {
    RandomBits random(options.schedule.seed);
    for (size_t i = blocks; i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
  }
  Schedule schedule = options.schedule;
  for (size_t first = 0; first < blocks && error_.empty(); first += together) {
    ready_.Reset(schedule, together * threads);
    ++schedule.seed;  // no two blocks alike
    for (uint32_t slot = 0; slot < together; ++slot) {
      PrepareBlock(blocks_[slot].get(), order[first + slot], slot);
    }
    RunBlocks(together);
  }
  attachment_->thread = nullptr;
  joined_a_ = joined_b_ = joined_ = KnowledgeRef();
  if (error_.empty()) return absl::OkStatus();
  threads_.clear();  // their stacks hold calls that will not return
  return absl::InternalError(error_);
}

}  // namespace renga::emulator
