// What a layer of the table must be like, and the map that it makes.
#pragma once

#include <span>
#include <string>

#include "rollout/network.h"

namespace mbpo_fast {

std::string shape_text(const Shape& shape);

// The layer of one row of the table. These three throw std::invalid_argument, "[op] expected ..., got ...".
Layer read_layer(const char* op, std::size_t index, const std::int64_t* fields);

// The shape of register `index` from those of the earlier ones.
Shape shape_of_layer(const char* op, std::size_t index, const Layer& layer, std::span<const Register> earlier,
                     const NetworkInput& input);

// Numbers of a member's weights that a layer reads, all within `available`.
struct LayerWeights {
  std::int64_t weight, bias, film;
};
LayerWeights count_weights(const char* op, const Layer& layer, const Shape& in, const Shape& own,
                           std::int64_t actions);
void check_weights(const char* op, std::size_t index, const Layer& layer, const LayerWeights& counts,
                   std::int64_t available);

}  // namespace mbpo_fast
