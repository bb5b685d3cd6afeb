"""TFLite files that mutations start from, built by the schema that `ai_edge_litert` ships."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np

from .formats import zipped
from .seeds import Seeds, values


class Network:
    """A file that grows operator by operator; `x` is the last tensor."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.graph = schema.SubGraphT(tensors=[], inputs=[0], outputs=[], operators=[], name="main")
        self.model = schema.ModelT(
            version=3,
            description="tiny",
            subgraphs=[self.graph],
            operatorCodes=[],
            buffers=[schema.BufferT()],
            metadata=[],
        )
        self.x = self.tensor("image", [1, 8, 6, 3])

    def tensor(self, name: str, shape: list[int], content: np.ndarray | None = None, kind: str = "FLOAT32") -> int:
        buffer = self.buffer(content.tobytes()) if content is not None else 0
        kinds = self.schema.TensorType
        entry = self.schema.TensorT(shape=shape, type=getattr(kinds, kind), buffer=buffer, name=name.encode())
        if kind == "INT8":
            entry.quantization = self.schema.QuantizationParametersT(scale=[0.1], zeroPoint=[3])
        self.graph.tensors.append(entry)
        return len(self.graph.tensors) - 1

    def buffer(self, content: bytes) -> int:
        self.model.buffers.append(self.schema.BufferT(data=np.frombuffer(content, np.uint8)))
        return len(self.model.buffers) - 1

    def weights(self, *shape: int) -> int:
        return self.tensor(f"w{len(self.graph.tensors)}", list(shape), values(*shape))

    def numbers(self, *numbers: int) -> int:
        return self.tensor(f"n{len(self.graph.tensors)}", [len(numbers)], np.array(numbers, np.int32), "INT32")

    def add(self, name: str, shape: list[int], *inputs: int, options: Any = None, kind: str = "FLOAT32") -> int:
        """Append an operator that takes `x` and `inputs`, and makes a tensor of that shape, the next `x`."""
        code = getattr(self.schema.BuiltinOperator, name)
        self.model.operatorCodes.append(
            self.schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1)
        )
        output = self.tensor(name.lower(), shape, kind=kind)
        last = len(self.model.operatorCodes) - 1
        node = self.schema.OperatorT(opcodeIndex=last, inputs=[self.x, *inputs], outputs=[output])
        if options is not None:
            node.builtinOptionsType = getattr(self.schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            node.builtinOptions = options
        self.graph.operators.append(node)
        self.x = output
        return output

    def file(self) -> bytes:
        import flatbuffers

        self.graph.outputs = [self.x]
        entry = self.schema.TensorMapT
        self.model.signatureDefs = [
            self.schema.SignatureDefT(
                inputs=[entry(name=b"image", tensorIndex=0)],
                outputs=[entry(name=b"scores", tensorIndex=self.x)],
                signatureKey=b"serving",
            )
        ]
        self.model.metadata = [self.schema.MetadataT(name=b"TFLITE_METADATA", buffer=self.buffer(metadata()))]
        builder = flatbuffers.Builder(4096)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def tflite_models() -> Seeds:
    """A small network with codes in the middle, the same with zipped labels behind it, and one of many operators."""
    plain = network()
    labels = zipped([("labels.txt", b"cat\ndog\n", zipfile.ZIP_DEFLATED)])
    return {"network.tflite": plain, "labels.tflite": plain + labels, "operators.tflite": operators()}


def network() -> bytes:
    net = Network()
    schema = net.schema
    convolution = schema.Conv2DOptionsT(strideW=1, strideH=1, fusedActivationFunction=1)
    net.add("CONV_2D", [1, 8, 6, 4], net.weights(4, 3, 3, 3), net.weights(4), options=convolution)
    pooling = schema.Pool2DOptionsT(strideW=2, strideH=2, filterWidth=2, filterHeight=2)
    net.add("MAX_POOL_2D", [1, 4, 3, 4], options=pooling)
    net.add("QUANTIZE", [1, 4, 3, 4], options=schema.QuantizeOptionsT(), kind="INT8")
    net.add("DEQUANTIZE", [1, 4, 3, 4], options=schema.DequantizeOptionsT())
    net.add("MEAN", [1, 4], net.numbers(1, 2), options=schema.ReducerOptionsT())
    net.add("FULLY_CONNECTED", [1, 2], net.weights(2, 4), net.weights(2), options=schema.FullyConnectedOptionsT())
    return net.file()


def operators() -> bytes:
    net = Network()
    schema = net.schema
    depthwise = schema.DepthwiseConv2DOptionsT(
        strideW=1, strideH=1, depthMultiplier=1, dilationWFactor=1, dilationHFactor=1
    )
    first = net.add("DEPTHWISE_CONV_2D", [1, 8, 6, 3], net.weights(1, 3, 3, 3), net.weights(3), options=depthwise)
    net.add("ADD", [1, 8, 6, 3], 0, options=schema.AddOptionsT())
    net.add("CONCATENATION", [1, 8, 6, 6], first, options=schema.ConcatenationOptionsT(axis=3))
    paddings = net.tensor("paddings", [4, 2], np.array([[0, 0], [0, 0], [1, 1], [0, 0]], np.int32), "INT32")
    net.add("PAD", [1, 8, 8, 6], paddings, options=schema.PadOptionsT())
    pooling = schema.Pool2DOptionsT(strideW=2, strideH=2, filterWidth=2, filterHeight=2)
    net.add("AVERAGE_POOL_2D", [1, 4, 4, 6], options=pooling)
    net.add(
        "RESIZE_BILINEAR", [1, 8, 8, 6], net.numbers(8, 8), options=schema.ResizeBilinearOptionsT(halfPixelCenters=True)
    )
    net.add("SPACE_TO_DEPTH", [1, 4, 4, 24], options=schema.SpaceToDepthOptionsT(blockSize=2))
    net.add("RESHAPE", [1, 16, 24], net.numbers(1, 16, 24), options=schema.ReshapeOptionsT(newShape=[1, 16, 24]))
    tokens = net.add("TRANSPOSE", [1, 24, 16], net.numbers(0, 2, 1), options=schema.TransposeOptionsT())
    net.add("BATCH_MATMUL", [1, 24, 24], tokens, options=schema.BatchMatMulOptionsT(adjY=True))
    net.add("SOFTMAX", [1, 24, 24], options=schema.SoftmaxOptionsT(beta=1.0))
    net.add("GATHER", [1, 2, 24], net.numbers(0, 5), options=schema.GatherOptionsT(axis=1))
    slices = [net.numbers(0, 0, 0), net.numbers(1, 1, 24), net.numbers(1, 1, 1)]
    net.add("STRIDED_SLICE", [1, 24], *slices, options=schema.StridedSliceOptionsT(shrinkAxisMask=2))
    net.add("LOGISTIC", [1, 24])
    return net.file()


def metadata() -> bytes:
    """The metadata of a model: its normalization, and the file of its labels (metadata_schema.fbs)."""
    import flatbuffers

    b = flatbuffers.Builder(512)

    def table(fields: dict[int, Any], size: int) -> int:
        b.StartObject(size)
        for slot, value in fields.items():
            if isinstance(value, bytes):
                b.PrependUint8Slot(slot, value[0], 0)
            else:
                b.PrependUOffsetTRelativeSlot(slot, value, 0)
        return int(b.EndObject())

    def vector(offsets: list[int]) -> int:
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return int(b.EndVector())

    def floats(*numbers: float) -> int:
        b.StartVector(4, len(numbers), 4)
        for value in reversed(numbers):
            b.PrependFloat32(value)
        return int(b.EndVector())

    normalization = table({0: floats(127.5), 1: floats(127.5)}, 2)
    unit = table({0: b"\1", 1: normalization}, 3)
    inputs = vector([table({4: vector([unit])}, 7)])
    label_file = b.CreateString("labels.txt")
    files = vector([table({0: label_file, 2: b"\2"}, 4)])
    outputs = vector([table({6: files}, 7)])
    graphs = vector([table({2: inputs, 3: outputs}, 10)])
    b.Finish(table({0: b.CreateString("tiny"), 3: graphs}, 8), b"M001")
    return bytes(b.Output())
