"""Turns a GGUF file of the Llama kind into a folder that the engine loads; only `seclude-model convert` imports it.

    gguf        reads the file: metadata and where the tensors are
    quants      the numbers of a tensor, whatever they were packed as
    protobuf    writes an ONNX file, without the onnx package and protobuf
    llama       the graph: its weights as int8 with one scale for 32, its keys and values in buffers of the caller
    vocabulary  tokenizer.json and tokenizer_config.json
    folder      all of it into one folder, which appears whole or not at all

The same file gives the same octets, on every machine with the same numpy: the manifest pins what comes out.
"""
