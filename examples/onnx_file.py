"""An ONNX file: what the model sees, stage by stage, on the photo."""

import layerscope as ls

scope = ls.open(ls.demo_model())  # any path of an .onnx file
print(scope.predict(ls.demo_photo(), top=3))
for path, fm in scope.capture(ls.demo_photo(), "stages").items():
    print(ls.overlay(ls.norm(fm)).save(f"onnx-{path.replace(':', '_')}.png"))
