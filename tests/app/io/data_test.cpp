#include <gtest/gtest.h>

#include <cmath>

#include "app/io/csv.h"
#include "app/io/files.h"
#include "app/io/json.h"
#include "app/io/npy.h"
#include "engine/base/error.h"
#include "engine/base/philox.h"
#include "tests/app/io/io_test.h"

namespace onnxray::app {
namespace {

using testing::golden;
using testing::TemporaryFolder;

// The message of the Error that `body` throws.
template <class F>
std::string message(F&& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

#define EXPECT_SAYS(body, text)                                                      \
  do {                                                                               \
    const std::string said = message([&] { (void)(body); });                         \
    EXPECT_NE(said.find(text), std::string::npos) << "said: " << said;               \
    EXPECT_EQ(said.find('\n'), std::string::npos) << "more than one line: " << said; \
  } while (false)

TEST(Npy, ReadsWhatNumpyWrites) {
  const Tensor f = read_npy(golden("fortran_f4.npy"));
  EXPECT_EQ(f.dims(), (Dims{2, 3, 4}));
  EXPECT_EQ(f.dtype(), DType::f32);
  for (std::size_t i = 0; i < 24; ++i) EXPECT_EQ(f.data<float>()[i], static_cast<float>(i) / 7.0F);
  EXPECT_TRUE(read_npy(golden("version3.npy")).same_bits(f));
  EXPECT_EQ(read_npy(golden("half.npy")).dtype(), DType::f16);
  EXPECT_NEAR(read_npy(golden("half.npy")).to_doubles()[11], 11 / 7.0, 1e-3);
  EXPECT_EQ(read_npy(golden("bool.npy")).to_ints(), (std::vector<std::int64_t>{0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(read_npy(golden("int64.npy")).to_ints(), (std::vector<std::int64_t>{-5, std::int64_t{1} << 62}));
  EXPECT_EQ(read_npy(golden("scalar_u2.npy")).dims(), Dims{});
  EXPECT_EQ(read_npy(golden("scalar_u2.npy")).to_ints()[0], 65535);
  EXPECT_EQ(read_npy(golden("empty.npy")).dims(), (Dims{0, 3}));
  EXPECT_SAYS(read_npy(golden("big_endian.npy")), "big-endian");
}

TEST(Npy, RoundTrips) {
  const TemporaryFolder folder;
  for (const DType d : {DType::f32, DType::f64, DType::f16, DType::i64, DType::i32, DType::i16, DType::i8, DType::u64,
                        DType::u32, DType::u16, DType::u8, DType::boolean}) {
    for (const Dims& dims : {Dims{}, Dims{5}, Dims{1}, Dims{0}, Dims{3, 4}, Dims{2, 0, 3}, Dims{2, 1, 3, 2}}) {
      const Tensor t = Tensor::full(d, dims, 1);
      write_npy(folder.path / "a.npy", t);
      EXPECT_TRUE(read_npy(folder.path / "a.npy").same_bits(t)) << name_of(d) << to_string(dims);
      EXPECT_EQ((npy_bytes(t).size() - t.bytes()) % 64, 0U);
    }
  }
  EXPECT_EQ(parse_npy(npy_bytes(Tensor::full(DType::bf16, {2}, 1.5)), "b").dtype(), DType::f32);
}

std::string with_header(const std::string& header, std::size_t data_bytes) {
  std::string b("\x93NUMPY\x01\x00", 8);
  b += static_cast<char>(header.size() & 0xff);
  b += static_cast<char>(header.size() >> 8);
  return b + header + std::string(data_bytes, '\0');
}

TEST(Npy, HostileHeaders) {
  const auto parse = [](const std::string& header, std::size_t n) {
    return parse_npy(with_header(header, n), "h.npy");
  };
  EXPECT_EQ(parse("{'descr':'<f4','fortran_order':False,'shape':(2,)}", 8).dims(), Dims{2});
  EXPECT_EQ(parse("{\"shape\": (2L, 1), 'fortran_order': True, 'descr': '=f4', }  \n", 8).dims(), (Dims{2, 1}));
  const char* good_rest = "'fortran_order': False, 'shape': (2,)}";
  const auto descr = [&](const std::string& d) { return "{'descr': " + d + ", " + good_rest; };
  EXPECT_SAYS(parse(descr("'|O'"), 16), "Python objects");
  EXPECT_SAYS(parse(descr("[('a', '<f4')]"), 8), "structured");
  EXPECT_SAYS(parse(descr("'<c8'"), 16), "'<c8' is not supported");
  EXPECT_SAYS(parse(descr("'<f4"), 8), "not");
  EXPECT_SAYS(parse(descr("''"), 8), "not supported");
  EXPECT_SAYS(parse(descr("'<f4'"), 7), "holds 7 bytes of data, expected 8");
  EXPECT_SAYS(parse(descr("'<f4'"), 9), "holds 9 bytes");
  const auto shape = [](const std::string& s) {
    return "{'descr': '<f4', 'fortran_order': False, 'shape': " + s + "}";
  };
  EXPECT_SAYS(parse(shape("(9223372036854775807, 9223372036854775807)"), 0), "too many elements");
  EXPECT_SAYS(parse(shape("(99999999999999999999,)"), 0), "no dimension");
  EXPECT_SAYS(parse(shape("(-1,)"), 0), "no dimension");
  EXPECT_SAYS(parse(shape("(2"), 8), "not closed");
  EXPECT_SAYS(parse(shape("(2,"), 8), "no dimension");
  EXPECT_SAYS(parse(shape("2"), 8), "no tuple");
  EXPECT_SAYS(parse(shape("(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)"), 4), "too many dim");
  EXPECT_SAYS(parse("{}", 0), "missing");
  EXPECT_SAYS(parse("", 0), "dictionary");
  EXPECT_SAYS(parse("{'descr': '<f4', 'descr': '<f4'}", 0), "repeated");
  EXPECT_SAYS(parse("{'extra': 1}", 0), "unknown");
  EXPECT_SAYS(parse(shape("(2,)") + " garbage", 8), "after the dictionary");
  EXPECT_SAYS(parse_npy("PK\x03\x04 something longer", "a.npz"), "no .npy file");
  EXPECT_SAYS(parse_npy(std::string("\x93NUMPY\x09\x00\x00\x00\x00\x00", 12), "v"), "version 9");
  EXPECT_SAYS(parse_npy(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12), "v"), "truncated");
}

TEST(Npy, SurvivesTruncationAndDamage) {
  const std::string bytes = read_file(golden("fortran_f4.npy"));
  for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_THROW((void)parse_npy(bytes.substr(0, n), "cut"), Error) << n;
  const Philox random{5};
  for (std::uint64_t trial = 0; trial < 3000; ++trial) {
    std::string damaged = bytes;
    for (std::uint32_t k = 0; k <= random(trial, 0)[0] % 3; ++k) {
      const Philox::Block at = random(trial, k + 1);
      damaged[at[0] % 128] = static_cast<char>(at[1]);
    }
    try {
      const Tensor t = parse_npy(damaged, "damaged");
      EXPECT_LE(t.bytes(), bytes.size());
    } catch (const Error&) {
    }
  }
}

TEST(Csv, ReadsTables) {
  Table t = parse_csv("a,b,c\n1,2,3\r\n-4.5, +5e1 ,.5\n", "t");
  EXPECT_EQ(t.columns, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(t.values.dims(), (Dims{2, 3}));
  EXPECT_EQ(t.values.to_doubles(), (std::vector<double>{1, 2, 3, -4.5, 50, 0.5}));
  t = parse_csv(
      "\xef\xbb\xbf"
      "1;2\n3;4",
      "t");
  EXPECT_TRUE(t.columns.empty());
  EXPECT_EQ(t.values.dims(), (Dims{2, 2}));
  t = parse_csv("\"x, \"\"y\"\"\",\"line\nbreak\"\n\"1\",2\n\n", "t");
  EXPECT_EQ(t.columns, (std::vector<std::string>{"x, \"y\"", "line\nbreak"}));
  EXPECT_EQ(t.values.to_doubles(), (std::vector<double>{1, 2}));
  t = parse_csv("1\n2\n3\n", "t");
  EXPECT_EQ(t.values.dims(), (Dims{3, 1}));
  t = parse_csv("p\tq\n1\t2\n", "t");
  EXPECT_EQ(t.values.dims(), (Dims{1, 2}));
}

TEST(Csv, NamesWhatIsWrong) {
  EXPECT_SAYS(parse_csv("a,species\n1,2\n3,setosa\n", "iris.csv"),
              "iris.csv: row 3, column 2 'species': 'setosa' is not a number");
  EXPECT_SAYS(parse_csv("1,2\n3,\n", "t"), "row 2, column 2: '' is not a number");
  EXPECT_SAYS(parse_csv("1,2\n3\n", "t"), "row 2 has 1 columns, expected 2");
  EXPECT_SAYS(parse_csv("1,2\n3,4,5\n", "t"), "row 2 has 3 columns, expected 2");
  EXPECT_SAYS(parse_csv("a,b\n", "t"), "no rows");
  EXPECT_SAYS(parse_csv("", "t"), "no rows");
  EXPECT_SAYS(parse_csv("1,\"2", "t"), "quote");
  EXPECT_SAYS(parse_csv("1,2 3\n1,2 3\n", "t"), "row 2, column 2 '2 3'");
  EXPECT_SAYS(parse_csv(std::string("1,2\0,3\n", 7), "t"), "no text file");
  EXPECT_SAYS(read_csv("/nowhere/t.csv"), "cannot open /nowhere/t.csv");
}

TEST(Json, NestedLists) {
  const Tensor t = parse_json_tensor("[[1, 2.5, 3], [4, 5, 6]]", "j");
  EXPECT_EQ(t.dims(), (Dims{2, 3}));
  EXPECT_EQ(t.dtype(), DType::f64);
  EXPECT_EQ(t.to_doubles()[1], 2.5);
  EXPECT_EQ(parse_json_tensor("[[[1, 9007199254740993]]]", "j").to_ints(),
            (std::vector<std::int64_t>{1, 9007199254740993}));
  EXPECT_EQ(parse_json_tensor("[true, false]", "j").dtype(), DType::boolean);
  EXPECT_EQ(parse_json_tensor("7", "j").dims(), Dims{});
  EXPECT_EQ(parse_json_tensor("[]", "j").dims(), Dims{0});
  EXPECT_EQ(parse_json_tensor("[[], []]", "j").dims(), (Dims{2, 0}));
  EXPECT_EQ(parse_json_tensor("[18446744073709551615]", "j").dtype(), DType::f64);
}

TEST(Json, NamesWhatIsWrong) {
  EXPECT_SAYS(parse_json_tensor("[[1, 2], [3]]", "j"), "element [1] holds 1 elements, expected 2");
  EXPECT_SAYS(parse_json_tensor("[[1, 2], 3]", "j"), "element [1] is no list");
  EXPECT_SAYS(parse_json_tensor("[1, [2]]", "j"), "element [1] is a list");
  EXPECT_SAYS(parse_json_tensor("[1, \"a\"]", "j"), "element [1] is \"a\"");
  EXPECT_SAYS(parse_json_tensor("[1, null]", "j"), "null");
  EXPECT_SAYS(parse_json_tensor("[true, 1]", "j"), "mixes");
  EXPECT_SAYS(parse_json_tensor("[1, 2", "j"), "malformed");
  EXPECT_SAYS(parse_json_tensor("", "j"), "malformed");
  EXPECT_SAYS(parse_json_tensor("{\"a\": 1}", "j"), "expected a number");
  EXPECT_SAYS(parse_json_tensor("[1e999]", "j"), "malformed");
  EXPECT_SAYS(parse_json_tensor(std::string(100, '[') + std::string(100, ']'), "j"), "nested deeper");
  EXPECT_SAYS(parse_json_tensor(std::string(1000000, '['), "j"), "malformed");
}

TEST(Files, NamesAreSafeAndUnique) {
  EXPECT_EQ(safe_file_name("conv1/relu:0"), "conv1_relu_0");
  EXPECT_EQ(safe_file_name("../../etc/passwd"), "_._.._etc_passwd");
  EXPECT_EQ(safe_file_name(".."), "_.");
  EXPECT_EQ(safe_file_name(""), "_");
  EXPECT_EQ(safe_file_name("\xc3\xa4"), "__");
  EXPECT_EQ(safe_file_name(std::string(5000, 'x')).size(), 200U);
  UniqueNames unique;
  EXPECT_EQ(unique("a:0"), "a_0");
  EXPECT_EQ(unique("a/0"), "a_0_2");
  EXPECT_EQ(unique("A_0"), "A_0_3");
  EXPECT_EQ(unique("a_0_2"), "a_0_2_2");
}

TEST(Files, WritesWholeFilesOrNone) {
  const TemporaryFolder folder;
  write_file(folder.path / "a", "first");
  write_file(folder.path / "a", std::string(100000, 'x'));
  EXPECT_EQ(read_file(folder.path / "a").size(), 100000U);
  EXPECT_EQ(testing::files_in(folder.path), 1);
  EXPECT_SAYS(write_file(folder.path / "no/such/folder", "x"), "cannot write");
  std::filesystem::create_directory(folder.path / "taken");
  EXPECT_SAYS(write_file(folder.path / "taken", "x"), "cannot write");
  EXPECT_EQ(testing::files_in(folder.path), 1);
  EXPECT_SAYS(read_file(folder.path / "a", 10), "larger than 10 bytes");
  EXPECT_SAYS(read_file(folder.path), "is a folder");
}

}  // namespace
}  // namespace onnxray::app
