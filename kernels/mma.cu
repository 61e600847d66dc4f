// Matrix products on tensor cores, from 8.0 on: bf16 and tf32 summed in fp32, int8 summed in 32 bits.
//
// A is m rows of k, B is n rows of k, C is n rows of m: c[j * m + i] = sum over x of a[i][x] * b[j][x].
// A block of 16 x 16 threads, eight warps, makes 32 x 32 elements of C; any m, n and k will do.
//
// The three instructions want their operands alike once these are counted in words of 32 bits: a step is
// eight words deep, and a lane holds the words `lane % 4` and `lane % 4 + 4` of row `lane / 4`.

enum : unsigned { TILE = 32, DEPTH = 32, SIDE = 16 };

struct Bf16 {
  typedef unsigned short Value;
  typedef float Sum;
  static __device__ __forceinline__ void step(Sum (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
};

struct Tf32 {
  typedef unsigned Value;
  typedef float Sum;
  // What the cores make of the lower 13 bits is not said: they are rounded away before.
  static __device__ __forceinline__ unsigned rounded(unsigned bits) {
    unsigned to;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(to) : "f"(__uint_as_float(bits)));
    return to;
  }
  static __device__ __forceinline__ void step(Sum (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(rounded(a[0])), "r"(rounded(a[1])), "r"(rounded(a[2])), "r"(rounded(a[3])), "r"(rounded(b[0])),
          "r"(rounded(b[1])));
  }
};

struct Int8 {
  typedef unsigned char Value;
  typedef int Sum;
  static __device__ __forceinline__ void step(Sum (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
};

template <typename Kind>
__device__ __forceinline__ void product(const typename Kind::Value *__restrict__ a,
                                        const typename Kind::Value *__restrict__ b,
                                        typename Kind::Sum *__restrict__ c, unsigned m, unsigned n, unsigned k) {
  typedef typename Kind::Value Value;
  constexpr unsigned IN_WORD = sizeof(unsigned) / sizeof(Value), DEEP = DEPTH * IN_WORD;
  // Four words more, so that lanes of a warp meet in no bank of shared memory.
  __shared__ unsigned rows[TILE][DEPTH + 4], columns[TILE][DEPTH + 4];
  const unsigned first_row = blockIdx.x * TILE, first_column = blockIdx.y * TILE;
  const unsigned thread = threadIdx.y * SIDE + threadIdx.x, warp = thread / 32, lane = thread % 32;
  // Of eight warps each makes 16 rows of 8 columns, as one instruction does.
  const unsigned row = warp % 2 * 16 + lane / 4, column = warp / 2 * 8 + lane / 4, word = lane % 4;
  typename Kind::Sum sums[4] = {};
#pragma unroll 1
  for (unsigned from = 0; from < k; from += DEEP) {
#pragma unroll 1
    for (unsigned at = thread; at < TILE * DEEP; at += SIDE * SIDE) {
      const unsigned line = at / DEEP, x = at % DEEP;
      const bool within = from + x < k;
      reinterpret_cast<Value *>(rows[line])[x] =
          within && first_row + line < m ? a[size_t(first_row + line) * k + from + x] : Value(0);
      reinterpret_cast<Value *>(columns[line])[x] =
          within && first_column + line < n ? b[size_t(first_column + line) * k + from + x] : Value(0);
    }
    __syncthreads();
#pragma unroll 1
    for (unsigned x = word; x < DEPTH; x += 8) {
      const unsigned left[4] = {rows[row][x], rows[row + 8][x], rows[row][x + 4], rows[row + 8][x + 4]};
      const unsigned right[2] = {columns[column][x], columns[column][x + 4]};
      Kind::step(sums, left, right);
    }
    __syncthreads();
  }
#pragma unroll
  for (unsigned at = 0; at < 4; at++) {
    const unsigned i = first_row + row + at / 2 * 8, j = first_column + warp / 2 * 8 + word * 2 + at % 2;
    if (i < m && j < n) c[size_t(j) * m + i] = sums[at];
  }
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
mma_bf16(const unsigned short *a, const unsigned short *b, float *c, unsigned m, unsigned n, unsigned k) {
  product<Bf16>(a, b, c, m, n, k);
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
mma_tf32(const unsigned *a, const unsigned *b, float *c, unsigned m, unsigned n, unsigned k) {
  product<Tf32>(a, b, c, m, n, k);
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
mma_int8(const unsigned char *a, const unsigned char *b, int *c, unsigned m, unsigned n, unsigned k) {
  product<Int8>(a, b, c, m, n, k);
}
