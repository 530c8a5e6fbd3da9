/* rowwise.cu - operations on rows: floor and measurements follow with the kernels. */
#include "compute/cuda/launch.cuh"
#include "compute/cuda/rowwise.h"

static __global__ void finish_logits_kernel(float *logits, int64_t n, float multiplier, float softcap)
{
    cuda_let_next_start();
    cuda_wait_for_inputs();
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x) {
        const float value = logits[i] * multiplier;
        logits[i] = softcap > 0.0f ? softcap * tanhf(value / softcap) : value;
    }
}

void cuda_finish_logits(CudaQueue *queue, float *logits, int32_t n_rows, int32_t n_vocab, float multiplier,
                        float softcap)
{
    if (multiplier == 1.0f && softcap == 0.0f) return;
    cuda_launch(queue, finish_logits_kernel, dim3((unsigned)queue->n_sms * 4), dim3(256), 0, logits,
                (int64_t)n_rows * n_vocab, multiplier, softcap);
}
