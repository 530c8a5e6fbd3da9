/*
 * kernels.c - which level this processor runs.
 *
 * The compiler's own CPUID tests also ask the operating system whether it saves the wider registers.
 */
#include "compute/cpu/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not every compiler's test knows the name "f16c". */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

static bool has_avx2(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
#else
    return false;
#endif
}

static bool has_avx512(void)
{
#if defined(__x86_64__)
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
#else
    return false;
#endif
}

/* Tiles of bytes, and leave of the system to use them, which holds for all threads of the process. */
static bool has_amx(void)
{
#if defined(__x86_64__) && defined(SYS_arch_prctl)
    enum { AMX_TILE_BIT = 1 << 24, AMX_INT8_BIT = 1 << 25, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (!has_avx512() || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
    if ((d & AMX_TILE_BIT) == 0 || (d & AMX_INT8_BIT) == 0) return false;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

static bool has_portable(void) { return true; }

static const struct {
    CpuIsa isa;
    const char *name;
    bool (*supported)(void);
    const CpuKernels *(*table)(void);
} levels[] = {
    /* Best first. */
    {CPU_ISA_AMX, "amx", has_amx, kernels_amx},
    {CPU_ISA_AVX512, "avx512", has_avx512, kernels_avx512},
    {CPU_ISA_AVX2, "avx2", has_avx2, kernels_avx2},
    {CPU_ISA_PORTABLE, "portable", has_portable, kernels_portable},
};

bool kernels_level_exists(CpuIsa isa)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (isa == levels[i].isa) return levels[i].supported();
    return false;
}

ImpStatus kernels_choose(CpuIsa isa, const CpuKernels **out)
{
    *out = NULL;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (isa != CPU_ISA_AUTO && isa != levels[i].isa) continue;
        if (levels[i].supported()) {
            *out = levels[i].table();
            return IMP_OK;
        }
        if (isa != CPU_ISA_AUTO)
            return imp_fail(IMP_ERR_UNSUPPORTED, "cpu.isa: this processor has no %s (or not all of what imp needs of it)",
                            levels[i].name);
    }
    return imp_fail(IMP_ERR_INVALID_ARGUMENT, "cpu.isa: no level has the number %d", (int)isa);
}
