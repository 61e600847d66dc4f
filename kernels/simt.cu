// Matrix products on the cores that every GPU has: fp32, and int8 summed in 32 bits.
//
// A is m rows of k, B is n rows of k, C is n rows of m: c[j * m + i] = sum over x of a[i][x] * b[j][x].
// A block of 16 x 16 threads makes 32 x 32 elements of C; any m, n and k will do.

enum : unsigned { TILE = 32, DEPTH = 16, SIDE = 16, EACH = TILE / SIDE };

template <typename Value, typename Sum>
__device__ __forceinline__ void product(const Value *__restrict__ a, const Value *__restrict__ b,
                                        Sum *__restrict__ c, unsigned m, unsigned n, unsigned k) {
  // One column more, so that threads of a warp meet in no bank of shared memory.
  __shared__ Value rows[DEPTH][TILE + 1], columns[DEPTH][TILE + 1];
  const unsigned first_row = blockIdx.x * TILE, first_column = blockIdx.y * TILE;
  const unsigned thread = threadIdx.y * SIDE + threadIdx.x;
  Sum sums[EACH][EACH] = {};
#pragma unroll 1
  for (unsigned from = 0; from < k; from += DEPTH) {
#pragma unroll 1
    for (unsigned at = thread; at < TILE * DEPTH; at += SIDE * SIDE) {
      const unsigned line = at / DEPTH, x = at % DEPTH, row = first_row + line, column = first_column + line;
      rows[x][line] = row < m && from + x < k ? a[size_t(row) * k + from + x] : Value(0);
      columns[x][line] = column < n && from + x < k ? b[size_t(column) * k + from + x] : Value(0);
    }
    __syncthreads();
#pragma unroll 1
    for (unsigned x = 0; x < DEPTH; x++) {
#pragma unroll
      for (unsigned i = 0; i < EACH; i++)
#pragma unroll
        for (unsigned j = 0; j < EACH; j++)
          sums[i][j] += Sum(rows[x][threadIdx.x + i * SIDE]) * Sum(columns[x][threadIdx.y + j * SIDE]);
    }
    __syncthreads();
  }
#pragma unroll
  for (unsigned i = 0; i < EACH; i++)
#pragma unroll
    for (unsigned j = 0; j < EACH; j++) {
      const unsigned row = first_row + threadIdx.x + i * SIDE, column = first_column + threadIdx.y + j * SIDE;
      if (row < m && column < n) c[size_t(column) * m + row] = sums[i][j];
    }
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
simt_fp32(const float *a, const float *b, float *c, unsigned m, unsigned n, unsigned k) {
  product(a, b, c, m, n, k);
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
simt_int8(const signed char *a, const signed char *b, int *c, unsigned m, unsigned n, unsigned k) {
  product(a, b, c, m, n, k);
}
