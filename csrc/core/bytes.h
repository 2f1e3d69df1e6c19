// A large block of bytes: in memory, or in a file that the system pages in and out.
#pragma once

#include <cstdint>
#include <string>

namespace mbpo_fast {

// Owns the block; the contents are undefined at first. A file is made in `folder` and unlinked at once, so it
// is gone when the process ends, however it ends.
class Bytes {
 public:
  // size >= 1. Throws std::bad_alloc, or std::runtime_error where the folder cannot hold such a file.
  Bytes(std::int64_t size, const std::string& folder);
  ~Bytes();
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  std::uint8_t* data() const { return data_; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t mapped_ = 0;
};

}  // namespace mbpo_fast
