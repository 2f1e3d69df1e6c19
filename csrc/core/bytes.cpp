#include "core/bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace mbpo_fast {

namespace {

[[noreturn]] void fail_in(const std::string& folder, int error) {
  throw std::runtime_error("[memory_map] expected a folder with room for the frames, got " + folder + ": " +
                           std::generic_category().message(error));
}

}  // namespace

Bytes::Bytes(std::int64_t size, const std::string& folder) {
  mapped_ = static_cast<std::size_t>(size);
  if (folder.empty()) {
    void* memory = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    // Draws go anywhere: with small pages each would miss the TLB some ten times.
    ::madvise(memory, mapped_, MADV_HUGEPAGE);
#endif
    data_ = static_cast<std::uint8_t*>(memory);
    return;
  }
  std::string pattern = folder + "/mbpo_fast-frames-XXXXXX";
  std::vector<char> name(pattern.begin(), pattern.end());
  name.push_back('\0');
  const int file = ::mkstemp(name.data());
  if (file < 0) fail_in(folder, errno);
  ::unlink(name.data());
  // Blocks are reserved now: a full disk is an error here, not a crash at some later write.
  int error = EINTR;
  while (error == EINTR) error = ::posix_fallocate(file, 0, size);
  void* memory = error ? MAP_FAILED : ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  const int map_error = error ? error : errno;
  ::close(file);
  if (memory == MAP_FAILED) fail_in(folder, map_error);
  // Draws go anywhere: reading ahead would only evict.
  ::madvise(memory, mapped_, MADV_RANDOM);
  data_ = static_cast<std::uint8_t*>(memory);
}

Bytes::~Bytes() {
  ::munmap(data_, mapped_);
}

}  // namespace mbpo_fast
