# Read by ctest before the tests. They run side by side, so threads that wait must sleep: OpenMP's would spin on cores that
# other tests need, which takes several times as long.
if(NOT DEFINED ENV{OMP_WAIT_POLICY})
  set(ENV{OMP_WAIT_POLICY} passive)
endif()
