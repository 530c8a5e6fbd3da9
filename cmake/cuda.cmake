# The GPU backend: built where the CUDA compiler is found, in three tiers in one file (docs/architecture.md).
#
#   IMP_CUDA        ON: needed, OFF: not wanted, AUTO: where nvcc is found and nothing is sanitized
#   IMP_CUDA_TIERS  which tiers are compiled; one alone compiles faster while working on a kernel

set(IMP_CUDA AUTO CACHE STRING "GPU backend: ON, OFF or AUTO (where nvcc is found)")
set(IMP_CUDA_TIERS "portable;hopper;blackwell" CACHE STRING "Tiers of the GPU backend that are compiled")

set(imp_cuda_wanted ${IMP_CUDA})
if(IMP_CUDA STREQUAL AUTO)
  include(CheckLanguage)
  check_language(CUDA)
  set(imp_cuda_wanted OFF)
  if(CMAKE_CUDA_COMPILER AND NOT IMP_SANITIZE)
    set(imp_cuda_wanted ON)
  endif()
endif()
unset(IMP_CUDA)
set(IMP_CUDA ${imp_cuda_wanted})
if(NOT IMP_CUDA)
  return()
endif()

set(CMAKE_CUDA_ARCHITECTURES OFF) # the tiers below say it all
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
get_target_property(IMP_CUDA_RUNTIME CUDA::cudart_static IMPORTED_LOCATION)

set(imp_tier_portable "-gencode=arch=compute_80,code=[sm_80,compute_80]")
set(imp_tier_hopper "-gencode=arch=compute_90a,code=sm_90a")
set(imp_tier_blackwell "-gencode=arch=compute_120a,code=sm_120a")
set(imp_cuda_options --expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics)
foreach(tier IN LISTS IMP_CUDA_TIERS)
  list(APPEND imp_cuda_options ${imp_tier_${tier}})
endforeach()
if(IMP_WERROR)
  list(APPEND imp_cuda_options --Werror=all-warnings -Xcompiler=-Werror)
endif()
add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:${imp_cuda_options}>")
include_directories(SYSTEM ${CUDAToolkit_INCLUDE_DIRS})
