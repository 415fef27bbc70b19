// What a kernel that was compiled for the host and the emulator know of each other. Compiled into
// both, so it includes nothing but two headers of plain types.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace renga::emulator {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// What a kernel sees of the thread that runs.
struct ThreadView {
  Dim3 thread, block, block_size, grid_size;
  uintptr_t stack_low = 0;  // of the thread's own memory, which holds this too and is not watched
  size_t stack_bytes = 0;
};

enum class AccessKind : uint8_t { kRead, kWrite, kAtomic };

// What order an atomic access makes. Relaxed ones take part through fences only.
enum class Order : uint8_t { kRelaxed, kAcquire, kRelease, kAcquireRelease };

// The new value of an atomic access, of the old one and the operands; 64 bits hold what the type
// needs.
using AtomicFunction = uint64_t (*)(uint64_t old, uint64_t operand, uint64_t expected);

// The machine under a kernel. The functions are those of codegen/kernels/primitives.cuh; each takes
// its place in the source from its return address, so it must be called from code that is inlined
// into the kernel. On an error they do not return.
class Runtime {
 public:
  // A load or store of the kernel of 1 to 2^31 bytes.
  virtual void Access(const void* address, size_t bytes, AccessKind kind, const void* pc) = 0;
  // A load that is allowed only from memory that this launch does not write.
  virtual void CheckNonCoherent(const void* address, size_t bytes) = 0;
  virtual void CheckAligned(const void* address, size_t bytes) = 0;
  // A mistake that the compiled code found by itself.
  virtual void Fail(const char* what, const void* pc) = 0;
  virtual void CheckStack(uintptr_t stack_pointer, const void* pc) = 0;

  virtual void SyncThreads() = 0;
  virtual void SyncBarrier(int id, int threads, bool waits) = 0;
  virtual void SyncWarp(uint32_t lanes) = 0;
  virtual uint32_t Shuffle(uint32_t lanes, uint32_t value, int source_lane) = 0;
  virtual uint32_t Vote(uint32_t lanes, bool condition) = 0;
  virtual void Trap() = 0;

  // The array at `offset` bytes of what the kernel took so far by the GPU's arithmetic.
  virtual void* Take(uint32_t offset, size_t bytes, int alignment) = 0;

  virtual uint64_t Atomic(void* address, int bytes, AtomicFunction function, uint64_t operand,
                          uint64_t expected, Order order) = 0;
  virtual uint32_t LoadAcquire(const uint32_t* address) = 0;
  virtual void ThreadFence() = 0;
  virtual void WaitForPreviousKernel() = 0;
  virtual void LetNextKernelStart() = 0;

  virtual void Mma(float* c, const uint32_t* a, const uint32_t* b, bool bfloat) = 0;
  virtual void LoadMatrix(uint32_t* r, int matrices, bool transposed, const void* row) = 0;

  virtual void CopyAsync(void* shared, const void* global, int bytes, int source_bytes) = 0;
  virtual void CommitCopies() = 0;
  virtual void WaitForCopies(int pending) = 0;

  virtual void InitMbarrier(uint64_t* barrier, int arrivals) = 0;
  virtual void ArriveAtMbarrier(uint64_t* barrier, int expected_bytes) = 0;
  virtual void WaitForMbarrier(uint64_t* barrier, int parity) = 0;
  // `map` is a TensorMap as MakeTensorMap fills it in; `coordinates` has `rank` elements, x first.
  virtual void LoadTile(void* shared, const void* map, int rank, const int* coordinates,
                        uint64_t* barrier) = 0;
  virtual void LoadBulk(void* shared, const void* global, int bytes, uint64_t* barrier) = 0;
  virtual void FenceForAsyncProxy() = 0;

  virtual uint64_t WgmmaTile(const void* shared_tile, int k16) = 0;
  virtual void Wgmma(float* d, int sums, const uint32_t* a, uint64_t b, bool accumulate) = 0;
  virtual void FenceWgmma() = 0;
  virtual void CommitWgmma() = 0;
  virtual void WaitForWgmma(int pending) = 0;

 protected:
  ~Runtime() = default;
};

// What a compiled file of kernels exports besides them: through this the emulator says who runs.
struct Attachment {
  Runtime* runtime = nullptr;
  const ThreadView* thread = nullptr;
  uintptr_t calls = 0;  // where the addresses of runtime's functions stand
};
inline constexpr size_t kMaxCallBytes = 64 * sizeof(void*);

// Calls a kernel with arguments as a launch has them: pointers to the values, in order.
using KernelThunk = void (*)(void** arguments);

}  // namespace renga::emulator
