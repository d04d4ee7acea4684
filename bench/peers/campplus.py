#!/usr/bin/env python3
"""CAM++ in ONNX Runtime as a child process, to compare Sidetone's with.

Usage: campplus.py WEIGHTS
       campplus.py prepare

WEIGHTS is campplus_cn_en_common.pt, Sidetone's own. The graph is written here,
operation by operation as 3D-Speaker has the network in PyTorch; nothing is folded
into anything, that is left to ONNX Runtime. Features are those of
kaldi-native-fbank less their mean. One thread.

It writes a line of JSON when it is ready. A request is a line of JSON,
{"samples": N}, and N samples as 32-bit floats, little-endian, at 16 kHz; the answer is
a line of JSON with the embedding, not normalised, and the processor's seconds that
the network took, without the features.

The packages are installed by name into a virtual environment in the user's cache
folder by `prepare`.
"""

import collections
import json
import os
import pickle
import subprocess
import sys
import time
import venv
import zipfile

PACKAGES = ["onnx==1.23.2", "onnxruntime==1.32.0", "kaldi-native-fbank==1.23.0", "numpy==2.4.6"]


def folder():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "sidetone", "peers", "campplus")


def prepare():
    if not os.path.exists(os.path.join(folder(), "bin", "python3")):
        venv.create(folder(), with_pip=True)
    subprocess.run([os.path.join(folder(), "bin", "python3"), "-m", "pip", "install", "--quiet",
                    "--disable-pip-version-check"] + PACKAGES, check=True)


def inside():
    """Goes on with the environment's Python."""
    if os.path.realpath(sys.prefix) == os.path.realpath(folder()):
        return
    python = os.path.join(folder(), "bin", "python3")
    if not os.path.exists(python):
        sys.exit("the packages are not there: run `campplus.py prepare` once")
    os.execv(python, [python, "-I"] + sys.argv)


def weights(path):
    import numpy as np

    archive = zipfile.ZipFile(path)
    root = archive.namelist()[0].split("/")[0]
    types = {"FloatStorage": "<f4", "LongStorage": "<i8"}

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid):
            return np.frombuffer(archive.read(f"{root}/data/{pid[2]}"), types[pid[1]])

        def find_class(self, module, name):
            if name == "OrderedDict":
                return collections.OrderedDict
            if name == "_rebuild_tensor_v2":
                return lambda storage, at, shape, *rest: storage[at:at + int(np.prod(shape))].reshape(shape)
            if name in types:
                return name
            raise pickle.UnpicklingError(f"{module}.{name}")

    return Unpickler(archive.open(root + "/data.pkl")).load()


class Graph:
    """Builds an ONNX graph of the weights w; each method returns its output's name."""

    def __init__(self, w):
        self.w, self.nodes, self.constants = w, [], {}

    def op(self, kind, *inputs, **attributes):
        from onnx import helper

        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def constant(self, name, value):
        import numpy as np
        from onnx import numpy_helper

        self.constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def ints(self, *values):
        import numpy as np

        return self.constant("ints" + "_".join(map(str, values)), np.array(values, np.int64))

    def weight(self, name):
        return self.constant(name, self.w[name])

    def norm(self, x, name):
        import numpy as np

        n = len(self.w[name + ".running_mean"])
        scale = self.constant(name + ".weight", self.w.get(name + ".weight", np.ones(n, "f4")))
        shift = self.constant(name + ".bias", self.w.get(name + ".bias", np.zeros(n, "f4")))
        return self.op("BatchNormalization", x, scale, shift, self.weight(name + ".running_mean"),
                       self.weight(name + ".running_var"), epsilon=1e-5)

    def relu(self, x):
        return self.op("Relu", x)

    def conv2d(self, x, name, step=1, pad=1):
        return self.op("Conv", x, self.weight(name + ".weight"), strides=[step, 1], pads=[pad] * 4)

    def conv1d(self, x, name, step=1, pad=0, dilation=1):
        inputs = [x, self.weight(name + ".weight")]
        if name + ".bias" in self.w:
            inputs.append(self.weight(name + ".bias"))
        return self.op("Conv", *inputs, strides=[step], pads=[pad, pad], dilations=[dilation])

    def head(self, x):
        x = self.op("Unsqueeze", self.op("Transpose", x, perm=[0, 2, 1]), self.ints(1))
        x = self.relu(self.norm(self.conv2d(x, "head.conv1"), "head.bn1"))
        for stage in (1, 2):
            for block in (0, 1):
                name, step = f"head.layer{stage}.{block}.", 2 - block
                y = self.relu(self.norm(self.conv2d(x, name + "conv1", step), name + "bn1"))
                y = self.norm(self.conv2d(y, name + "conv2"), name + "bn2")
                if step == 2:
                    x = self.norm(self.conv2d(x, name + "shortcut.0", step, 0), name + "shortcut.1")
                x = self.relu(self.op("Add", y, x))
        x = self.relu(self.norm(self.conv2d(x, "head.conv2", 2), "head.bn2"))
        return self.op("Reshape", x, self.ints(0, 320, -1))

    def context(self, x):
        """The mean over time and that over each hundred frames."""
        all_time = self.op("ReduceMean", x, self.ints(-1), keepdims=1)
        part = self.op("AveragePool", x, kernel_shape=[100], strides=[100], ceil_mode=1)
        part = self.op("Expand", self.op("Unsqueeze", part, self.ints(-1)), self.ints(1, 1, 1, 100))
        part = self.op("Reshape", part, self.ints(0, 128, -1))
        part = self.op("Slice", part, self.ints(0), self.op("Shape", x, start=2, end=3), self.ints(2))
        return self.op("Add", all_time, part)

    def layer(self, x, name, dilation):
        h = self.conv1d(self.relu(self.norm(x, name + "nonlinear1.batchnorm")), name + "linear1")
        h = self.relu(self.norm(h, name + "nonlinear2.batchnorm"))
        name += "cam_layer."
        y = self.conv1d(h, name + "linear_local", 1, dilation, dilation)
        mask = self.relu(self.conv1d(self.context(h), name + "linear1"))
        return self.op("Mul", y, self.op("Sigmoid", self.conv1d(mask, name + "linear2")))

    def statistics(self, x):
        from onnx import TensorProto

        mean = self.op("ReduceMean", x, self.ints(-1), keepdims=1)
        d = self.op("Sub", x, mean)
        n = self.op("Cast", self.op("Sub", self.op("Shape", x, start=2, end=3), self.ints(1)), to=TensorProto.FLOAT)
        squares = self.op("ReduceSum", self.op("Mul", d, d), self.ints(-1), keepdims=1)
        return self.op("Concat", mean, self.op("Sqrt", self.op("Div", squares, n)), axis=1)

    def model(self):
        from onnx import TensorProto, helper

        x = self.conv1d(self.head("features"), "xvector.tdnn.linear", 2, 2)
        x = self.relu(self.norm(x, "xvector.tdnn.nonlinear.batchnorm"))
        for i, (layers, dilation) in enumerate([(12, 1), (24, 2), (16, 2)], 1):
            for j in range(1, layers + 1):
                x = self.op("Concat", x, self.layer(x, f"xvector.block{i}.tdnnd{j}.", dilation), axis=1)
            name = f"xvector.transit{i}."
            x = self.conv1d(self.relu(self.norm(x, name + "nonlinear.batchnorm")), name + "linear")
        x = self.statistics(self.relu(self.norm(x, "xvector.out_nonlinear.batchnorm")))
        x = self.norm(self.conv1d(x, "xvector.dense.linear"), "xvector.dense.nonlinear.batchnorm")
        last = self.op("Squeeze", x, self.ints(-1))
        graph = helper.make_graph(
            self.nodes, "campplus",
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, "frames", 80])],
            [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, 192])], list(self.constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def features(x):
    import kaldi_native_fbank
    import numpy as np

    o = kaldi_native_fbank.FbankOptions()
    o.frame_opts.dither, o.frame_opts.samp_freq = 0, 16000
    o.mel_opts.num_bins, o.mel_opts.low_freq, o.mel_opts.high_freq = 80, 20, 0
    o.use_energy = False
    bank = kaldi_native_fbank.OnlineFbank(o)
    bank.accept_waveform(16000, x.tolist())
    bank.input_finished()
    f = np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])
    return (f - f.mean(0))[None].astype(np.float32)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "prepare":
        prepare()
        return
    inside()
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = Graph(weights(sys.argv[1])).model().SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    print(json.dumps({"ready": "ONNX Runtime " + onnxruntime.__version__}), flush=True)
    for line in sys.stdin.buffer:
        n = json.loads(line)["samples"]
        f = features(np.frombuffer(sys.stdin.buffer.read(4 * n), "<f4"))
        start = time.process_time()
        e = session.run(None, {"features": f})[0][0]
        took = time.process_time() - start
        print(json.dumps({"embedding": e.tolist(), "cpu": took}), flush=True)


if __name__ == "__main__":
    main()
