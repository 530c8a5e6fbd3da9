# The library as others link it: libimp.so with the imp_* symbols alone, libimp.a of one object in which the others are local,
# headers, and a pkg-config file that works wherever the tree is installed.
if(NOT TARGET imp_api)
  return()
endif()

set(IMP_OBJECTS "")
foreach(room IN LISTS IMP_ROOM_LIBRARIES)
  list(APPEND IMP_OBJECTS $<TARGET_OBJECTS:${room}>)
endforeach()

add_library(imp_shared SHARED ${IMP_OBJECTS})
target_link_libraries(imp_shared PRIVATE imp_settings)
target_link_options(imp_shared PRIVATE -Wl,--exclude-libs,ALL)
if(NOT IMP_SANITIZE) # a sanitizer's runtime comes with the program
  target_link_options(imp_shared PRIVATE -Wl,--no-undefined)
endif()
set_target_properties(imp_shared PROPERTIES OUTPUT_NAME imp VERSION ${PROJECT_VERSION}
                                            SOVERSION ${PROJECT_VERSION_MAJOR} LINKER_LANGUAGE C)

# Hidden symbols hide in a shared library only; in an archive all but imp_* are made local, lest they meet the program's own.
if(IMP_CUDA)
  set(IMP_KERNEL_ARCHIVES $<TARGET_FILE:imp_kernels> ${IMP_CUDA_RUNTIME})
endif()
set(IMP_ONE_OBJECT ${CMAKE_BINARY_DIR}/imp_all.o)
add_custom_command(
  OUTPUT ${IMP_ONE_OBJECT}
  COMMAND ${CMAKE_LINKER} -r -o ${IMP_ONE_OBJECT} ${IMP_OBJECTS} ${IMP_KERNEL_ARCHIVES}
  COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=imp_* ${IMP_ONE_OBJECT}
  DEPENDS ${IMP_ROOM_LIBRARIES} ${IMP_OBJECTS} ${IMP_KERNEL_ARCHIVES}
  COMMAND_EXPAND_LISTS VERBATIM)
add_library(imp_static STATIC ${IMP_ONE_OBJECT})
set_source_files_properties(${IMP_ONE_OBJECT} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
set_target_properties(imp_static PROPERTIES OUTPUT_NAME imp LINKER_LANGUAGE C)

# From the pkg-config file up to the prefix, so that an installed tree can be moved.
file(RELATIVE_PATH IMP_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_SOURCE_DIR}/cmake/imp.pc.in ${CMAKE_BINARY_DIR}/imp.pc @ONLY)
install(TARGETS imp_shared imp_static LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
                                      ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/imp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES ${CMAKE_BINARY_DIR}/imp.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The examples as a user builds them: against an installed tree, by pkg-config.
if(IMP_TESTS AND NOT IMP_SANITIZE)
  add_test(NAME installed_library
           COMMAND sh ${CMAKE_SOURCE_DIR}/tests/install/test_installed.sh ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR}
                   ${CMAKE_C_COMPILER} ${CMAKE_INSTALL_LIBDIR} ${CMAKE_COMMAND})
endif()
