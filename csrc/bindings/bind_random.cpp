#include "bindings/arguments.h"

namespace mbpo_fast::bindings {

namespace {

using Words = py::array_t<std::uint32_t>;

constexpr std::int64_t kMaxLanes = std::int64_t{1} << 32;

std::int64_t lane_count(const char* op, const Integer& lanes) {
  const std::int64_t count = int64(op, "lanes", lanes);
  MBPO_CHECK(count >= 0 && count <= kMaxLanes, op, "0 <= lanes <= 2**32", count);
  return count;
}

std::size_t word_index(const char* op, const Integer& word) {
  const std::int64_t index = int64(op, "word", word);
  MBPO_CHECK(index >= 0 && index < 4, op, "0 <= word < 4", index);
  return static_cast<std::size_t>(index);
}

// Calls `row(i, words of lane i)` for every lane, without the GIL.
template <class Row>
void for_lanes(const DrawKey& key, std::int64_t lanes, Row row) {
  const py::gil_scoped_release release;
  for (std::int64_t i = 0; i < lanes; ++i) row(i, key.words(static_cast<std::uint32_t>(i)));
}

Words random_words(const Integer& seed, const Integer& stream, const Integer& step, const Integer& lanes) {
  constexpr const char* op = "random_words";
  const DrawKey key = draw_key(op, seed, stream, step);
  const std::int64_t count = lane_count(op, lanes);
  Words out({count, std::int64_t{4}});
  std::uint32_t* to = out.mutable_data();
  for_lanes(key, count,
            [to](std::int64_t i, const PhiloxWords& w) { std::copy(w.begin(), w.end(), to + 4 * i); });
  return out;
}

py::array_t<float> random_uniform(const Integer& seed, const Integer& stream, const Integer& step,
                                  const Integer& lanes, const Integer& word) {
  constexpr const char* op = "random_uniform";
  const DrawKey key = draw_key(op, seed, stream, step);
  const std::int64_t count = lane_count(op, lanes);
  const std::size_t index = word_index(op, word);
  py::array_t<float> out(count);
  float* to = out.mutable_data();
  for_lanes(key, count,
            [=](std::int64_t i, const PhiloxWords& words) { to[i] = uniform_from(words[index]); });
  return out;
}

py::array_t<std::int64_t> random_integers(const Integer& seed, const Integer& stream, const Integer& step,
                                          const Integer& lanes, const Integer& high, const Integer& word) {
  constexpr const char* op = "random_integers";
  const DrawKey key = draw_key(op, seed, stream, step);
  const std::int64_t count = lane_count(op, lanes), limit = int64(op, "high", high);
  MBPO_CHECK(limit >= 1, op, "high >= 1", limit);
  const std::size_t index = word_index(op, word);
  py::array_t<std::int64_t> out(count);
  std::int64_t* to = out.mutable_data();
  for_lanes(key, count, [=](std::int64_t i, const PhiloxWords& words) {
    to[i] = integer_from(words[index], words[(index + 1) % 4], limit);
  });
  return out;
}

Words random_words_at(const Integer& seed, const Integer& stream, const Array<std::int64_t>& steps,
                      const Array<std::int64_t>& lanes) {
  constexpr const char* op = "random_words_at";
  DrawKey key{uint64(op, "seed", seed), uint32(op, "stream", stream), 0};
  const py::ssize_t count = length(op, "steps", steps);
  const std::int64_t* step = read(op, "steps", steps, {count});
  const std::int64_t* lane = read(op, "lanes", lanes, {count});
  Words out({count, py::ssize_t{4}});
  std::uint32_t* to = out.mutable_data();
  const py::gil_scoped_release release;
  for (py::ssize_t i = 0; i < count; ++i) {
    const std::int64_t s = step[i], l = lane[i];
    MBPO_CHECK(s >= 0, op, "steps >= 0", s);
    MBPO_CHECK(l >= 0 && l < kMaxLanes, op, "0 <= lanes < 2**32", l);
    key.step = static_cast<std::uint64_t>(s);
    const PhiloxWords words = key.words(static_cast<std::uint32_t>(l));
    std::copy(words.begin(), words.end(), to + 4 * i);
  }
  return out;
}

}  // namespace

void bind_random(py::module_& module) {
  using py::arg;
  module.def("random_words", &random_words, arg("seed"), arg("stream"), arg("step"), arg("lanes"));
  module.def("random_uniform", &random_uniform, arg("seed"), arg("stream"), arg("step"), arg("lanes"),
             arg("word"));
  module.def("random_integers", &random_integers, arg("seed"), arg("stream"), arg("step"), arg("lanes"),
             arg("high"), arg("word"));
  module.def("random_words_at", &random_words_at, arg("seed"), arg("stream"), arg("steps"), arg("lanes"));
}

}  // namespace mbpo_fast::bindings
