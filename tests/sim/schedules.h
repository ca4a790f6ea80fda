// Runs a test under every schedule and both times of arrival of asynchronous copies.
#pragma once
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "kernels/sim/simulator.h"

namespace sim_test {

namespace sim = onnxray::sim;

inline std::vector<sim::Options> all_options() {
  std::vector<sim::Options> all;
  for (const auto copies : {sim::AsyncCopy::kLate, sim::AsyncCopy::kEarly}) {
    for (const auto schedule :
         {sim::Schedule::kAscending, sim::Schedule::kDescending, sim::Schedule::kRandom, sim::Schedule::kWarpSkew}) {
      sim::Options o;
      o.schedule = schedule;
      o.async_copy = copies;
      o.seed = 3;
      all.push_back(o);
    }
  }
  return all;
}

inline std::string name(const sim::Options& o) {
  const char* names[] = {"ascending", "descending", "random", "warp-skew"};
  return std::string(names[static_cast<int>(o.schedule)]) +
         (o.async_copy == sim::AsyncCopy::kLate ? ", copies late" : ", copies early");
}

// Sets the options of the simulator for a scope.
class With {
 public:
  explicit With(const sim::Options& o) : before_(sim::options()) { sim::options() = o; }
  ~With() { sim::options() = before_; }
  With(const With&) = delete;
  With& operator=(const With&) = delete;

 private:
  sim::Options before_;
};

// "Device" memory with red zones.
template <class T>
class Buffer {
 public:
  explicit Buffer(std::size_t count) : count_(count), data_(static_cast<T*>(sim::allocate(count * sizeof(T)))) {}
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    if (count_ > 0) std::memcpy(data_, values.data(), count_ * sizeof(T));
  }
  ~Buffer() {
    try {
      sim::release(data_);
    } catch (const std::exception&) {  // damage was reported by the launch
    }
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  [[nodiscard]] T* get() const { return data_; }
  [[nodiscard]] std::vector<T> values() const { return std::vector<T>(data_, data_ + count_); }

 private:
  std::size_t count_;
  T* data_;
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace sim_test
