// The kernels of the cubins beside it, which tests of the cubin reader use. Made with NVRTC
// (--gpu-architecture=ARCH --std=c++17), whose own ptxas said what README.md lists.
extern "C" __global__ void __launch_bounds__(128) shares(float* out, const float* in, int n) {
  __shared__ float tile[100];
  tile[threadIdx.x % 100] = in[threadIdx.x];
  __syncthreads();
  const int i = blockIdx.x * 128 + threadIdx.x;
  if (i < n) out[i] = tile[(i * 7) % 100];
}

// A local array that is indexed at run time cannot be in registers.
extern "C" __global__ void stacks(float* out, const int* index) {
  float values[16];
#pragma unroll 1
  for (int i = 0; i < 16; ++i) values[i] = out[i];
  out[0] = values[*index & 15];
}
