// A program of somebody else's: it sees the installed headers and the library only.
#include <onnxray/onnxray.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    (void)onnxray::load("no_such_file.onnx");
    std::cerr << "a missing file was loaded\n";
    return 1;
  } catch (const onnxray::Error& e) {
    std::cout << "as it should be: " << e.what() << '\n';
  }
  const onnxray::Model model = onnxray::load(argv[1]);
  for (const onnxray::ValueInfo& input : model.inputs()) {
    std::cout << "input " << input.name << ' ' << input.shape_text() << '\n';
  }
  return model.inputs().empty() ? 1 : 0;
}
